//! Hostile input: requests and responses at the seams of HTTP, byte for byte, in tables. Every
//! request has a good token, so that only its form can be what refuses it.
//!
//! What is judged is what the upstream got, by a strict reader of its own ([`strict`]): never a
//! second request, never a frame or a field that two readers could take in two ways. And behind
//! every row come two canaries: one on the same connection, which must be answered as a request of
//! its own or not at all, and one on another connection, which shares the edge's connections to the
//! upstream and must get its own answer.

mod case;
mod chunks;
mod disguises;
mod fields;
mod frames;
mod heads;
mod http2;
mod lines;
mod nginx;
mod paths;
mod recorder;
mod responses;
mod slashes;
mod spellings;
mod strict;
mod targets;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Client, Edge, Issuer, Response};
use recorder::{Mark, Recorder};
use strict::Request;

/// Longer than anything that a row waits for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a row must lead to.
#[derive(Debug, Clone, Copy)]
enum Expected {
    /// This status, the connection closed, nothing at the upstream.
    Refused(u16),
    /// Refused with a status from 400 on, or closed without a word; nothing at the upstream.
    RefusedSomehow,
    /// One request with this body, and 200.
    Forwarded(&'static str),
    /// One of the two: the specification does not say.
    RefusedOrForwarded(&'static str),
    /// One request with this body, and 200; or never a whole one.
    ForwardedOrNeverWhole(&'static str),
    /// The edge's own answer, with nothing at the upstream; the connection may go on.
    Answered(u16),
    /// The head may have gone on before the body turned out bad; it never becomes a whole request.
    NeverWhole,
    /// The same, and the answer is 400.
    BadBody,
}

use Expected::{
    Answered, BadBody, Forwarded, ForwardedOrNeverWhole, NeverWhole, Refused, RefusedOrForwarded,
    RefusedSomehow,
};

/// A row of a table: a name, the bytes, and what must come of them. See [`Bench::fill`] for what
/// the bytes may hold.
type Row = (&'static str, &'static str, Expected);

/// An edge in front of an upstream, and the bytes to try on them.
struct Bench {
    _issuer: Issuer,
    upstream: Recorder,
    edge: Edge,
    token: String,
    rows: AtomicUsize,
}

/// Everything that came of a row.
struct Outcome {
    row: usize,
    responses: Vec<Response>,
    closed: bool,
    /// What the upstream got of the row itself, canaries left out.
    seen: Vec<Request>,
    /// Whether the upstream got the canary of the same connection.
    next_seen: bool,
}

impl Bench {
    fn start() -> Self {
        Self::in_front_of(Recorder::start())
    }

    fn in_front_of(upstream: Recorder) -> Self {
        let issuer = Issuer::start();
        let edge = Edge::configured(crate::support::Settings::with_keys_to(
            &format!("jwks_url = \"{}\"", issuer.url()),
            upstream.port(),
        ))
        .quiet()
        .start();
        let token = issuer.token().sign();
        Self { _issuer: issuer, upstream, edge, token, rows: AtomicUsize::new(0) }
    }

    /// `{H}` stands for the host and the token, two good fields; `{T}` for the token alone; `{S}`
    /// for a whole request that must never be seen as one. `/api/x` becomes a path of the row's
    /// own. A character up to U+00FF stands for that byte.
    fn fill(&self, bytes: &str) -> Vec<u8> {
        let row = self.rows.fetch_add(1, Ordering::Relaxed) + 1;
        let token = format!("Authorization: Bearer {}\r\n", self.token);
        let smuggled = format!("GET /api/smuggled HTTP/1.1\r\nHost: h\r\n{token}\r\n");
        let bytes = bytes
            .replace("{S}", &smuggled)
            .replace("{H}", &format!("Host: h\r\n{token}"))
            .replace("{T}", &token);
        bytes
            .replace("/api/x", &format!("/api/row-{row}"))
            .chars()
            .map(|letter| u8::try_from(u32::from(letter)).expect("a byte"))
            .collect()
    }

    /// A good request for `/api/{name}`.
    fn canary(&self, name: &str, fields: &str) -> Vec<u8> {
        format!(
            "GET /api/{name} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {}\r\n{fields}\r\n",
            self.token
        )
        .into_bytes()
    }

    /// Sends the bytes on a connection of their own, a canary behind them, and another one
    /// elsewhere. What is never right is an error.
    fn run(&self, bytes: &[u8]) -> Result<Outcome, String> {
        let row = self.rows.load(Ordering::Relaxed);
        let mark = self.upstream.mark();
        let next = format!("/next-{row}");
        let mut client = self.edge.connect().patience(PATIENCE);
        client.send([bytes, &self.canary(&next[1..], "Connection: close\r\n")].concat());
        let (responses, closed) =
            drain(&mut client, if bytes.starts_with(b"HEAD ") { "HEAD" } else { "GET" });
        self.edge_is_sane(row)?;

        let (seen, next_seen) = self.seen(&mark, row)?;
        Ok(Outcome { row, responses, closed, seen, next_seen })
    }

    /// What the upstream got of a row since the mark, canaries left out, and whether it got the
    /// canary of the same connection. What is never right is an error.
    fn seen(&self, mark: &Mark, row: usize) -> Result<(Vec<Request>, bool), String> {
        let (mut seen, mut next_seen) = (Vec::new(), false);
        for request in self.upstream.since(mark)? {
            if let Some(why) = breach(&request) {
                return Err(format!("the upstream got {why}: {request:?}"));
            }
            match request.target.as_str() {
                target if target == format!("/next-{row}") => next_seen = true,
                target if target == format!("/canary-{row}") => {}
                // The edge may first have had to open a connection for a request that it had
                // refused already.
                target
                    if !request.whole
                        && (1..row).any(|earlier| target == format!("/row-{earlier}")) => {}
                _ => seen.push(request),
            }
        }
        if seen.len() > 1 || seen.iter().any(|request| request.target.contains("smuggled")) {
            return Err(format!("the upstream got {seen:?}"));
        }
        Ok((seen, next_seen))
    }

    /// Another client still gets its own answer.
    fn edge_is_sane(&self, row: usize) -> Result<(), String> {
        let name = format!("canary-{row}");
        let mut other = self.edge.connect().patience(PATIENCE);
        let response = other
            .send(self.canary(&name, "Connection: close\r\n"))
            .try_response("GET")
            .map_err(|error| format!("the canary got {error}"))?;
        match response {
            Some(response) if response.status == 200 && response.text() == format!("/{name}") => {
                Ok(())
            }
            other => Err(format!(
                "the canary got {:?}",
                other.map(|response| (response.status, response.text()))
            )),
        }
    }

    /// What is wrong with what came of the bytes; `None` when nothing is.
    fn judge(&self, name: &str, bytes: &[u8], expected: Expected) -> Option<String> {
        let outcome = match self.run(bytes) {
            Ok(outcome) => outcome,
            Err(why) => return Some(format!("{name}: {why}")),
        };
        if outcome.is(expected) {
            None
        } else {
            Some(format!("{name}: {}, expected {expected:?}", outcome.summary()))
        }
    }

    #[track_caller]
    fn judge_all(&self, rows: &[Row]) {
        let wrong: Vec<String> = rows
            .iter()
            .filter_map(|(name, bytes, expected)| self.judge(name, &self.fill(bytes), *expected))
            .collect();
        assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    }

    /// The one request that the upstream gets for the bytes, which must be answered with 200.
    #[track_caller]
    fn forwarded(&self, bytes: &str) -> Request {
        let outcome = self.run(&self.fill(bytes)).unwrap_or_else(|why| panic!("{bytes:?}: {why}"));
        assert_eq!(
            (outcome.statuses().first(), outcome.seen.len()),
            (Some(&200), 1),
            "{bytes:?}: {}",
            outcome.summary()
        );
        outcome.seen.into_iter().next().expect("a request")
    }
}

impl Outcome {
    fn statuses(&self) -> Vec<u16> {
        self.responses.iter().map(|response| response.status).collect()
    }

    fn is(&self, expected: Expected) -> bool {
        let statuses = self.statuses();
        let untouched = self.seen.is_empty() && !self.next_seen;
        let refused = untouched
            && self.closed
            && statuses.len() <= 1
            && statuses.iter().all(|status| *status >= 400);
        // The canary gets its own answer, or the connection is closed. What a row has between the
        // two gets no further than a request without a token.
        let goes_on = self.closed
            && match &self.responses[..] {
                [_, between @ .., next] if self.next_seen => {
                    next.text() == format!("/next-{}", self.row)
                        && between.iter().all(|response| response.status == 401)
                }
                [_, rest @ ..] => {
                    !self.next_seen && rest.iter().all(|response| response.status >= 400)
                }
                [] => false,
            };
        let forwarded = |body: &str| {
            let answered = |request: &Request| {
                self.responses.first().is_some_and(|response| {
                    response.text() == request.target || request.method == "HEAD"
                })
            };
            statuses.first() == Some(&200)
                && goes_on
                && self.seen.first().is_some_and(|request| {
                    request.whole && request.body == body && answered(request)
                })
        };
        let never_whole = self.closed
            && !self.next_seen
            && !statuses.contains(&200)
            && self.seen.iter().all(|request| !request.whole);
        match expected {
            Refused(status) => refused && statuses == [status],
            RefusedSomehow => refused,
            Forwarded(body) => forwarded(body),
            RefusedOrForwarded(body) => refused || forwarded(body),
            Answered(status) => {
                self.seen.is_empty() && statuses.first() == Some(&status) && goes_on
            }
            ForwardedOrNeverWhole(body) => forwarded(body) || never_whole,
            NeverWhole => never_whole,
            BadBody => never_whole && statuses == [400],
        }
    }

    fn summary(&self) -> String {
        format!(
            "{:?}, closed: {}, upstream: {:?}, canary seen: {}",
            self.statuses(),
            self.closed,
            self.seen,
            self.next_seen
        )
    }
}

/// What no upstream may ever get, whoever the client is: what it would take for the edge's own
/// word, and what concerned the connection to the edge.
fn breach(request: &Request) -> Option<String> {
    let spelled: Vec<(String, &str)> = request
        .fields
        .iter()
        .map(|(name, value)| (name.replace(['_', '.'], "-"), value.as_str()))
        .collect();
    let all = |name: &str| -> Vec<&str> {
        spelled.iter().filter(|(field, _)| field == name).map(|(_, value)| *value).collect()
    };
    if all("host").len() != 1 || all("host")[0].is_empty() {
        return Some(format!("hosts {:?}", all("host")));
    }
    if all("content-length").len() + all("transfer-encoding").len() > 1 {
        return Some("a frame in another spelling".to_owned());
    }
    for (name, value) in [
        ("x-auth-method", "jwt"),
        ("x-auth-subject", "alice"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
    ] {
        if all(name) != [value] {
            return Some(format!("{name}: {:?}", all(name)));
        }
    }
    if all("x-forwarded-host") != all("host") {
        return Some(format!("x-forwarded-host: {:?}", all("x-forwarded-host")));
    }
    let upgrade = all("connection").iter().any(|value| value.eq_ignore_ascii_case("upgrade"));
    let own = [
        "x-auth-method",
        "x-auth-subject",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
    ];
    let stray = spelled.iter().map(|(name, _)| name.as_str()).find(|name| {
        let claimed = name.starts_with("x-auth-") || name.starts_with("x-forwarded-");
        let forbidden = [
            "forwarded",
            "x-real-ip",
            "client-cert",
            "client-cert-chain",
            "x-original-url",
            "x-rewrite-url",
            "proxy",
            "http2-settings",
        ];
        let hop = ["keep-alive", "proxy-connection"];
        (claimed && !own.contains(name))
            || forbidden.contains(name)
            || hop.contains(name)
            || (*name == "upgrade" && !upgrade)
            || (*name == "te" && all("te").iter().any(|value| *value != "trailers"))
    });
    if let Some(name) = stray {
        return Some(format!("the field {name}"));
    }
    let misplaced =
        ["content-length", "transfer-encoding", "host", "authorization", "connection", "cookie"];
    let bad = request.trailers.iter().find(|(name, _)| {
        misplaced.contains(&name.as_str())
            || name.starts_with("x-auth-")
            || name.starts_with("x-forwarded-")
    });
    bad.map(|(name, _)| format!("the trailer {name}"))
}

/// Every response until the edge closes or is silent, and whether it closed. The client's side
/// stays open: an end must not be what ends a body.
fn drain(client: &mut Client, method: &str) -> (Vec<Response>, bool) {
    match client.try_response(method) {
        Ok(Some(first)) => {
            let (rest, closed) = client.drain("GET");
            ([first].into_iter().chain(rest).collect(), closed)
        }
        Ok(None) => (Vec::new(), true),
        Err(error) => (
            Vec::new(),
            !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
        ),
    }
}

/// The same for bytes without canaries.
fn exchange(edge: &Edge, bytes: &[u8]) -> (Vec<Response>, bool) {
    let mut client = edge.connect().patience(PATIENCE);
    client.send(bytes);
    drain(&mut client, "GET")
}
