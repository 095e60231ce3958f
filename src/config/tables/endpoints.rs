//! `[endpoints.*]`: where requests come in.

use std::time::Duration;

use http::Method;

use super::authentications::Authentications;
use super::middleware::Steps;
use super::values::{address, given, method, redirect};
use super::{receivers, unsupported};
use crate::config::model::{AuthStep, Endpoint, PrefixBoundary, Service};
use crate::config::reader::{Entry, Named, Reader};

/// An endpoint, and the check that its `authentication` means.
#[derive(Clone)]
pub(crate) struct GuardedEndpoint {
    pub(crate) endpoint: Endpoint,
    pub(crate) guard: Option<Guard>,
}

/// The check on an endpoint, and the table that it came from.
#[derive(Clone)]
pub(crate) struct Guard {
    pub(crate) name: String,
    pub(crate) step: AuthStep,
}

/// Every service of an endpoint.
const SERVICES: &[&str] = &[
    "http",
    "echo",
    "redirect",
    "backchannel-logout",
    "security-events",
];

/// What endpoints refer to, and their defaults.
pub(crate) struct Parts<'a, 'p> {
    pub(crate) authentications: &'p Authentications,
    pub(crate) steps: &'p Steps<'a>,
    pub(crate) jwks_fresh: Duration,
    pub(crate) max_body_size: u64,
}

/// The largest body that tells of revocations.
const MAX_NOTICE: u64 = 64 * 1024;

/// Reads `[endpoints.*]`.
pub(crate) fn read(root: &Reader<'_>, parts: &Parts<'_, '_>) -> Named<GuardedEndpoint> {
    let mut endpoints = Named::new("endpoint");
    for (name, entry) in root.group("endpoints") {
        endpoints.insert(name, &entry, read_one(name, &entry, parts));
    }
    endpoints
}

fn read_one(name: &str, entry: &Entry<'_>, parts: &Parts<'_, '_>) -> Option<GuardedEndpoint> {
    let mut reader = entry.table()?;
    let service = service(&reader, SERVICES);
    reader.know(&["description"]);
    reader.ignore(&["id", "name", "tags", "peer_ref", "connection"]);
    reader.flatten("options");
    let prefix = address::path_prefix(reader.get("path_prefix").as_ref());
    let boundary = match reader.get("prefix_boundary") {
        None => Some(PrefixBoundary::default()),
        Some(entry) => prefix_boundary(&entry),
    };
    let (strips, adds) = (reader.get("strip_prefix"), reader.get("add_prefix"));
    let strip_prefix = strips.as_ref().map_or(Some(true), Entry::boolean);
    let add_prefix = address::path_prefix(adds.as_ref());
    let hosts = reader
        .get("hosts")
        .filter(Entry::is_not_empty)
        .map(|entry| address::hosts(&entry, true))
        .unwrap_or_default();
    let service = match service {
        Some("redirect") => {
            for entry in [strips, adds].into_iter().flatten() {
                entry.error_help(
                    "has no use in a redirect",
                    "remove it: {path} is the whole path",
                );
            }
            redirect::read(&reader, !hosts.is_empty()).map(Service::Redirect)
        }
        Some("echo") => Some(Service::Echo),
        Some(service @ ("backchannel-logout" | "security-events")) => {
            if entry.span().cloud {
                // Whoever is told of revocations can keep anybody out.
                entry.error_help(
                    format!("the cloud cannot bring a {service} endpoint"),
                    "write it into the local files",
                );
            }
            for key in [
                "strip_prefix",
                "add_prefix",
                "methods",
                "method",
                "max_body_size",
            ] {
                if let Some(entry) = reader.get(key) {
                    entry.error_help(format!("has no use in a {service} endpoint"), "remove it");
                }
            }
            match service {
                "backchannel-logout" => receivers::backchannel_logout(&reader, parts.steps)
                    .map(Service::BackchannelLogout),
                _ => receivers::security_events(&reader, parts.jwks_fresh)
                    .map(Service::SecurityEvents),
            }
        }
        Some(_) => Some(Service::Http),
        // its other keys are those of another program
        None => return None,
    };
    let methods = reader
        .any(&["methods", "method"])
        .map(|entry| method::all(&entry))
        .unwrap_or_default();
    let max_body_size = reader.number("max_body_size", 0..=i64::MAX, parts.max_body_size);
    let guard = reader
        .get("authentication")
        .map(|reference| guard(&reference, parts.authentications));
    reader.finish();
    let guard = given(guard)?;
    let is_told = matches!(
        service,
        Some(Service::BackchannelLogout(_) | Service::SecurityEvents(_))
    );
    let (methods, max_body_size) = match is_told {
        true => (vec![Method::POST], MAX_NOTICE),
        false => (methods, max_body_size),
    };
    let endpoint = Endpoint {
        name: name.into(),
        service: service?,
        path_prefix: prefix?,
        prefix_boundary: boundary?,
        strip_prefix: strip_prefix?,
        add_prefix: add_prefix?,
        hosts,
        methods,
        max_body_size,
    };
    Some(GuardedEndpoint { endpoint, guard })
}

fn prefix_boundary(entry: &Entry<'_>) -> Option<PrefixBoundary> {
    let text = entry.text()?;
    match &*text {
        "segment" => Some(PrefixBoundary::Segment),
        "word" => Some(PrefixBoundary::Word),
        _ => {
            entry.unknown("boundary", &text, &["segment", "word"]);
            None
        }
    }
}

fn guard(reference: &Entry<'_>, authentications: &Authentications) -> Option<Guard> {
    let step = authentications.inbound(reference)?;
    Some(Guard {
        name: reference.text()?.to_string(),
        step,
    })
}

/// `service` of an endpoint or a backend: one of those that are `served`.
pub(crate) fn service(
    reader: &Reader<'_>,
    served: &'static [&'static str],
) -> Option<&'static str> {
    let Some(entry) = reader.get("service") else {
        reader.missing("service", "write service = \"http\"");
        return None;
    };
    let text = entry.text()?;
    if let Some(known) = served.iter().find(|known| **known == &*text) {
        return Some(known);
    }
    match unsupported::instead(unsupported::SERVICES, &text) {
        Some(instead) => entry.foreign("the service", &text, instead),
        None => entry.unknown("service", &text, served),
    }
    None
}
