//! Counts, log lines and access records of what was refused before it became a request.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use http::Version;

use super::malformed::{Malformed, UNREADABLE};
use crate::auth::is_tchar;
use crate::gateway::Live;
use crate::telemetry::{access, audit};

/// Where they are counted, and which connection they came on.
pub(super) struct RefusalLog<'a> {
    pub(super) live: &'a Live,
    pub(super) network: &'a str,
    pub(super) peer: Option<SocketAddr>,
}

impl RefusalLog<'_> {
    /// Counts one among the requests without a pipeline. What comes to the management network is
    /// not counted as a request.
    pub(super) fn count(&self, status: u16, reason: &'static str) {
        self.log(&format_args!("{status} {reason}"));
        let config = self.live.config();
        let management = config.management.as_ref();
        if management.is_none_or(|settings| *settings.network != *self.network) {
            let metrics = self.live.metrics().unmatched();
            metrics.count(Some(status), Duration::ZERO, Some(reason));
        }
    }

    /// The same for an HTTP/1 request that began with these bytes. If it has a request line, it
    /// gets an access record, too.
    pub(super) fn malformed(&self, malformed: Malformed, head: &[u8]) {
        let (status, reason) = (malformed.status(), malformed.reason());
        self.count(status, reason);
        if malformed != Malformed::Line {
            let (method, target) = method_and_target(head);
            let path = refused_path(target).map(String::from_utf8_lossy);
            self.record(status, reason, method, path.as_deref());
        }
    }

    /// The same for one that Pingora does not accept. What it asked for is not known here.
    pub(super) fn unreadable(&self, status: u16) {
        self.count(status, UNREADABLE);
        self.record(status, UNREADABLE, None, None);
    }

    fn record(&self, status: u16, reason: &'static str, method: Option<&str>, path: Option<&str>) {
        let client = self.peer.map(|peer| peer.ip().to_canonical());
        if audit::enabled() {
            audit::write(&audit::Event {
                event: audit::REFUSAL,
                from: client.map(|client| client.to_string()).as_deref(),
                outcome: Some(reason),
                status: Some(status),
                method,
                path,
                ..audit::Event::default()
            });
        }
        if !access::enabled() {
            return;
        }
        access::write(&access::Record {
            client,
            host: None,
            method: method.unwrap_or("-"),
            path,
            version: Version::HTTP_11,
            tls: None,
            status: Some(status),
            bytes: 0,
            duration: Duration::ZERO,
            time_to_head: None,
            pipeline: None,
            backend: None,
            upstream: None,
            upstream_protocol: None,
            attempts: 0,
            grpc_status: None,
            auth: None,
            subject: None,
            shadow: None,
            reason: Some(reason),
            request_id: None,
            trace: None,
            user_agent: None,
            referer: None,
        });
    }

    /// At `debug`, since scanners come by all the time.
    pub(super) fn log(&self, why: &dyn fmt::Display) {
        let peer = || self.peer.map(|peer| peer.to_string()).unwrap_or_default();
        log::debug!(
            "network {}: request of {} refused: {why}",
            self.network,
            peer()
        );
    }
}

/// The method of the request line, if it is a token, and the target.
fn method_and_target(head: &[u8]) -> (Option<&str>, &[u8]) {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Some(first) = memchr::memchr(b' ', line) else {
        return (None, &[]);
    };
    let method = &line[..first];
    let sound = !method.is_empty() && method.iter().all(|byte| is_tchar(*byte));
    let method = std::str::from_utf8(method).ok().filter(|_| sound);
    let last = memchr::memrchr(b' ', line).unwrap_or(first);
    (method, line.get(first + 1..last).unwrap_or_default())
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
    fn a_record_shows_what_could_be_read() {
        for (head, method, target) in [
            ("GET /a b?c HTTP/1.1\r\nA: b", Some("GET"), "/a b?c"),
            ("GET /a", Some("GET"), ""),
            ("G@T /a HTTP/1.1\r\n", None, "/a"),
            (" /a HTTP/1.1\r\n", None, "/a"),
            ("GET", None, ""),
            ("", None, ""),
        ] {
            assert_eq!(
                method_and_target(head.as_bytes()),
                (method, target.as_bytes()),
                "{head:?}"
            );
        }
    }

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
