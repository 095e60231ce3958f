//! Several backends, dead ones, and what is tried again.

use crate::support::ports::Port;
use crate::support::{Edge, Settings, Upstream, eventually};

use std::time::Duration;

/// `/` in front of these ports, in this order.
fn edge_to(ports: &[u16], backend: &str) -> Edge {
    let names: Vec<String> = (0..ports.len()).map(|number| format!("b{number}")).collect();
    let pipeline = format!(
        "[pipelines.p]\nnetworks = [\"public\"]\nendpoints = [\"e\"]\nmiddleware = []\n\
         backends = {names:?}\n[endpoints.e]\nservice = \"http\"\n"
    );
    let backends = names.iter().zip(ports).map(|(name, port)| {
        format!(
            "[backends.{name}]\nservice = \"http\"\n[backends.{name}.options]\nbase_url = \
             \"http://127.0.0.1:{port}\"\n{backend}\n"
        )
    });
    Edge::configured(
        backends.fold(Settings::bare().and(&pipeline), |settings, backend| settings.and(&backend)),
    )
    .start()
}

/// Reads the request and hangs up instead of answering.
fn that_hangs_up() -> Upstream {
    Upstream::with(|exchange| {
        exchange.read_body();
        exchange.close();
    })
}

#[test]
fn backends_share_the_load() {
    let (one, two, three) = (Upstream::start(), Upstream::start(), Upstream::start());
    let edge = edge_to(&[one.port(), two.port(), three.port()], "");
    for _ in 0..30 {
        assert_eq!(edge.get("/x").send().status, 200);
    }
    assert_eq!([one.count(), two.count(), three.count()], [10, 10, 10], "round robin");
}

#[test]
fn of_a_dead_and_a_living_backend_the_living_one_answers() {
    let (dead, living) = (Port::claim(), Upstream::start());
    let edge = edge_to(&[dead.number(), living.port()], "");
    for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"] {
        for number in 0..6 {
            assert_eq!(edge.request(method, "/x").send().status, 200, "{method} {number}");
        }
    }
    assert_eq!(living.count(), 30);
}

#[test]
fn a_request_that_is_not_idempotent_is_never_sent_twice() {
    let (broken, other) = (that_hangs_up(), Upstream::start());
    let edge = edge_to(&[broken.port(), other.port()], "max_retries = 3");
    for method in ["POST", "PATCH", "BREW"] {
        for number in 0..4 {
            let before = broken.count() + other.count();
            let status = edge.request(method, "/x").body("once").send().status;
            assert!(matches!(status, 200 | 502), "{method} {number}: {status}");
            assert_eq!(
                broken.count() + other.count(),
                before + 1,
                "{method} {number}: sent once, answered {status}"
            );
        }
    }
}

#[test]
fn an_idempotent_request_is_tried_on_the_next_backend() {
    let (broken, good) = (that_hangs_up(), Upstream::start());
    let edge = edge_to(&[broken.port(), good.port()], "");
    for number in 0..6 {
        assert_eq!(edge.get("/x").send().status, 200, "request {number}");
    }
    assert_eq!(good.count(), 6);
    assert!(broken.count() > 0, "the broken one was asked too");
}

#[test]
fn without_retries_nothing_is_tried_again() {
    let (broken, good) = (that_hangs_up(), Upstream::start());
    let edge = edge_to(&[broken.port(), good.port()], "max_retries = 0");
    let statuses: Vec<u16> = (0..4).map(|_| edge.get("/x").send().status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 502).count(), 2, "{statuses:?}");
    assert_eq!(broken.count() + good.count(), 4);
}

#[test]
fn a_connection_that_went_stale_is_replaced_without_sending_a_post_twice() {
    // Answers the first request of a connection, and hangs up on the second one without a word.
    let upstream = Upstream::with(|exchange| {
        exchange.read_body();
        if exchange.target() == "/second" {
            exchange.close();
        } else {
            exchange.answer(200, &[], b"ok");
        }
    });
    let edge = edge_to(&[upstream.port()], "max_retries = 3");
    assert_eq!(edge.get("/first").send().status, 200);
    let status = edge.post("/second", "once").send().status;
    assert_eq!(status, 502);
    assert_eq!(
        upstream.requests().iter().filter(|request| request.target() == "/second").count(),
        1
    );
}

#[test]
fn an_idle_connection_that_the_upstream_closed_costs_no_request() {
    let upstream = Upstream::start();
    let edge = edge_to(&[upstream.port()], "max_retries = 0");
    for number in 0..5 {
        assert_eq!(edge.post("/x", "body").send().status, 200, "request {number}");
        upstream.close_connections();
        // The edge may need a moment to notice; a request that meets the closing is not what this
        // is about.
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(upstream.count(), 5);
}

#[test]
fn connections_to_the_upstream_are_used_again() {
    let upstream = Upstream::start();
    let edge = edge_to(&[upstream.port()], "");
    for _ in 0..20 {
        assert_eq!(edge.get("/x").send().status, 200);
    }
    // A connection is kept only once the client has its answer, so the next request may be a moment
    // too early.
    assert!(upstream.connections() <= 5, "{} connections for 20 requests", upstream.connections());
}

#[test]
fn an_idle_connection_that_the_upstream_ended_is_closed() {
    let (closed, seen) = std::sync::mpsc::channel();
    let upstream = Upstream::with(move |exchange| {
        exchange.answer(200, &[], b"the last one");
        exchange.half_close();
        closed.send(exchange.read_raw().is_ok_and(|bytes| bytes.is_empty())).unwrap();
    });
    let edge = edge_to(&[upstream.port()], "");
    assert_eq!(edge.get("/x").send().status, 200);
    assert_eq!(seen.recv_timeout(Duration::from_secs(30)), Ok(true));
}

#[test]
fn nobody_there_is_502_in_json() {
    let (one, two) = (Port::claim(), Port::claim());
    for ports in [vec![one.number()], vec![one.number(), two.number()]] {
        let edge = edge_to(&ports, "");
        for (method, http2) in [("GET", false), ("POST", false), ("GET", true)] {
            let request = edge.request(method, "/x").body("body");
            let response = if http2 { request.http2() } else { request }.send();
            assert_eq!(response.status, 502, "{method}");
            assert_eq!(response.json()["error"], "Bad Gateway", "{method}");
            assert_eq!(
                response.field("content-length"),
                Some(response.body.len().to_string().as_str())
            );
        }
    }
}

#[test]
fn an_upstream_named_by_its_name_is_found() {
    let upstream = Upstream::start();
    let edge = Edge::configured(Settings::open_to(upstream.port())).start();
    assert_eq!(edge.get("/api/x").send().status, 200);
    let named = crate::support::settings::Route::to_url(
        "named",
        &format!("http://localhost:{}", upstream.port()),
    )
    .prefix("/named");
    let edge = Edge::configured(Settings::bare().and(&named.text())).start();
    // Names are resolved in the background: right after a start the answer may not be there.
    eventually("an answer of localhost", Duration::from_secs(10), || {
        (edge.get("/named/x").send().status == 200).then_some(())
    });
    let unknown =
        crate::support::settings::Route::to_url("unknown", "http://does-not-exist.invalid:80")
            .prefix("/unknown");
    let edge = Edge::configured(Settings::bare().and(&unknown.text())).start();
    let status = edge.get("/unknown/x").send().status;
    assert!(matches!(status, 502 | 503), "{status}");
}
