//! `[middleware.*]` and `[[middleware]]`: the steps of a pipeline.

mod cors;
mod headers;
mod log_dump;
mod path_filter;

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use super::auth_steps::{CommonSettings, SCHEMES};
use super::authentications::Authentications;
use super::policies::Tables;
use super::unsupported;
use crate::config::model::{KeyPath, Step, StepKind, TextPattern};
use crate::config::reader::{Document, Entry, Loading, Named, Reader};

/// The types of steps that do not authenticate.
const OTHER_TYPES: [&str; 6] = [
    "policies",
    "path-filter",
    "cors",
    "headers",
    "log-dump",
    "passthru",
];

/// What steps refer to, and what they have by default.
pub(crate) struct Shared<'s> {
    /// `[authentications.*]`.
    pub(crate) authentications: &'s Authentications,
    /// What `jwks_cache_secs` is by default.
    pub(crate) jwks_fresh: Duration,
    /// `[policies.*]` and `[rules.*]`.
    pub(crate) policies: &'s Tables,
    /// `proxy.sensitive_field_patterns`.
    pub(crate) sensitive_fields: &'s [TextPattern],
}

/// Every step, and the main file's chain.
pub(crate) struct Steps<'a> {
    /// By name.
    pub(crate) named: Named<Step>,
    /// `[[middleware]]`: what pipelines get that have no `middleware` of their own, and where it
    /// stands.
    pub(crate) chain: Option<(Vec<Step>, Entry<'a>)>,
    /// Whether a pipeline got the chain.
    pub(crate) chain_used: Cell<bool>,
}

impl<'a> Steps<'a> {
    /// The chain as pipelines get it. The operator wrote it for pipelines of their own, so it is
    /// for `local` ones; and one without entries says nothing about anybody.
    pub(crate) fn chain_in_use(&self, local: bool) -> Option<&(Vec<Step>, Entry<'a>)> {
        let chain = self.chain.as_ref().filter(|_| local);
        chain.filter(|(_, origin)| !origin.items().is_empty())
    }

    /// Warns of steps that no pipeline uses.
    pub(crate) fn warn_unused(&self, root: &Reader<'_>) {
        const UNUSED: &str = "no pipeline uses this step: list it in `middleware` of the \
                              pipelines that it is for, or remove it";
        let unused = self.named.unused();
        self.named.warn_unused(root, "middleware", UNUSED);
        let Some((_, origin)) = self.chain.as_ref().filter(|_| !self.chain_used.get()) else {
            return;
        };
        for item in origin.items() {
            let name = item.table().and_then(|table| table.text("name"));
            if name.is_none_or(|name| unused.contains(&&*name)) {
                item.warning(UNUSED);
            }
        }
    }
}

/// Reads both forms.
pub(crate) fn read<'a>(
    root: &Reader<'a>,
    document: &'a Document,
    shared: &Shared<'_>,
    loading: &'a Loading<'a>,
) -> Steps<'a> {
    let mut named = Named::new("middleware");
    for (name, entry) in root.group("middleware") {
        named.insert(name, &entry, read_one(name, &entry, shared));
    }
    let chain = document.chain.as_ref().map(|node| {
        let chain = Entry::new(KeyPath::from(["middleware"]), node, loading);
        let steps = chain
            .items()
            .into_iter()
            .enumerate()
            .filter_map(|(index, item)| {
                let written = item.table().and_then(|table| table.text("name"));
                let name = written
                    .as_ref()
                    .map_or_else(|| format!("middleware[{index}]"), |name| name.to_string());
                let step = read_one(&name, &item, shared);
                if written.is_some() {
                    if named.contains(&name) {
                        item.error(format!("another middleware is named {name:?} too"));
                    }
                    named.insert(&name, &item, step.clone());
                }
                item.note_if_left_out(&step);
                step
            });
        (steps.collect(), chain)
    });
    if !named.contains("passthru") {
        // the public DSL lets a pipeline name it without a table
        let step = Step {
            name: "passthru".into(),
            kind: StepKind::Passthru,
            enforce: true,
        };
        named.define("passthru", step);
    }
    Steps {
        named,
        chain,
        chain_used: Cell::new(false),
    }
}

/// A step that this version refuses is reported by its type alone, and nothing else in it is looked
/// at.
fn read_one(name: &str, entry: &Entry<'_>, shared: &Shared<'_>) -> Option<Step> {
    let mut reader = entry.table()?;
    reader.know(&["name", "description"]);
    reader.ignore(&["id", "tags"]);
    let kind = reader.get("type");
    let authentication = reader.get("authentication");
    let type_name = match (&kind, &authentication) {
        (Some(entry), _) => Some(step_type(entry)?),
        (None, Some(_)) => None,
        (None, None) => {
            reader.missing("type", &format!("name one of {}", types().join(", ")));
            return None;
        }
    };
    reader.flatten("options");
    reader.flatten("config");
    let enforce = reader.flag("enforce", true);
    let scheme = SCHEMES
        .iter()
        .find(|scheme| type_name == Some(scheme.type_name));
    let kind = match (authentication, scheme, type_name) {
        (Some(authentication), None, Some(_)) => {
            authentication.error_help(
                "has no meaning on a step that does not authenticate",
                "remove it, or set type = \"jwt-auth\"",
            );
            None
        }
        (Some(authentication), _, _) => {
            return Some(Step {
                name: name.into(),
                kind: referred(&authentication, type_name, reader, shared)?,
                enforce,
            });
        }
        (None, Some(scheme), _) => scheme.step(&reader, shared.jwks_fresh).map(StepKind::Auth),
        (None, None, type_name) => other(type_name?, name, &reader, shared),
    };
    reader.finish();
    Some(Step {
        name: name.into(),
        kind: kind?,
        enforce,
    })
}

/// A step that does not authenticate.
fn other(
    type_name: &str,
    name: &str,
    reader: &Reader<'_>,
    shared: &Shared<'_>,
) -> Option<StepKind> {
    match type_name {
        "policies" => {
            let settings = shared.policies.step(name, reader)?;
            Some(StepKind::Policies(Arc::new(settings)))
        }
        "path-filter" => {
            let settings = path_filter::read(reader)?;
            Some(StepKind::PathFilter(Arc::new(settings)))
        }
        "cors" | "headers" => {
            if let Some(enforce) = reader
                .get("enforce")
                .filter(|it| it.boolean() == Some(false))
            {
                enforce.error_help(
                    "a step that decides nothing about a request has no shadow",
                    "take it out of `middleware` to switch it off",
                );
            }
            Some(match type_name {
                "cors" => StepKind::Cors(Arc::new(cors::read(reader)?)),
                _ => StepKind::Headers(Arc::new(headers::read(reader)?)),
            })
        }
        "log-dump" => log_dump::read(name, reader, shared.sensitive_fields),
        _ => Some(StepKind::Passthru),
    }
}

/// The step that `authentication` means, with what stands beside it.
fn referred(
    authentication: &Entry<'_>,
    type_name: Option<&str>,
    reader: Reader<'_>,
    shared: &Shared<'_>,
) -> Option<StepKind> {
    let step = shared.authentications.inbound(authentication);
    let common = CommonSettings::read(&reader);
    reader.finish_with(Some(
        "the settings of this step stand in the table that `authentication` names",
    ));
    let step = common.over(step?);
    let meant = step.settings.type_name();
    if type_name.is_some_and(|name| name != meant) {
        authentication.error_help(
            format!("means a {meant} step"),
            "remove `type`, or name another table",
        );
    }
    Some(StepKind::Auth(step))
}

/// Every type that is served, in its first spelling.
fn types() -> Vec<&'static str> {
    let schemes = SCHEMES.iter().map(|scheme| scheme.type_name);
    schemes.chain(OTHER_TYPES).collect()
}

/// One of [`types`].
fn step_type(entry: &Entry<'_>) -> Option<&'static str> {
    let text = entry.text()?;
    let spelt = match text.replace('_', "-") {
        joined if joined == "jwtauth" => "jwt-auth".to_owned(),
        spelt => spelt,
    };
    let types = types();
    if let Some(served) = types.iter().find(|served| **served == spelt) {
        return Some(served);
    }
    if let Some(instead) = unsupported::instead(unsupported::STEPS, &spelt) {
        entry.foreign("the step", &text, instead);
    } else {
        entry.unknown("step type", &text, &types);
    }
    None
}
