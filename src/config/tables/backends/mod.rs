//! `[backends.*]` and `[targets.*]`: where requests go.
//!
//! A backend may say everything itself, or take a target's word for what it does not say
//! (`target_ref`).

pub(crate) mod balance;
mod split;
pub(crate) mod upstream;

use std::time::Duration;

use super::authentications::Authentications;
use super::endpoints::service;
use super::values::{address, given, path};
use crate::config::model::{
    Backend, BackendTarget, ErrorKind, HttpBackend, HttpVersion, OutboundCredential, ProxyProtocol,
    UpstreamUrl,
};
use crate::config::reader::{Entry, Named, Reader};
use upstream::Upstream;

/// What a backend or a target says, as far as it says it.
#[derive(Clone, Default)]
struct Terms {
    upstream: Upstream,
    http_version: Option<HttpVersion>,
    timeout: Option<Duration>,
    max_retries: Option<u32>,
    credential: Option<Option<OutboundCredential>>,
}

/// Keys of a backend that an echo has no use for.
const HTTP_ONLY: &[&str] = &[
    "target_ref",
    "connection",
    "authentication",
    "ca_cert_path",
    "base_url",
    "url",
    "upstreams",
    "http_version",
    "balance",
    "consistent_by",
    "health_check",
    "eject_after",
    "eject_secs",
    "host",
    "timeout_secs",
    "connect_timeout_secs",
    "read_timeout_secs",
    "total_timeout_secs",
    "max_retries",
    "max_connections",
    "send_proxy_protocol",
];

/// Reads both groups.
pub(crate) fn read(root: &Reader<'_>, authentications: &Authentications) -> Named<Backend> {
    let mut targets = Named::new("target");
    for (name, entry) in root.group("targets") {
        targets.insert(name, &entry, read_target(&entry, authentications));
    }
    let mut backends = Named::new("backend");
    for (name, entry) in root.group("backends") {
        let backend = read_backend(name, &entry, &targets, authentications);
        backends.insert(name, &entry, backend);
    }
    backends
}

/// `None` inside is a target that is switched off.
fn read_target(entry: &Entry<'_>, authentications: &Authentications) -> Option<Option<Terms>> {
    let mut reader = entry.table()?;
    reader.know(&["name", "description"]);
    reader.ignore(&["id", "tags"]);
    reader.flatten("options");
    let terms = terms(&reader, authentications);
    let enabled = reader.flag("enabled", true);
    reader.finish();
    Some(if enabled { Some(terms?) } else { None })
}

fn read_backend(
    name: &str,
    entry: &Entry<'_>,
    targets: &Named<Option<Terms>>,
    authentications: &Authentications,
) -> Option<Backend> {
    let mut reader = entry.table()?;
    let service = service(&reader, &["http", "echo"])?;
    reader.know(&["description"]);
    reader.ignore(&["id", "name", "tags"]);
    reader.flatten("options");
    let target = match service {
        "echo" => {
            reader.know(HTTP_ONLY);
            address::path_prefix(reader.get("path_prefix").as_ref()).map(|_| BackendTarget::Echo)
        }
        _ => read_http(&reader, targets, authentications)
            .map(|http| BackendTarget::Http(Box::new(http))),
    };
    let when = split::when(&reader);
    let weight = split::weight(&reader);
    reader.finish();
    Some(Backend {
        name: name.into(),
        target: target?,
        weight,
        when: given(when)?,
    })
}

fn read_http(
    reader: &Reader<'_>,
    targets: &Named<Option<Terms>>,
    authentications: &Authentications,
) -> Option<HttpBackend> {
    let own = terms(reader, authentications);
    let target = reader
        .get("target_ref")
        .map(|reference| referred(&reference, targets));
    let below = reader.get("path_prefix");
    let below_filled = below.as_ref().is_some_and(Entry::is_filled);
    let below = address::path_prefix(below.as_ref());
    let connect_timeout = reader.seconds("connect_timeout_secs", 1..=300, 5);
    let read_timeout = reader.seconds("read_timeout_secs", 1..=86_400, 60);
    let max_connections = reader.connections("max_connections");
    let total_timeout = reader.seconds("total_timeout_secs", 0..=86_400, 0);
    let send_upstream_host = reader
        .get("host")
        .and_then(|entry| send_upstream_host(&entry))
        .unwrap_or(false);

    let send_proxy_protocol = reader
        .get("send_proxy_protocol")
        .and_then(|entry| proxy_protocol(&entry));

    // After an error in either of them, what is read below has no use but its own errors.
    let of_either = |terms: &Terms| terms.http_version;
    let http_version = (own.as_ref().and_then(of_either))
        .or(target
            .as_ref()
            .and_then(|target| target.as_ref().and_then(of_either)))
        .unwrap_or_default();
    let listed = reader.get("upstreams");
    let upstreams = listed
        .as_ref()
        .map(|entry| upstream::read_many(entry, http_version));
    let balance = balance::read(reader);
    let health_check = balance::health_check(reader);
    let ejection = balance::ejection(reader);

    let own = own?;
    let target = given(target)?.unwrap_or_default();
    let address = own.upstream.over(target.upstream);
    let ca_cert_path = address.ca.clone();
    let mut upstreams = match (listed, upstreams) {
        (Some(listed), Some(upstreams)) => {
            if !address.is_empty() {
                listed.error_help(
                    "is given beside another address",
                    "keep upstreams, or base_url (or connection, or a target's address)",
                );
            }
            upstreams?
        }
        _ => vec![address.resolve(reader, http_version)?],
    };
    let below = below?;
    for upstream in &mut upstreams {
        upstream.base_path = path::joined(&upstream.base_path, &below);
        upstream.path_filled |= below_filled;
    }
    upstream::check_tls(reader, &upstreams, ca_cert_path.is_some());
    let credential = own.credential.or(target.credential).flatten();
    let exposed = |upstream: &UpstreamUrl| !upstream.tls && !address::is_loopback(&upstream.host);
    if credential.is_some() && upstreams.iter().any(exposed) {
        reader.warning("its credential travels over http");
    }
    let health_check = given(health_check)?;
    if let Some(check) = &health_check {
        balance::refuse_grpc(reader, check, &upstreams);
        if credential.is_none() {
            balance::refuse_credential(reader, check);
        }
    }
    Some(HttpBackend {
        upstreams,
        balance: balance?,
        health_check,
        ejection,
        ca_cert_path,
        send_upstream_host,
        connect_timeout,
        head_timeout: own
            .timeout
            .or(target.timeout)
            .unwrap_or(Duration::from_secs(30)),
        read_timeout,
        total_timeout: Some(total_timeout).filter(|timeout| !timeout.is_zero()),
        max_retries: own.max_retries.or(target.max_retries).unwrap_or(1),
        max_connections,
        send_proxy_protocol,
        credential,
    })
}

/// The keys that backends and targets share.
fn terms(reader: &Reader<'_>, authentications: &Authentications) -> Option<Terms> {
    let upstream = upstream::read(reader);
    let http_version = upstream::http_version(reader);
    let timeout = reader
        .get("timeout_secs")
        .and_then(|entry| entry.integer(1..=3600));
    let max_retries = reader
        .get("max_retries")
        .and_then(|entry| entry.integer(0..=10));
    let credential = reader
        .get("authentication")
        .map(|reference| authentications.outbound(&reference));
    Some(Terms {
        upstream: upstream?,
        http_version: http_version?,
        timeout: timeout.map(|seconds| Duration::from_secs(seconds.unsigned_abs())),
        max_retries: max_retries.and_then(|retries| u32::try_from(retries).ok()),
        credential: given(credential)?,
    })
}

fn referred(reference: &Entry<'_>, targets: &Named<Option<Terms>>) -> Option<Terms> {
    let text = reference.text()?;
    let name = text.strip_prefix("targets.").unwrap_or(&text);
    let target = targets.resolve(&text.part(name), reference)?;
    if target.is_none() {
        reference.error_help(
            "is switched off",
            "set enabled = true in the target, or name another",
        );
    }
    target.clone()
}

/// `send_proxy_protocol`.
fn proxy_protocol(entry: &Entry<'_>) -> Option<ProxyProtocol> {
    let text = entry.text()?;
    match &*text {
        "v1" => Some(ProxyProtocol::V1),
        "v2" => Some(ProxyProtocol::V2),
        _ => {
            entry.unknown("version of the PROXY protocol", &text, &["v1", "v2"]);
            None
        }
    }
}

/// `host`: whose `Host` the upstream sees.
fn send_upstream_host(entry: &Entry<'_>) -> Option<bool> {
    let text = entry.text()?;
    match &*text {
        "upstream" => Some(true),
        "client" => Some(false),
        _ => {
            let kind = ErrorKind::Other("must be \"client\" or \"upstream\"".to_owned());
            entry.error_help(
                kind,
                "it says whose Host header is sent; the upstream's address is \
                 base_url or connection.host",
            );
            None
        }
    }
}
