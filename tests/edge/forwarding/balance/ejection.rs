//! What requests themselves tell: an upstream that fails is ejected, probed after a while, and
//! comes back.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::thread;

use super::{PATIENCE, await_state, in_front_of, status};
use crate::support::upstream::Received;
use crate::support::{Edge, Upstream, eventually};

const CLIENTS: usize = 4;

/// Clients that send one request after the other, every third a POST that bears its number.
struct Traffic {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    clients: Vec<thread::JoinHandle<Vec<(String, u16)>>>,
}

impl Traffic {
    fn at(edge: &Edge) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let client = |_| {
            let (stop, sent) = (stop.clone(), sent.clone());
            let (get, post) = (edge.get("/"), edge.request("POST", "/").body("once"));
            thread::spawn(move || {
                let mut failed = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let number = sent.fetch_add(1, Ordering::SeqCst);
                    let request = if number % 3 == 0 { &post } else { &get };
                    let method = if number % 3 == 0 { "POST" } else { "GET" };
                    let status =
                        request.clone().header("X-Number", number.to_string()).send().status;
                    if status != 200 {
                        failed.push((method.to_owned(), status));
                    }
                }
                failed
            })
        };
        let clients = (0..CLIENTS).map(client).collect();
        Self { stop, sent, clients }
    }

    fn await_more(&self, requests: usize) {
        let from = self.sent.load(Ordering::SeqCst);
        eventually("more requests", PATIENCE, || {
            (self.sent.load(Ordering::SeqCst) >= from + requests).then_some(())
        });
    }

    /// The requests that were not answered with 200.
    fn end(self) -> Vec<(String, u16)> {
        self.stop.store(true, Ordering::SeqCst);
        self.clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    }
}

#[test]
fn one_of_three_is_killed_under_traffic_and_comes_back() {
    let (one, two, three) = (Upstream::start(), Upstream::start(), Upstream::start());
    let edge = in_front_of(&[one.port(), two.port(), three.port()], "eject_secs = 1").start();
    let traffic = Traffic::at(&edge);
    traffic.await_more(60);

    let (place, received) = two.stop();
    let told = await_state(&edge, place.number(), "ejected");
    assert_eq!(told["last_error"], "connection refused");
    assert!(told["failures"].as_u64() >= Some(3), "{told}");
    traffic.await_more(60);
    for port in [one.port(), three.port()] {
        assert_eq!(status(&edge, port)["state"], "healthy");
    }

    let port = place.number();
    let again = Upstream::at(place, |exchange| exchange.echo_target());
    let told = await_state(&edge, port, "healthy");
    assert!(told["since"].as_u64() > Some(1_700_000_000), "{told}");
    let before = again.count();
    traffic.await_more(60);
    assert!(again.count() > before, "it gets requests again");

    let failed = traffic.end();
    assert!(
        failed.iter().all(|(method, _)| method == "POST"),
        "idempotent requests were tried again: {failed:?}"
    );
    assert!(failed.len() <= CLIENTS, "no more than were in flight: {failed:?}");
    let log = edge.log();
    assert_eq!(
        log.matches(&format!("upstream http://127.0.0.1:{port}: ejected, for 1 s")).count(),
        1,
        "logged once"
    );
    assert_eq!(
        log.matches(&format!(
            "upstream http://127.0.0.1:{port}: healthy again, a request to it succeeded"
        ))
        .count(),
        1,
        "logged once"
    );

    let mut times: HashMap<String, usize> = HashMap::new();
    let all: Vec<Received> = received
        .into_iter()
        .chain([&one, &three, &again].into_iter().flat_map(Upstream::requests))
        .collect();
    for request in all.iter().filter(|request| request.method() == "POST") {
        *times.entry(request.head.field("x-number").unwrap().to_owned()).or_default() += 1;
    }
    assert!(
        times.len() > 30 && times.values().all(|&times| times == 1),
        "no POST arrived twice: {times:?}"
    );
}

#[test]
fn answers_of_a_broken_gateway_count_as_failures() {
    let answer = Arc::new(AtomicU16::new(503));
    let broken = {
        let answer = answer.clone();
        Upstream::with(move |exchange| {
            exchange.read_body();
            exchange.answer(answer.load(Ordering::SeqCst), &[], b"");
        })
    };
    let good = Upstream::start();
    let edge =
        in_front_of(&[broken.port(), good.port()], "eject_after = 2\neject_secs = 1").start();
    let statuses: Vec<u16> = (0..8).map(|_| edge.get("/x").send().status).collect();
    assert_eq!(
        statuses.iter().filter(|status| **status == 503).count(),
        2,
        "an answer is an answer, until it is ejected: {statuses:?}"
    );
    let told = status(&edge, broken.port());
    assert_eq!(
        (&told["state"], &told["last_error"]),
        (&"ejected".into(), &"it answered 503".into())
    );
    // An application's own error says nothing about the upstream.
    answer.store(500, Ordering::SeqCst);
    eventually("its return", PATIENCE, || {
        edge.get("/x").send();
        (status(&edge, broken.port())["state"] == "healthy").then_some(())
    });
}

#[test]
fn one_that_does_not_answer_in_time_is_ejected() {
    let slow = Upstream::with(|exchange| {
        exchange.pause(std::time::Duration::from_secs(4));
        exchange.echo_target();
    });
    let good = Upstream::start();
    let edge = in_front_of(
        &[slow.port(), good.port()],
        "timeout_secs = 1\neject_after = 1\neject_secs = 60",
    )
    .start();
    let statuses: Vec<u16> = (0..6).map(|_| edge.post("/x", "body").send().status).collect();
    assert_eq!(statuses, [504, 200, 200, 200, 200, 200]);
    let told = status(&edge, slow.port());
    assert_eq!(
        (&told["state"], &told["last_error"], &told["requests"]),
        (&"ejected".into(), &"no response in time".into(), &1.into())
    );
}

#[test]
fn a_client_that_goes_away_is_no_failure() {
    let slow = Upstream::with(|exchange| {
        exchange.pause(std::time::Duration::from_millis(300));
        exchange.echo_target();
    });
    let good = Upstream::start();
    let edge = in_front_of(&[slow.port(), good.port()], "eject_after = 1").start();
    for _ in 0..4 {
        let mut client = edge.connect();
        client.send(edge.get("/x").bytes());
        eventually("the request", PATIENCE, || {
            (status(&edge, slow.port())["in_flight"] != 0
                || status(&edge, good.port())["requests"] != 0)
                .then_some(())
        });
    }
    eventually("nothing in flight", PATIENCE, || {
        (status(&edge, slow.port())["in_flight"] == 0).then_some(())
    });
    let told = status(&edge, slow.port());
    assert_eq!((&told["state"], &told["failures"]), (&"healthy".into(), &0.into()), "{told}");
}

#[test]
fn ejection_can_be_switched_off_and_leaves_the_last_one_alone() {
    let broken = || {
        Upstream::with(|exchange| {
            exchange.read_body();
            exchange.answer(502, &[], b"");
        })
    };
    let (one, two) = (broken(), Upstream::start());
    let edge = in_front_of(&[one.port(), two.port()], "eject_after = 0").start();
    for _ in 0..10 {
        edge.get("/x").send();
    }
    assert_eq!((one.count(), two.count()), (5, 5));
    let (one, two) = (broken(), broken());
    let edge = in_front_of(&[one.port(), two.port()], "eject_secs = 60").start();
    for _ in 0..20 {
        assert_eq!(edge.get("/x").send().status, 502);
    }
    let mut states =
        [status(&edge, one.port())["state"].clone(), status(&edge, two.port())["state"].clone()];
    states.sort_by_key(ToString::to_string);
    assert_eq!(states, ["ejected", "unchecked"]);
}

#[test]
fn several_backends_of_one_upstream_each_are_no_different() {
    let (good, dead) = (Upstream::start(), crate::support::ports::Port::claim());
    let backend = |name: &str, port: u16| {
        format!("[backends.{name}]\nservice = \"http\"\nbase_url = \"http://127.0.0.1:{port}\"\n")
    };
    let tables = "[pipelines.p]\nnetworks = [\"public\"]\nendpoints = [\"e\"]\nmiddleware = []\n\
                  backends = [\"a\", \"b\"]\n[endpoints.e]\nservice = \"http\"\n";
    let settings = crate::support::Settings::bare()
        .and(tables)
        .and(&backend("a", dead.number()))
        .and(&backend("b", good.port()));
    let edge = Edge::configured(settings).start();
    for _ in 0..8 {
        assert_eq!(edge.post("/x", "body").send().status, 200);
    }
    let told = status(&edge, dead.number());
    assert_eq!(
        (&told["state"], &told["failures"]),
        (&"ejected".into(), &3.into()),
        "then it was ejected"
    );
}
