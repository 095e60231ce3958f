//! `[middleware.*]` and `[[middleware]]`: the steps of a pipeline.

pub(crate) mod api_key;
pub(crate) mod basic;
pub(crate) mod claims;
pub(crate) mod credential;
pub(crate) mod filter;
pub(crate) mod issuers;
pub(crate) mod jwt;
pub(crate) mod key_source;
pub(crate) mod mutual_tls;
pub(crate) mod token_location;

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use super::authentications::Authentications;
use super::pipelines::open;
use super::policies::Tables;
use super::unsupported;
use crate::config::model::{AuthStep, Step, StepKind, TextPattern};
use crate::config::reader::{Document, Entry, Loading, Named, Reader};

/// The types that this version serves.
const TYPES: &[&str] = &[
    "jwt-auth",
    "basic-auth",
    "api-key",
    "mutual-tls",
    "policies",
    "path-filter",
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
        open::warn_unused(root, "middleware", &unused, UNUSED);
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
        named.insert(name, read_one(name, &entry, shared));
    }
    let chain = document.chain.as_ref().map(|node| {
        let chain = Entry::new("middleware".to_owned(), node, loading);
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
                    named.insert(&name, step.clone());
                }
                step
            });
        (steps.collect(), chain)
    });
    if !named.contains("passthru") {
        // the public DSL lets a pipeline name it without a table
        named.insert(
            "passthru",
            Some(Step {
                name: "passthru".into(),
                kind: StepKind::Passthru,
            }),
        );
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
            reader.missing("type", &format!("name one of {}", TYPES.join(", ")));
            return None;
        }
    };
    reader.flatten("options");
    reader.flatten("config");
    let kind = match (type_name, authentication) {
        (
            None | Some("jwt-auth" | "basic-auth" | "api-key" | "mutual-tls"),
            Some(authentication),
        ) => {
            let step = shared.authentications.inbound(&authentication);
            let joining = Joining::read(&reader);
            reader.finish_with(Some(
                "the settings of this step stand in the table that `authentication` names",
            ));
            let step = joining.over(step?);
            if type_name.is_some_and(|name| name != step.settings.type_name()) {
                authentication.error_help(
                    format!("means a {} step", step.settings.type_name()),
                    "remove `type`, or name another table",
                );
            }
            StepKind::Auth(step)
        }
        (Some("jwt-auth"), None) => {
            let step = read_jwt(&reader, shared.jwks_fresh);
            reader.finish();
            StepKind::Auth(step?)
        }
        (Some("basic-auth"), None) => {
            let step = read_basic(&reader);
            reader.finish();
            StepKind::Auth(step?)
        }
        (Some("api-key"), None) => {
            let step = read_api_key(&reader);
            reader.finish();
            StepKind::Auth(step?)
        }
        (Some("mutual-tls"), None) => {
            let step = read_mutual_tls(&reader);
            reader.finish();
            StepKind::Auth(step?)
        }
        (other, authentication) => {
            if let Some(authentication) = authentication {
                authentication.error_help(
                    "has no meaning on a step that does not authenticate",
                    "remove it, or set type = \"jwt-auth\"",
                );
            }
            let kind = match other {
                Some("policies") => (shared.policies.step(name, &reader))
                    .map(|settings| StepKind::Policies(Arc::new(settings))),
                Some("path-filter") => filter::path_filter(&reader)
                    .map(|settings| StepKind::PathFilter(Arc::new(settings))),
                Some("log-dump") => filter::log_dump(name, &reader, shared.sensitive_fields),
                _ => Some(StepKind::Passthru),
            };
            reader.finish();
            kind?
        }
    };
    Some(Step {
        name: name.into(),
        kind,
    })
}

/// The settings of a `jwt-auth` step together with how it joins its group.
pub(crate) fn read_jwt(reader: &Reader<'_>, jwks_fresh: Duration) -> Option<AuthStep> {
    let joining = Joining::read(reader);
    let settings = jwt::read(reader, jwks_fresh)?;
    Some(joining.over(AuthStep::new(settings)))
}

/// The settings of a `basic-auth` step together with how it joins its group.
pub(crate) fn read_basic(reader: &Reader<'_>) -> Option<AuthStep> {
    let joining = Joining::read(reader);
    let settings = basic::read(reader)?;
    Some(joining.over(AuthStep::new(settings)))
}

/// The settings of an `api-key` step together with how it joins its group.
pub(crate) fn read_api_key(reader: &Reader<'_>) -> Option<AuthStep> {
    let joining = Joining::read(reader);
    let settings = api_key::read(reader)?;
    Some(joining.over(AuthStep::new(settings)))
}

/// The settings of a `mutual-tls` step together with how it joins its group.
pub(crate) fn read_mutual_tls(reader: &Reader<'_>) -> Option<AuthStep> {
    let joining = Joining::read(reader);
    let settings = mutual_tls::read(reader)?;
    Some(joining.over(AuthStep::new(settings)))
}

/// One of [`TYPES`], in its first spelling.
fn step_type(entry: &Entry<'_>) -> Option<&'static str> {
    let text = entry.text()?;
    let spelt = match text.replace('_', "-") {
        joined if joined == "jwtauth" => "jwt-auth".to_owned(),
        spelt => spelt,
    };
    if let Some(served) = TYPES.iter().find(|served| **served == spelt) {
        return Some(served);
    }
    if let Some(instead) = unsupported::instead(unsupported::STEPS, &spelt) {
        entry.foreign("the step", &text, instead);
    } else {
        entry.unknown("step type", &text, TYPES);
    }
    None
}

/// How an authentication step joins its group, as far as it is written.
struct Joining {
    optional: Option<bool>,
    fallback_on_failed: Option<bool>,
    forward_credential: Option<bool>,
    realm: Option<String>,
}

impl Joining {
    fn read(reader: &Reader<'_>) -> Self {
        Self {
            optional: reader.get("optional").and_then(|entry| entry.boolean()),
            fallback_on_failed: reader
                .get("fallback_on")
                .and_then(|entry| fallback_on(&entry)),
            forward_credential: reader
                .get("forward_credential")
                .and_then(|entry| entry.boolean()),
            realm: reader.get("realm").and_then(|entry| realm(&entry)),
        }
    }

    /// What is written, over what the step has.
    fn over(self, step: AuthStep) -> AuthStep {
        AuthStep {
            optional: self.optional.unwrap_or(step.optional),
            fallback_on_failed: self.fallback_on_failed.unwrap_or(step.fallback_on_failed),
            forward_credential: self.forward_credential.unwrap_or(step.forward_credential),
            realm: self.realm.unwrap_or(step.realm),
            settings: step.settings,
        }
    }
}

fn fallback_on(entry: &Entry<'_>) -> Option<bool> {
    let text = entry.text()?;
    match &*text {
        "missing" => Some(false),
        "failed" => Some(true),
        _ => {
            entry.unknown("fallback", &text, &["missing", "failed"]);
            None
        }
    }
}

/// It stands between quotes in a header.
fn realm(entry: &Entry<'_>) -> Option<String> {
    let text = entry.text()?;
    let fits = !text.is_empty()
        && text
            .bytes()
            .all(|byte| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\');
    if !fits {
        entry.error("must be visible ASCII without quotes and backslashes");
    }
    fits.then(|| text.to_string())
}
