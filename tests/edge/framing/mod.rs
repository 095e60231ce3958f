//! HTTP/1.1 at its seams, byte for byte. Every request has a good token, so that only its form can be what refuses it; and what the upstream saw is judged, not only
//! the status: never a second request, never a frame that two readers could read in two ways.

mod bodies;
mod heads;
mod lines;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::poll::becomes_true;
use crate::support::upstream::Received;
use crate::support::{Client, Edge, Framing, Issuer, Response, Upstream};

/// What a row must lead to.
enum Expected {
    /// This status, the connection closed, nothing at the upstream.
    Refused(u16),
    /// Refused with a status from 400 on, or closed without a word; nothing at the upstream.
    RefusedSomehow,
    /// One request with this body, and 200.
    Forwarded(&'static str),
    /// One of the two: the specification does not say.
    RefusedOrForwarded(&'static str),
    /// The head may have gone on before the body turned out bad; it never becomes a whole request.
    NeverWhole,
}

/// An edge in front of an upstream, and the bytes to try on them.
struct Bench {
    issuer: Issuer,
    upstream: Upstream,
    edge: Edge,
    token: String,
    rows: AtomicUsize,
}

impl Bench {
    fn start() -> Self {
        let (issuer, upstream) = (Issuer::start(), Upstream::start());
        let edge = Edge::with_jwt(&issuer, &upstream).start();
        let token = issuer.token().sign();
        Self { issuer, upstream, edge, token, rows: AtomicUsize::new(0) }
    }

    /// `{H}` stands for the host and the token, two good fields; `{T}` for the token alone; `{S}` for a whole request that must never be seen as one. `/api/x` becomes a
    /// path of the row's own.
    fn fill(&self, bytes: &str) -> Vec<u8> {
        let row = self.rows.fetch_add(1, Ordering::Relaxed) + 1;
        let token = format!("Authorization: Bearer {}\r\n", self.token);
        let smuggled = format!("GET /api/smuggled HTTP/1.1\r\nHost: h\r\n{token}\r\n");
        let bytes = bytes.replace("{S}", &smuggled).replace("{H}", &format!("Host: h\r\n{token}")).replace("{T}", &token);
        bytes.replace("/api/x", &format!("/api/row-{row}")).into_bytes()
    }

    /// What reached the upstream of the latest row. A request of an earlier row may still have been on its way there.
    fn seen(&self) -> Vec<Received> {
        let row = self.rows.load(Ordering::Relaxed);
        let earlier: Vec<String> = (0..row).map(|row| format!("/row-{row}")).collect();
        self.upstream.requests().into_iter().filter(|request| !earlier.iter().any(|target| target == request.target())).collect()
    }

    /// Sends the bytes on a connection of their own and says what is wrong with what came of them.
    fn judge(&self, name: &str, bytes: &[u8], expected: &Expected) -> Option<String> {
        self.upstream.clear();
        let (responses, closed) = exchange(&self.edge, bytes);
        becomes_true(Duration::from_secs(1), || self.seen().iter().all(|request| request.ended));
        let seen = self.seen();
        let statuses: Vec<u16> = responses.iter().map(|response| response.status).collect();
        let lines: Vec<&str> = seen.iter().map(|request| request.head.first_line.as_str()).collect();
        let report = || Some(format!("{name}: {statuses:?}, closed: {closed}, upstream: {lines:?}"));

        let ambiguous = seen.iter().any(|request| request.head.framing() == Framing::Ambiguous);
        if seen.len() > 1 || ambiguous || lines.iter().any(|line| line.contains("smuggled")) {
            return report();
        }
        let refused = seen.is_empty() && closed && statuses.len() <= 1 && statuses.iter().all(|status| *status >= 400);
        let forwarded = |body: &str| statuses.first() == Some(&200) && seen.first().is_some_and(|request| request.complete && request.body == body.as_bytes());
        let right = match expected {
            Expected::Refused(status) => refused && statuses == [*status],
            Expected::RefusedSomehow => refused,
            Expected::Forwarded(body) => forwarded(body),
            Expected::RefusedOrForwarded(body) => refused || forwarded(body),
            Expected::NeverWhole => closed && !statuses.contains(&200) && seen.iter().all(|request| !request.complete),
        };
        if right { None } else { report() }
    }

    #[track_caller]
    fn judge_all(&self, rows: &[(&str, &str, Expected)]) {
        let wrong: Vec<String> = rows.iter().filter_map(|(name, bytes, expected)| self.judge(name, &self.fill(bytes), expected)).collect();
        assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    }
}

/// All responses, and whether the edge ended the connection. The client's side stays open: an end must not be what ends a body.
fn exchange(edge: &Edge, bytes: &[u8]) -> (Vec<Response>, bool) {
    let mut client: Client = edge.connect().patience(Duration::from_millis(1500));
    client.send(bytes);
    client.drain("GET")
}
