//! `[policies.*]` and `[rules.*]`, and the `policies` step that refers to them or holds them
//! itself.

use std::collections::BTreeSet;
use std::mem::discriminant;

use super::rules::{self, Surroundings, Written};
use crate::config::model::{Check, Policies, Policy, Rule};
use crate::config::reader::{Entry, Named, Reader, near};

/// What `policies` steps refer to.
pub(crate) struct Tables {
    policies: Named<WrittenPolicy>,
    rules: Named<Written>,
    surroundings: Surroundings,
}

#[derive(Clone)]
struct WrittenPolicy {
    policy: Policy,
    enabled: bool,
}

/// Reads both groups.
pub(crate) fn read(root: &Reader<'_>, surroundings: Surroundings) -> Tables {
    let mut rules = Named::new("rule");
    for (name, entry) in root.group("rules") {
        check_id(name, &entry);
        rules.insert(name, &entry, rules::read_one(name, &entry, surroundings));
    }
    let mut tables = Tables {
        policies: Named::new("policy"),
        rules,
        surroundings,
    };
    for (name, entry) in root.group("policies") {
        check_id(name, &entry);
        let policy = tables.policy(name, &entry);
        tables.policies.insert(name, &entry, policy);
    }
    tables
}

/// `id` of a table repeats its name: two names for one thing would leave open which one counts.
fn check_id(name: &str, entry: &Entry<'_>) {
    let id = entry.is_table().then(|| entry.table()?.get("id")).flatten();
    if let Some(id) = id
        && let Some(text) = id.text()
        && &*text != name
    {
        id.error_help(
            format!("{} is not the table's name", text.shown()),
            format!("write {name:?}, or leave it out"),
        );
    }
}

impl Tables {
    /// The settings of a step: `policies`, each by name or as a table; or `rules` of its own.
    pub(crate) fn step(&self, name: &str, reader: &Reader<'_>) -> Option<Policies> {
        let policies = match (reader.get("policies"), reader.get("rules").is_some()) {
            (Some(entry), false) => self.listed(name, &entry)?,
            (None, true) => {
                let rules = self.rules_of(reader)?;
                vec![Policy {
                    name: format!("{name}/rules").into(),
                    rules,
                    owner: reader.owner(),
                }]
            }
            (Some(_), true) => {
                reader.error(
                    "has both `policies` and `rules`",
                    "put the rules in a policy",
                );
                return None;
            }
            (None, false) => {
                reader.missing("policies", "add policies = [\"NAME\"]");
                return None;
            }
        };
        warn(&policies, reader);
        Some(Policies { policies })
    }

    /// Warns of policies that no step names, and of rules that no policy names.
    pub(crate) fn warn_unused(&self, root: &Reader<'_>) {
        let policy =
            "no step uses this policy: list it in `policies` of a policies step, or remove it";
        self.policies.warn_unused(root, "policies", policy);
        let rule = "no policy uses this rule: list it in `rules` of a policy, or remove it";
        self.rules.warn_unused(root, "rules", rule);
    }

    fn listed(&self, step: &str, entry: &Entry<'_>) -> Option<Vec<Policy>> {
        if !entry.is_not_empty() {
            return None;
        }
        let mut seen = BTreeSet::new();
        let mut whole = true;
        let mut policies = Vec::new();
        for (index, item) in entry.items().iter().enumerate() {
            let written = if item.is_table() {
                let name = nested_name(item, "policies", index);
                self.policy(&format!("{step}/{name}"), item)
            } else {
                item.text()
                    .and_then(|name| self.policies.resolve(&name, item).cloned())
            };
            let Some(WrittenPolicy { policy, enabled }) = written else {
                whole = false;
                continue;
            };
            if !seen.insert(policy.name.clone()) {
                item.error(format!("policy {:?} is named twice", policy.name));
            }
            if enabled {
                policies.push(policy);
            }
        }
        whole.then_some(policies)
    }

    fn policy(&self, name: &str, entry: &Entry<'_>) -> Option<WrittenPolicy> {
        let reader = entry.table()?;
        reader.know(&["id", "name", "description"]);
        reader.ignore(&["tags"]);
        let enabled = reader.flag("enabled", true);
        let rules = self.rules_of(&reader);
        reader.finish();
        let policy = Policy {
            name: name.into(),
            rules: rules?,
            owner: entry.owner(),
        };
        Some(WrittenPolicy { policy, enabled })
    }

    /// `rules`, each by name or as a table: those that are enabled, in their order.
    fn rules_of(&self, reader: &Reader<'_>) -> Option<Vec<Rule>> {
        let Some(entry) = reader.get("rules") else {
            reader.missing("rules", "add rules = [\"NAME\"]");
            return None;
        };
        if !entry.is_not_empty() {
            return None;
        }
        let items = entry.items();
        let defined = items.iter().any(|item| self.defines(item));
        let mut seen = BTreeSet::new();
        let mut whole = true;
        let mut rules = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let written = if item.is_table() {
                rules::read_one(&nested_name(item, "rules", index), item, self.surroundings)
            } else {
                let Some(name) = item.text() else {
                    whole = false;
                    continue;
                };
                let known = self.rules.names();
                if defined && !self.rules.contains(&name) && near(&name, &known).is_none() {
                    // The public examples have such names, and the older Harmony passes over them.
                    // What looks like a typo is an error below.
                    item.warning(&format!(
                        "rule {} is defined nowhere: nothing checks it; add [rules.NAME], or \
                         remove the name",
                        name.shown()
                    ));
                    continue;
                }
                self.rules.resolve(&name, item).cloned()
            };
            let Some(Written { rule, enabled }) = written else {
                whole = false;
                continue;
            };
            if !seen.insert(rule.name.clone()) {
                item.error(format!("rule {:?} is named twice", rule.name));
            }
            if enabled {
                rules.push(rule);
            }
        }
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.weight));
        whole.then_some(rules)
    }

    fn defines(&self, item: &Entry<'_>) -> bool {
        item.is_table() || item.text().is_some_and(|name| self.rules.contains(&name))
    }
}

/// The name of something that is written where it is used: its `id`, or its place there.
fn nested_name(item: &Entry<'_>, key: &str, index: usize) -> String {
    let id = item.table().and_then(|table| table.text("id"));
    id.map_or_else(|| format!("{key}[{index}]"), |id| id.to_string())
}

/// What is allowed and hardly meant.
fn warn(policies: &[Policy], reader: &Reader<'_>) {
    let allowing: Vec<_> = policies
        .iter()
        .flat_map(|policy| &policy.rules)
        .filter(|rule| rule.may_allow())
        .collect();
    let Some(first) = allowing.first() else {
        return reader.warning(match reader.flag("enforce", true) {
            true => "no rule allows anything: every request is answered 403",
            false => "no rule allows anything: it would refuse every request",
        });
    };
    // A time window denies outside itself, so it narrows what others allow.
    let several = allowing.iter().any(|rule| {
        let kind = discriminant(&rule.check);
        kind != discriminant(&first.check) && !matches!(rule.check, Check::Time(_))
    });
    if several {
        let names: Vec<_> = allowing
            .iter()
            .map(|rule| format!("{:?}", rule.name))
            .collect();
        reader.warning(&format!(
            "rules {} each allow on their own: a request needs to match only one of them",
            names.join(", ")
        ));
    }
}
