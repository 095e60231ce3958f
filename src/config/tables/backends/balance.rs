//! How a backend's upstreams share its load: `balance`, `health_check`, and when one of them is
//! ejected.

use http::HeaderName;
use http::uri::{Authority, PathAndQuery};

use crate::config::model::{Balance, CheckKind, ConsistentBy, Ejection, HealthCheck, UpstreamUrl};
use crate::config::reader::{Entry, Reader};
use crate::config::tables::values::given;

const ALGORITHMS: &[&str] = &["round_robin", "least_conn", "consistent"];
const CHECK_TYPES: &[&str] = &["http", "tcp", "grpc"];
/// Bytes of the name of a gRPC service that is asked about.
const MAX_SERVICE: usize = 1024;

/// `balance` and `consistent_by`. The outer `None` follows an error.
pub(crate) fn read(reader: &Reader<'_>) -> Option<Option<Balance>> {
    let by = reader.get("consistent_by");
    let key = by.as_ref().map(consistent_by);
    let balance = match reader.get("balance") {
        Some(entry) => {
            let text = entry.text()?;
            Some(match &*text {
                "round_robin" => Balance::RoundRobin,
                "least_conn" => Balance::LeastConn,
                "consistent" => Balance::Consistent(key.unwrap_or(Some(ConsistentBy::Address))?),
                _ => {
                    entry.unknown("balance", &text, ALGORITHMS);
                    return None;
                }
            })
        }
        None => None,
    };
    if let (Some(by), None | Some(Balance::RoundRobin | Balance::LeastConn)) = (by, &balance) {
        by.error_help(
            "has no use without balance = \"consistent\"",
            "add that, or remove it",
        );
    }
    Some(balance)
}

/// `eject_after` and `eject_secs`.
pub(crate) fn ejection(reader: &Reader<'_>) -> Ejection {
    let after = reader.number("eject_after", 0..=1000, 3);
    Ejection {
        after: u32::try_from(after).unwrap_or(u32::MAX),
        time: reader.seconds("eject_secs", 1..=3600, 10),
    }
}

/// `health_check`, if it is there; the inner `None` follows an error.
pub(crate) fn health_check(reader: &Reader<'_>) -> Option<Option<HealthCheck>> {
    let entry = reader.get("health_check")?;
    Some(entry.table().and_then(|table| read_check(table)))
}

/// Reports a check that is to send a credential where there is none.
pub(crate) fn refuse_credential(reader: &Reader<'_>, check: &HealthCheck) {
    let CheckKind::Http {
        send_credential: true,
        ..
    } = &check.kind
    else {
        return;
    };
    if let Some(entry) = reader.get("health_check") {
        entry.error_help(
            "send_credential = true, and the backend has no credential",
            "add authentication = \"authentications.NAME\" to the backend, or remove it",
        );
    }
}

/// Reports a check by gRPC of an upstream that HTTP/2 is never spoken to.
pub(crate) fn refuse_grpc(reader: &Reader<'_>, check: &HealthCheck, upstreams: &[UpstreamUrl]) {
    if !matches!(check.kind, CheckKind::Grpc { .. })
        || upstreams.iter().all(UpstreamUrl::may_speak_http2)
    {
        return;
    }
    if let Some(entry) = reader.get("health_check") {
        entry.error_help(
            "a check of type \"grpc\" needs HTTP/2, and the upstream is spoken to in HTTP/1.1",
            "add http_version = \"2\" to the backend, or use another type",
        );
    }
}

fn read_check(reader: Reader<'_>) -> Option<HealthCheck> {
    let kind = check_kind(&reader);
    let count = |key, default| {
        let count = reader.number(key, 1..=100, default);
        u32::try_from(count).unwrap_or(u32::MAX)
    };
    let (unhealthy_after, healthy_after) = (count("unhealthy_after", 3), count("healthy_after", 2));
    let interval = reader.seconds("interval_secs", 1..=3600, 10);
    let timeout = reader.seconds("timeout_secs", 1..=60, 2);
    reader.finish();
    Some(HealthCheck {
        kind: kind?,
        interval,
        timeout,
        unhealthy_after,
        healthy_after,
    })
}

fn check_kind(reader: &Reader<'_>) -> Option<CheckKind> {
    let name = match reader.get("type") {
        Some(entry) => check_type(&entry),
        None => Some("http"),
    };
    let path = reader.get("path");
    let host = reader.get("host");
    let credential = reader.get("send_credential");
    let service = reader.get("service");
    let name = name?;
    let unused = [
        ("http", &path),
        ("http", &host),
        ("http", &credential),
        ("grpc", &service),
    ];
    for (of, entry) in unused {
        if let Some(entry) = entry.as_ref().filter(|_| of != name) {
            entry.error_help(
                format!("has no use in a check of type {name:?}"),
                format!("remove it, or use type = {of:?}"),
            );
        }
    }
    match name {
        "tcp" => Some(CheckKind::Tcp),
        "grpc" => {
            let service = service.map_or(Some(String::new()), |entry| check_service(&entry));
            Some(CheckKind::Grpc { service: service? })
        }
        _ => {
            let path = path.map_or(Some("/".to_owned()), |entry| check_path(&entry));
            let host = host.map(|entry| check_host(&entry));
            let send_credential = credential.map_or(Some(false), |entry| entry.boolean());
            Some(CheckKind::Http {
                path: path?,
                host: given(host)?,
                send_credential: send_credential?,
            })
        }
    }
}

fn check_type(entry: &Entry<'_>) -> Option<&'static str> {
    let text = entry.text()?;
    let known = CHECK_TYPES.iter().copied().find(|name| *name == &*text);
    if known.is_none() {
        entry.unknown("type of health check", &text, CHECK_TYPES);
    }
    known
}

/// The full name of a gRPC service; empty: the server.
fn check_service(entry: &Entry<'_>) -> Option<String> {
    let text = entry.text()?;
    let valid = text.len() <= MAX_SERVICE && !text.chars().any(char::is_control);
    if !valid {
        entry.error_help(
            "is not the name of a gRPC service",
            "write it like \"example.v1.Orders\"",
        );
    }
    valid.then(|| text.to_string())
}

fn check_path(entry: &Entry<'_>) -> Option<String> {
    let text = entry.text()?;
    let valid = text.starts_with('/') && !text.contains('#') && text.is_ascii();
    if valid && text.parse::<PathAndQuery>().is_ok() {
        return Some(text.to_string());
    }
    entry.error_help(
        "is not a path",
        "write it like \"/healthz\"; it may have a query",
    );
    None
}

fn check_host(entry: &Entry<'_>) -> Option<String> {
    let text = entry.text()?;
    let valid = !text.contains('@') && text.parse::<Authority>().is_ok();
    if !valid {
        entry.error_help(
            "is not a host",
            "write it like \"app.example.com\" or \"app.example.com:8080\"",
        );
    }
    valid.then(|| text.to_string())
}

/// `"address"`, or `{ header = NAME }`.
fn consistent_by(entry: &Entry<'_>) -> Option<ConsistentBy> {
    if entry.is_table() {
        let reader = entry.table()?;
        let header = reader.get("header");
        if header.is_none() {
            reader.missing("header", "add header = \"X-Tenant\"");
        }
        reader.finish();
        let header = header?;
        let name: Option<HeaderName> = header.text()?.parse().ok();
        if name.is_none() {
            header.error("is not a header name");
        }
        return name.map(ConsistentBy::Header);
    }
    if &*entry.text()? == "address" {
        return Some(ConsistentBy::Address);
    }
    entry.error_help(
        "must be \"address\" or { header = NAME }",
        "write it like consistent_by = { header = \"X-Tenant\" }",
    );
    None
}
