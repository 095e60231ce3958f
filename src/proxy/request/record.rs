//! What is kept of a request that is over: its counts and its access record.

use std::borrow::Cow;

use pingora_proxy::Session;

use super::context::Context;
use super::head::Head;
use crate::telemetry::{Metrics, access};

/// Counts it, and writes its record.
pub(crate) fn finished(session: &Session, ctx: &Context, metrics: &Metrics) {
    let status = session
        .response_written()
        .map(|response| response.status.as_u16());
    let duration = ctx.started.elapsed();
    let counters = match &ctx.route {
        Some(route) => &route.pipeline.metrics,
        None => metrics.unmatched(),
    };
    counters.count(status, duration, ctx.reason);
    if !access::enabled() {
        return;
    }
    let request = session.req_header();
    let path = match &ctx.path {
        Some(path) => Some(Cow::Borrowed(path.as_str())),
        None => refused_path(request.raw_path()).map(String::from_utf8_lossy),
    };
    access::write(&access::Record {
        client: ctx.client,
        host: ctx.head.as_ref().map(Head::written_host),
        method: request.method.as_str(),
        path: path.as_deref(),
        version: ctx.version,
        status,
        bytes: session.body_bytes_sent(),
        duration,
        pipeline: ctx.route.as_ref().map(|route| &*route.pipeline.name),
        backend: ctx.backend().map(|backend| &*backend.name),
        upstream: ctx.upstream_address,
        auth: ctx
            .identity
            .as_ref()
            .map(|identity| identity.method().as_str()),
        subject: ctx
            .identity
            .as_ref()
            .and_then(|identity| identity.subject()?.to_str().ok()),
        reason: ctx.reason,
        request_id: ctx.request_id.as_ref().and_then(|id| id.to_str().ok()),
    });
}

/// The path of a target that was refused before it had a canonical one: as it came, without its
/// query and, of an absolute-form target, without its authority, either of which may hold a secret.
pub fn refused_path(target: &[u8]) -> Option<&[u8]> {
    let path = match memchr::memmem::find(target, b"://") {
        Some(at) if !target.starts_with(b"/") => {
            let rest = &target[at + 3..];
            &rest[memchr::memchr3(b'/', b'?', b'#', rest)?..]
        }
        _ => target,
    };
    let end = memchr::memchr2(b'?', b'#', path).unwrap_or(path.len());
    path.starts_with(b"/").then(|| &path[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_path_is_shown_without_what_may_be_secret() {
        for (target, path) in [
            ("/a/..%2fb", Some("/a/..%2fb")),
            ("/a b?token=x", Some("/a b")),
            ("/a#?x", Some("/a")),
            ("/a?u=http://h/x", Some("/a")),
            ("http://user:pw@h/a?x", Some("/a")),
            ("http://user:pw@h?x=/y", None),
            ("http://user:pw@h", None),
            ("user:pw@h", None),
            ("*", None),
            ("", None),
        ] {
            let found = refused_path(target.as_bytes());
            assert_eq!(found, path.map(str::as_bytes), "{target}");
        }
    }
}
