//! What is kept of the requests of a connection that were refused before they became any.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use http::Version;

use crate::gateway::Live;
use crate::proxy::Malformed;
use crate::telemetry::access;

/// Where to count them, and whose they are.
pub(super) struct Refusals<'a> {
    pub(super) live: &'a Live,
    pub(super) network: &'a str,
    pub(super) peer: Option<SocketAddr>,
}

impl Refusals<'_> {
    /// Counts one, among those that belong to no pipeline. What comes to the management network is
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

    /// The same, of an HTTP/1 request. What has a request line has a record, too.
    pub(super) fn malformed(&self, malformed: Malformed) {
        let (status, reason) = (malformed.status(), malformed.reason());
        self.count(status, reason);
        if malformed == Malformed::Line || !access::enabled() {
            return;
        }
        access::write(&access::Record {
            client: self.peer.map(|peer| peer.ip().to_canonical()),
            method: "-",
            path: None,
            version: Version::HTTP_11,
            status: Some(status),
            bytes: 0,
            duration: Duration::ZERO,
            pipeline: None,
            upstream: None,
            auth: None,
            subject: None,
            reason: Some(reason),
            request_id: None,
        });
    }

    /// Scanners come by all the time, so it is nothing that a log at `info` has.
    pub(super) fn log(&self, why: &dyn fmt::Display) {
        let peer = self.peer.map(|peer| peer.to_string()).unwrap_or_default();
        log::debug!("network {}: request of {peer} refused: {why}", self.network);
    }
}
