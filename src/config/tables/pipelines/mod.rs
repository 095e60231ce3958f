//! `[pipelines.*]`: networks, endpoints, steps and backends put together.

mod attempts;
mod browsers;
mod chain;
mod claims;
pub(crate) mod header_names;
mod listeners;
mod open;
mod resource;
pub(crate) mod routes;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::endpoints::{Guard, GuardedEndpoint};
use super::middleware::Steps;
use super::network::Networks;
use crate::config::model::{
    AccessLog, Backend, Bind, Endpoint, ErrorKind, Pipeline, Service, Step, StepKind,
};
use crate::config::reader::{Entry, Named, Reader, Text};

/// What pipelines refer to.
pub(crate) struct Parts<'a, 'p> {
    pub(crate) networks: &'p Networks<'a>,
    /// Whether there are `trusted_proxies`.
    pub(crate) trusts: bool,
    /// The network that serves no pipeline.
    pub(crate) management: Option<Arc<str>>,
    pub(crate) endpoints: &'p Named<GuardedEndpoint>,
    pub(crate) steps: &'p Steps<'a>,
    pub(crate) backends: &'p Named<Backend>,
}

/// Reads `[pipelines.*]`, each with where it stands.
pub(crate) fn read<'a>(root: &Reader<'a>, parts: &Parts<'a, '_>) -> Vec<(Pipeline, Entry<'a>)> {
    let pipelines = root.group("pipelines").into_iter();
    let read = |(name, entry): (&str, Entry<'a>)| {
        let pipeline = read_one(name, &entry, parts);
        entry.note_if_left_out(&pipeline);
        Some((pipeline?, entry))
    };
    pipelines.filter_map(read).collect()
}

fn read_one<'a>(name: &str, entry: &Entry<'a>, parts: &Parts<'a, '_>) -> Option<Pipeline> {
    let reader = entry.table()?;
    reader.know(&["name"]);
    reader.ignore(&["id", "tags"]);
    if let Some(mesh) = reader.get_of_others("mesh") {
        mesh.error_help(
            ErrorKind::Foreign("a mesh".into()),
            "use a jwt-auth step for who may come in, and `backends` for where it goes",
        );
    }
    let description = reader.description();
    let networks = networks(&reader, parts);
    let named = names(&reader, "endpoints", true);
    let endpoints = named.iter();
    let endpoints: Vec<_> = endpoints
        .filter_map(|(name, item)| parts.endpoints.resolve(name, item).cloned())
        .collect();
    // Of one that is wrong, nobody knows what it needs.
    let answered = !named.is_empty()
        && endpoints
            .iter()
            .all(|endpoint| endpoint.endpoint.service != Service::Http);
    let self_contained = check_self_contained(&reader, &endpoints);
    let backends = backends(&reader, !answered, parts);
    let (steps, origin) = steps(
        &reader,
        entry,
        &endpoints,
        parts.steps,
        answered,
        self_contained,
    );
    let case_sensitive_paths = reader.flag("case_sensitive_paths", false);
    let reject_encoded_slashes = rejects_encoded_slashes(&reader);
    let resource = resource::read(&reader);
    let access_log = access_log(&reader);
    let listeners = parts.networks.among(&networks);
    listeners::check(&steps, &listeners, parts.trusts, &origin);
    reader.finish();
    let endpoints: Vec<Endpoint> = endpoints
        .into_iter()
        .map(|guarded| guarded.endpoint)
        .collect();
    let mut pipeline = Pipeline {
        name: name.into(),
        description,
        networks,
        endpoints,
        steps,
        backends,
        case_sensitive_paths,
        reject_encoded_slashes,
        resource,
        access_log,
    };
    claims::keep(&mut pipeline);
    open::warn(&pipeline, &origin);
    resource::warn(&pipeline, entry);
    Some(pipeline)
}

/// Whether nothing is behind the endpoints that steps could protect: that holds for all of them,
/// then, and there are no backends.
fn check_self_contained(reader: &Reader<'_>, endpoints: &[GuardedEndpoint]) -> bool {
    let contained = |guarded: &&GuardedEndpoint| guarded.endpoint.service.is_self_contained();
    let Some(first) = endpoints.iter().find(contained) else {
        return false;
    };
    let (name, service) = (&first.endpoint.name, first.endpoint.service.as_str());
    if let Some(other) = endpoints.iter().find(|endpoint| !contained(endpoint)) {
        let (other, of_other) = (&other.endpoint.name, other.endpoint.service.as_str());
        reader.error(
            format!("endpoint {name:?} is of service {service}, endpoint {other:?} of {of_other}"),
            "give them pipelines of their own",
        );
    } else if let Some(backends) = reader.get("backends") {
        backends.error_help(
            format!("a pipeline of {service} endpoints has no backends"),
            "remove it",
        );
    }
    true
}

/// `access_log` and `access_log_sample`.
fn access_log(reader: &Reader<'_>) -> AccessLog {
    let sample = reader.get("access_log_sample");
    let share = sample.as_ref().and_then(Entry::share);
    let all = AccessLog {
        errors: true,
        sample: share.unwrap_or(1.0),
    };
    let Some(entry) = reader.get("access_log") else {
        return all;
    };
    let Some(text) = entry.text() else {
        return all;
    };
    let errors = match &*text {
        "all" => return all,
        "errors" => true,
        "off" => false,
        _ => {
            entry.unknown("choice", &text, &["all", "errors", "off"]);
            return all;
        }
    };
    if let Some(sample) = sample {
        let sentence = format!("has no effect beside access_log = {:?}", &*text);
        sample.error_help(sentence, "remove it, or write access_log = \"all\"");
    }
    AccessLog {
        errors,
        sample: 0.0,
    }
}

/// `encoded_slashes`.
fn rejects_encoded_slashes(reader: &Reader<'_>) -> bool {
    let Some(entry) = reader.get("encoded_slashes") else {
        return false;
    };
    let Some(text) = entry.text() else {
        return false;
    };
    match &*text {
        "reject" => return true,
        "keep" => {}
        _ => entry.unknown("choice", &text, &["keep", "reject"]),
    }
    false
}

/// The names under a key, each once.
fn names<'a>(reader: &Reader<'a>, key: &'static str, required: bool) -> Vec<(Text, Entry<'a>)> {
    let Some(entry) = reader.get(key) else {
        if required {
            reader.missing(key, &format!("add {key} = [\"NAME\"]"));
        }
        return Vec::new();
    };
    let mut seen = BTreeSet::new();
    let mut names = entry.texts();
    if required && !entry.is_not_empty() {
        return Vec::new();
    }
    names.retain(|(name, item)| {
        let first = seen.insert(name.to_string());
        if !first {
            item.error(format!("{} is named twice", name.shown()));
        }
        first
    });
    names
}

/// The upstreams of all backends are one pool, so those that name a `balance` have to agree.
fn backends(reader: &Reader<'_>, required: bool, parts: &Parts<'_, '_>) -> Vec<Backend> {
    let mut backends: Vec<Backend> = Vec::new();
    for (name, item) in names(reader, "backends", required) {
        let Some(backend) = parts.backends.resolve(&name, &item) else {
            continue;
        };
        let before = backends.iter().find(|backend| backend.balance().is_some());
        if let (Some(before), Some(balance)) = (before, backend.balance())
            && before.balance() != Some(balance)
        {
            item.error_help(
                format!(
                    "backends {:?} and {:?} differ in `balance`",
                    before.name, backend.name
                ),
                "their upstreams share the load together: give both the same balance and \
                 consistent_by",
            );
        }
        backends.push(backend.clone());
    }
    if !backends.is_empty()
        && !backends.iter().any(Backend::shares)
        && let Some(entry) = reader.get("backends")
    {
        entry.error_help(
            "every backend has `when` or weight = 0: a request that fits none has nowhere to go",
            "add a backend without them",
        );
    }
    backends
}

fn networks(reader: &Reader<'_>, parts: &Parts<'_, '_>) -> Vec<Arc<str>> {
    let mut networks = Vec::new();
    for (name, item) in names(reader, "networks", true) {
        let Some(network) = parts.networks.named.resolve(&name, &item) else {
            continue;
        };
        let socket = parts
            .networks
            .all
            .iter()
            .any(|(known, _)| known.name == *network && matches!(known.bind, Bind::Unix(_)));
        if parts.management.as_ref() == Some(network) {
            item.error_help(
                format!("network {network:?} is that of the Management API"),
                "give one of them a network of its own",
            );
        } else if socket {
            item.error_help(
                format!(
                    "network {network:?} is a Unix socket, which is for the Management API only"
                ),
                "bind it to an address and a port",
            );
        }
        networks.push(Arc::clone(network));
    }
    networks
}

/// The check on the endpoints, then the steps of `middleware`, or of the main file's chain, and
/// where they are listed. A pipeline that forwards says itself who may pass; one that is
/// self-contained has nothing that the chain could protect.
fn steps<'a>(
    reader: &Reader<'a>,
    entry: &Entry<'a>,
    endpoints: &[GuardedEndpoint],
    steps: &Steps<'a>,
    answered: bool,
    self_contained: bool,
) -> (Vec<Step>, Entry<'a>) {
    let guard = guard(endpoints, entry);
    let guarded = guard.is_some();
    let mut all: Vec<Step> = guard
        .into_iter()
        .map(|guard| Step {
            name: guard.name.as_str().into(),
            kind: StepKind::Auth(guard.step.clone()),
            enforce: true,
        })
        .collect();
    let local = !entry.span().cloud;
    let chain = steps.chain_in_use(local).filter(|_| !self_contained);
    let origin = match (reader.get("middleware"), chain) {
        (Some(written), _) => {
            all.extend(
                request_side(&written, steps)
                    .into_iter()
                    .filter_map(|(name, item)| steps.named.resolve(&name, &item).cloned()),
            );
            if let Some(right) = response_side(&written) {
                for (name, item) in right.texts() {
                    steps.named.look_up(&name, &item);
                }
                if !right.items().is_empty() {
                    right.info("ignored: an edge has no steps on the response");
                }
            }
            written
        }
        (None, Some((chain, origin))) => {
            steps.chain_used.set(true);
            all.extend(chain.iter().cloned());
            origin.clone()
        }
        (None, None) => {
            if !guarded && !self_contained && (!answered || reader.has("backends")) {
                open::report_unsaid(reader, "middleware", steps);
            }
            entry.clone()
        }
    };
    chain::check(&all, &origin);
    attempts::check(&all, &origin);
    claims::check(&all, &origin);
    browsers::check(&all, &origin);
    header_names::check_steps(&all, &origin);
    (all, origin)
}

/// An array, or `left` of a table.
fn request_side<'a>(middleware: &Entry<'a>, steps: &Steps<'_>) -> Vec<(Text, Entry<'a>)> {
    if !middleware.is_table() {
        return middleware.texts();
    }
    let Some(sides) = middleware.table() else {
        return Vec::new();
    };
    let left = sides.get("left");
    if left.is_none() {
        open::report_unsaid(&sides, "left", steps);
    }
    sides.know(&["right"]);
    sides.finish();
    left.map(|left| left.texts()).unwrap_or_default()
}

fn response_side<'a>(middleware: &Entry<'a>) -> Option<Entry<'a>> {
    if middleware.is_table() {
        middleware.table()?.get("right")
    } else {
        None
    }
}

/// The one check of all endpoints. A pipeline has one chain, so endpoints that differ in it cannot
/// share one.
fn guard<'e>(endpoints: &'e [GuardedEndpoint], entry: &Entry<'_>) -> Option<&'e Guard> {
    let mut guards = endpoints.iter().map(|endpoint| endpoint.guard.as_ref());
    let first = guards.next().flatten();
    if guards.any(|guard| guard.map(|guard| &guard.name) != first.map(|guard| &guard.name)) {
        entry.error_help(
            "its endpoints differ in `authentication`",
            "give them pipelines of their own, or name the step in `middleware`",
        );
    }
    first
}
