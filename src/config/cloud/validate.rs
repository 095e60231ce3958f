//! What a text from the cloud may hold: pipelines and what belongs to them, under names that the
//! local files do not have.
//!
//! A table that says what the local files say (`same`) is theirs and is passed over, which is how
//! an uploaded configuration comes back; some may take the place of theirs (`owned`). That a text
//! names no file and refers to no secret is seen to where values are read (`Entry::path`,
//! `Loading::fill`).

use std::sync::Arc;

use super::overlay::in_place_of;
use super::owned::may_change;
use super::quarantine::Quarantine;
use super::same::Comparison;
use super::text::{GROUPS, Kept, Parsed};
use crate::config::model::{ErrorKind, KeyPath};
use crate::config::reader::{Document, IGNORED_TABLES, Loading, Node, Span, Table, Value};
use crate::config::tables::OwnedPipelines;

/// Groups and tables of the operator's alone.
const LOCAL: &[&str] = &[
    "proxy",
    "network",
    "management",
    "runbeam",
    "provider",
    "logging",
    "shared",
    "revocations",
];
/// Names that one text may bring: each costs time at every reload.
const MAX_NAMES: usize = 4096;

/// What joins the local files. Reports the rest, but for what they have already.
pub(super) fn validate<'p>(
    parsed: &'p [Parsed<'p>],
    quarantine: &Quarantine,
    local: &Document,
    comparison: &Comparison<'_>,
    owned: &OwnedPipelines,
    loading: &Loading<'_>,
) -> Vec<Kept<'p>> {
    let mut kept = Vec::new();
    for (index, text) in parsed.iter().enumerate() {
        let vetting = Vetting {
            text,
            later: &parsed[index + 1..],
            quarantine,
            local,
            comparison,
            owned,
            loading,
        };
        for (group, node) in &text.table.entries {
            if !quarantine.has(text.change, group, "") {
                vetting.group(group, node, &mut kept);
            }
        }
    }
    kept
}

/// Adds them to the local document, in the place of those that are the cloud's to change; the names
/// of the pipelines among them, and what was changed.
pub(super) fn merge<'p>(
    kept: &[Kept<'p>],
    document: &mut Document,
) -> (Vec<Arc<str>>, Vec<(&'p str, &'p str)>) {
    let mut changed = Vec::new();
    for entry in kept {
        let root = &mut document.root;
        if root.get(entry.group).is_none() {
            let node = Node {
                span: entry.node.span.clone(),
                value: Value::Table(Table::default()),
            };
            root.entries.push((entry.group.to_owned(), node));
        }
        match root.get_mut(entry.group).map(|node| &mut node.value) {
            Some(Value::Table(table)) if !entry.name.is_empty() => {
                match table.get_mut(entry.name) {
                    Some(present) => {
                        *present = in_place_of(present, entry.node);
                        changed.push((entry.group, entry.name));
                    }
                    None => table
                        .entries
                        .push((entry.name.to_owned(), entry.node.clone())),
                }
            }
            // a group that nothing knows: the reader says so
            Some(value) => *value = entry.node.value.clone(),
            None => {}
        }
    }
    let pipelines = kept.iter().filter(|entry| entry.group == "pipelines");
    (pipelines.map(|entry| entry.name.into()).collect(), changed)
}

struct Vetting<'p, 'v> {
    text: &'p Parsed<'p>,
    later: &'p [Parsed<'p>],
    quarantine: &'v Quarantine,
    local: &'v Document,
    comparison: &'v Comparison<'v>,
    owned: &'v OwnedPipelines,
    loading: &'v Loading<'v>,
}

impl<'p> Vetting<'p, '_> {
    fn group(&self, group: &'p str, node: &'p Node, kept: &mut Vec<Kept<'p>>) {
        let present = self.local.root.get(group);
        match &node.value {
            _ if IGNORED_TABLES.contains(&group) => {}
            Value::Array(_) if group == "middleware" => self.chain(node),
            _ if LOCAL.contains(&group) => {
                if !self.comparison.adds_nothing(self.local, group, node) {
                    self.compare(node, present, KeyPath::from([group]));
                }
            }
            Value::Table(table) if GROUPS.contains(&group) => {
                if table.entries.len() > MAX_NAMES {
                    let sentence = format!("holds more than {MAX_NAMES} names");
                    return self
                        .loading
                        .error(&node.span, &KeyPath::from([group]), sentence);
                }
                for (name, node) in &table.entries {
                    if !self.quarantine.has(self.text.change, group, name)
                        && self.joins(group, name, node, kept)
                    {
                        kept.push(Kept {
                            text: self.text,
                            group,
                            name,
                            node,
                        });
                    }
                }
            }
            other if GROUPS.contains(&group) => {
                let kind = ErrorKind::WrongType {
                    expected: "a table",
                    found: other.kind(),
                };
                self.loading
                    .error(&node.span, &KeyPath::from([group]), kind);
            }
            _ => kept.push(Kept {
                text: self.text,
                group,
                name: "",
                node,
            }),
        }
    }

    /// Whether one table joins the local ones.
    fn joins(&self, group: &str, name: &str, node: &Node, kept: &[Kept<'_>]) -> bool {
        let path = KeyPath::from([group, name]);
        if let Some(present) = named(&self.local.root, group, name) {
            if self
                .comparison
                .is_same(self.local, group, name, present, node)
            {
                return false;
            }
            if !may_change(self.owned, self.local, group, name) {
                self.taken(node, &path, &format!("also at {}", present.span));
                return false;
            }
        }
        if group == "middleware" && (name == "passthru" || self.chain_has(name)) {
            self.taken(node, &path, "a step of that name");
            return false;
        }
        if group == "pipelines" && self.counts_on_chain(node) {
            let help = "name its steps in `middleware`: [[middleware]] is for the pipelines of \
                        the local files";
            let kind = "has no `middleware` of its own";
            self.loading.error_help(&node.span, &path, kind, help);
            return false;
        }
        let in_later = |other: &Parsed<'_>| named(&other.table, group, name).is_some();
        if self.text.whole && self.later.iter().any(in_later) {
            return false; // a single pipeline brought another one
        }
        let before = kept
            .iter()
            .find(|entry| (entry.group, entry.name) == (group, name));
        if let Some(before) = before
            && !before.node.value.is_same(&node.value)
        {
            let kind = ErrorKind::DefinedTwice {
                what: path.to_string(),
                other: before.node.span.to_string(),
            };
            self.loading.error(&node.span, &path, kind);
        }
        before.is_none()
    }

    fn taken(&self, node: &Node, path: &KeyPath, other: &str) {
        self.loading.error_help(
            &node.span,
            path,
            format!("the local files have it too, and theirs holds ({other})"),
            "give it another name, or remove it from the local files",
        );
    }

    /// `[[middleware]]`, which has to be that of the main file.
    fn chain(&self, node: &Node) {
        let local = self.local.chain.as_ref();
        if !local.is_some_and(|local| local.value.is_same(&node.value)) {
            self.loading.error_help(
                &node.span,
                &KeyPath::from(["middleware"]),
                "[[middleware]] stands in the local files only",
                "name the steps, as [middleware.NAME], and list them in `middleware` of the \
                 pipeline",
            );
        }
    }

    fn chain_has(&self, name: &str) -> bool {
        let Some(Value::Array(items)) = self.local.chain.as_ref().map(|chain| &chain.value) else {
            return false;
        };
        let named = |item: &Node| match &item.value {
            Value::Table(table) => {
                matches!(&table.get("name").map(|node| &node.value),
                    Some(Value::String(text)) if text.as_str() == name || text.contains("${"))
            }
            _ => false,
        };
        items.iter().any(named)
    }

    /// Whether a pipeline would be open here that is not where its text comes from.
    fn counts_on_chain(&self, node: &Node) -> bool {
        let chain = self.text.table.get("middleware").map(|node| &node.value);
        let own = matches!(&node.value, Value::Table(table) if table.get("middleware").is_some());
        matches!(chain, Some(Value::Array(_))) && !own
    }

    /// Reports what differs from the local files.
    fn compare(&self, node: &Node, local: Option<&Node>, path: KeyPath) {
        let group = path.key_at(0).unwrap_or_default();
        let is_group = path.segments().len() == 1;
        match (&node.value, local.map(|local| &local.value)) {
            (Value::Table(table), Some(Value::Table(present))) => {
                for (key, node) in &table.entries {
                    if !is_group || !self.quarantine.has(self.text.change, group, key) {
                        self.compare(node, present.get(key), path.key(key));
                    }
                }
            }
            (value, Some(present)) if value.is_same(present) => {}
            (Value::Table(table), None) if !table.entries.is_empty() && is_group => {
                for (key, node) in &table.entries {
                    if !self.quarantine.has(self.text.change, group, key) {
                        self.forbidden(&node.span, &path.key(key));
                    }
                }
            }
            (Value::Table(table), None) if table.entries.is_empty() => {}
            _ => self.forbidden(&node.span, &path),
        }
    }

    fn forbidden(&self, span: &Span, path: &KeyPath) {
        self.loading.error_help(
            span,
            path,
            "is for the local files to set, not for the cloud",
            "remove it, or write here what the local files say",
        );
    }
}

fn named<'t>(root: &'t Table, group: &str, name: &str) -> Option<&'t Node> {
    match &root.get(group)?.value {
        Value::Table(table) => table.get(name),
        _ => None,
    }
}
