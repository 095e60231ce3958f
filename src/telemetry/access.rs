//! The access log: one record a request, at `info` under the target `harmony::access`. No query, no header, no credential.

use std::net::IpAddr;
use std::time::Duration;

use http::Version;

const TARGET: &str = "harmony::access";

/// What is known of a request at its end.
#[derive(Debug)]
pub struct Record<'a> {
    /// The client behind trusted proxies.
    pub client: Option<IpAddr>,
    /// The method.
    pub method: &'a str,
    /// The canonical path; `None` when the request had none.
    pub path: Option<&'a str>,
    /// The client's version of HTTP.
    pub version: Version,
    /// The status that the client got; `None` when it was gone before.
    pub status: Option<u16>,
    /// Bytes of response body.
    pub bytes: usize,
    /// From the request's head to the response's end.
    pub duration: Duration,
    /// The pipeline.
    pub pipeline: Option<&'a str>,
    /// The backend.
    pub upstream: Option<&'a str>,
    /// The method of authentication.
    pub auth: Option<&'a str>,
    /// Who authenticated.
    pub subject: Option<&'a str>,
    /// Why the request was refused or failed: a stable label.
    pub reason: Option<&'a str>,
    /// The request's id.
    pub request_id: Option<&'a str>,
}

/// Whether records are wanted at all.
pub fn enabled() -> bool {
    log::log_enabled!(target: TARGET, log::Level::Info)
}

/// Writes a record.
pub fn write(record: &Record<'_>) {
    let or_dash = |value: Option<&str>| value.unwrap_or("-").to_owned();
    log::info!(
        target: TARGET,
        client:% = record.client.map_or_else(|| "-".to_owned(), |client| client.to_string()),
        method = record.method,
        path = or_dash(record.path),
        version:? = record.version,
        status = record.status.unwrap_or(0),
        bytes = record.bytes,
        duration_us = u64::try_from(record.duration.as_micros()).unwrap_or(u64::MAX),
        pipeline = or_dash(record.pipeline),
        upstream = or_dash(record.upstream),
        auth = or_dash(record.auth),
        subject:? = record.subject.unwrap_or("-"),
        reason = or_dash(record.reason),
        id = or_dash(record.request_id);
        "request"
    );
}
