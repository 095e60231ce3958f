//! Every kind of exchange over every pair of protocols, judged by what both ends saw of it, byte
//! for byte; and by what the next requests get, on the same connections and on others.
//!
//! `cases.rs` is the table. A cell that cannot be has its reason there.

mod cases;
mod clients;
mod judge;
mod message;
mod upstreams;

use std::sync::Arc;
use std::time::{Duration, Instant};

use cases::{Case, Client, Expected, Kind, Pair};
use clients::Connection;
use message::Version;
use upstreams::{Behind, Records, SLOW};

use crate::support::poll::becomes_true;
use crate::support::{Edge, Settings};

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn every_kind_is_there_for_every_pair() {
    let cases = cases::all();
    for kind in Kind::ALL {
        for pair in Pair::ALL {
            let mut cells = cases.iter().filter(|case| case.kind == kind);
            assert!(cells.next().is_some(), "{kind:?}");
            let runs = cases.iter().any(|case| case.kind == kind && (case.expected)(pair).is_ok());
            let named = cases
                .iter()
                .filter(|case| case.kind == kind)
                .all(|case| (case.expected)(pair).is_err_and(|reason| !reason.is_empty()));
            assert!(runs || named, "{kind:?}, {pair:?}");
        }
    }
    let mut names: Vec<String> =
        cases.iter().map(|case| format!("{:?} {}", case.kind, case.name)).collect();
    names.sort();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "every row has a name of its own");
}

#[test]
fn http1_to_http1() {
    run(Pair { client: Version::Http1, upstream: Version::Http1 });
}

#[test]
fn http2_to_http1() {
    run(Pair { client: Version::Http2, upstream: Version::Http1 });
}

#[test]
fn http1_to_http2() {
    run(Pair { client: Version::Http1, upstream: Version::Http2 });
}

#[test]
fn http2_to_http2() {
    run(Pair { client: Version::Http2, upstream: Version::Http2 });
}

/// All cells of a pair, one after the other. `CELL` in the environment picks those whose name holds
/// it.
#[track_caller]
fn run(pair: Pair) {
    let cases = Arc::new(cases::all());
    let picked = std::env::var("CELL").unwrap_or_default();
    let records = Records::default();
    let upstream = Behind::start(pair.upstream, &cases, &records);
    let version = if pair.upstream == Version::Http2 { "2" } else { "1.1" };
    let edge = Edge::configured(Settings::open_to(upstream.port()))
        .backend(&format!(
            "http_version = \"{version}\"\nmax_retries = 0\ntimeout_secs = 10\n\
             read_timeout_secs = 10"
        ))
        .endpoint("max_body_size = 2_000_000")
        .quiet()
        .start();
    let bench = Bench { edge, records, pair };
    let mut wrong = Vec::new();
    let mut count = 0;
    for (number, case) in cases.iter().enumerate() {
        let name = format!("{:?}: {}", case.kind, case.name);
        let Ok(expected) = (case.expected)(pair) else { continue };
        if !name.contains(&picked) {
            continue;
        }
        count += 1;
        let started = Instant::now();
        let problems = bench.run_cell(number, case, expected);
        wrong.extend(problems.into_iter().map(|problem| format!("{name}: {problem}")));
        println!("{name}: {:?}", started.elapsed());
    }
    assert!(count > 0);
    assert!(wrong.is_empty(), "{pair:?}: of {count} cells:\n{}", wrong.join("\n"));
}

struct Bench {
    edge: Edge,
    records: Records,
    pair: Pair,
}

impl Bench {
    /// What is wrong with a cell.
    fn run_cell(&self, number: usize, case: &Case, expected: Expected) -> Vec<String> {
        let target = format!("/cell/{number}");
        let arrived = || {
            assert!(
                becomes_true(PATIENCE, || !self.records.of(&target).is_empty()),
                "{:?}: {}: no request at the upstream",
                case.kind,
                case.name
            );
        };
        let port = self.edge.port();
        let path = format!("/api{target}");
        let (client, connection) = clients::run(self.pair.client, port, case, &path, &arrived);
        // The upstream may see the end a moment later than the client.
        let settled = || {
            let seen = self.records.of(&target);
            judge::upstream(case, expected, self.pair, &target, &seen).is_empty()
        };
        becomes_true(Duration::from_secs(3), settled);
        let seen = self.records.of(&target);
        let mut problems = judge::upstream(case, expected, self.pair, &target, &seen);
        problems.extend(judge::client(case, expected, self.pair, &client));
        if case.forbidden_body && self.pair.upstream == Version::Http1 {
            // Whoever used the connection again at once would be found by luck only.
            std::thread::sleep(Duration::from_millis(350));
        }
        // After an error of the edge's own it says itself whether it goes on.
        let says_close = client.field("connection").is_some_and(|value| value == b"close");
        let client_stays = match expected.client {
            Client::Own(_) => !says_close,
            _ => expected.client_stays,
        };
        let expected = Expected { client_stays, ..expected };
        problems.extend(self.check_next(number, expected, connection));
        if let (Some(reused), Some(last)) = (expected.reused, seen.last()) {
            problems.extend(self.check_reuse(number, reused, last.connection));
        }
        problems
    }

    /// What is wrong with the next requests, on the same connection and on another.
    fn check_next(
        &self,
        number: usize,
        expected: Expected,
        connection: Option<Connection>,
    ) -> Vec<String> {
        let mut problems = Vec::new();
        let same = format!("/probe/{number}/same");
        if let Some(mut connection) = connection {
            let answer = match expected.client_stays {
                true => clients::probe(&mut connection, &format!("/api{same}")),
                false => None,
            };
            if expected.client_stays && answer.as_deref() != Some(&same) {
                problems.push(format!("the next request on the connection got {answer:?}"));
            }
            let left = expected.client == Client::Left;
            if !expected.client_stays && !left && !clients::is_closed(&mut connection) {
                problems.push("the client's connection goes on".to_owned());
            }
        }
        let other = format!("/probe/{number}/other");
        let answer = clients::other(self.pair.client, self.edge.port(), &format!("/api{other}"));
        if answer.as_deref() != Some(&other) {
            problems.push(format!("another client got {answer:?}"));
        }
        problems
    }

    /// What is wrong with the connections that the next requests went out on.
    fn check_reuse(&self, number: usize, expected: bool, connection: usize) -> Option<String> {
        let probes = |which: &str| {
            let seen = self.records.of(&format!("/probe/{number}/{which}"));
            seen.into_iter().map(|seen| seen.connection).collect::<Vec<_>>()
        };
        let mut next = [probes("same"), probes("other")].concat();
        // One that is expected back may be on trial for two seconds.
        let mut at_once = 16;
        let deadline = Instant::now() + if expected { PATIENCE / 2 } else { Duration::ZERO };
        while !next.contains(&connection) && self.pair.upstream == Version::Http1 {
            // As many at once as there may be idle connections, and more: it may be the last one.
            let slow = format!("/api/probe/{number}{SLOW}");
            std::thread::scope(|scope| {
                for _ in 0..at_once {
                    scope.spawn(|| clients::other(self.pair.client, self.edge.port(), &slow));
                }
            });
            at_once += 8;
            next.extend(probes("slow"));
            if Instant::now() >= deadline {
                break;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        (next.contains(&connection) != expected).then(|| {
            format!("connection {connection}, then {next:?}; to be used again: {expected}")
        })
    }
}
