//! Slow upstreams: which of them are too slow, and which are only streams.

use std::time::{Duration, Instant};

use crate::support::poll::becomes_true;
use crate::support::{Edge, Upstream};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_head_that_takes_too_long_is_504() {
    let upstream = Upstream::with(|exchange| {
        exchange.read_body();
        exchange.pause(SECOND * 6);
        exchange.answer(200, &[], b"too late");
    });
    let edge = Edge::open(&upstream).backend("timeout_secs = 1").start();
    for (row, request) in [
        ("GET", edge.get("/api/x")),
        ("POST", edge.post("/api/x", "body")),
        ("HTTP/2", edge.get("/api/x").http2()),
    ] {
        upstream.clear();
        let started = Instant::now();
        let response = request.send();
        let waited = started.elapsed();
        assert_eq!(response.status, 504, "{row}");
        assert_eq!(response.json()["error"], "Gateway Timeout", "{row}");
        assert!(waited > SECOND * 9 / 10 && waited < SECOND * 5, "{row}: {waited:?}");
        assert!(row != "POST" || upstream.count() == 1, "a POST that timed out is not sent again");
    }
}

#[test]
fn the_time_for_the_head_begins_when_the_request_has_ended() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).backend("timeout_secs = 1").start();
    let mut client = edge.connect();
    client.send("POST /api/x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n");
    for byte in ["a", "b", "c"] {
        std::thread::sleep(SECOND * 8 / 10);
        client.send(byte);
    }
    assert_eq!(client.response().status, 200);
    assert_eq!(upstream.only().body, b"abc");
}

#[test]
fn an_upload_may_take_as_long_as_it_makes_headway() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).backend("timeout_secs = 1\nread_timeout_secs = 1").start();
    let mut client = edge.connect();
    client.send("POST /api/x HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\n");
    for byte in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        std::thread::sleep(SECOND / 2);
        client.send(byte);
    }
    assert_eq!(client.response().status, 200);
    assert_eq!(upstream.only().body, b"abcdefgh");
}

#[test]
fn a_body_that_does_not_go_on_is_408_and_not_the_upstreams_failure() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).backend("read_timeout_secs = 1").start();
    let mut client = edge.connect();
    client.send("POST /api/x HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\nabc");
    assert_eq!(client.response().status, 408);
    assert!(becomes_true(SECOND * 10, || edge.log().contains("status=408")), "{}", edge.log());
    assert!(!edge.log().contains("no response in time"), "{}", edge.log());
}

#[test]
fn a_stream_may_pause_for_longer_than_a_head_may_take() {
    let upstream = Upstream::with(|exchange| {
        exchange.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
              Transfer-Encoding: chunked\r\n\r\n",
        );
        for number in 0..3 {
            if number > 0 {
                exchange.pause(SECOND * 2);
            }
            exchange.chunk(format!("data: {number}\n\n").as_bytes());
        }
        exchange.write(b"0\r\n\r\n");
    });
    let edge = Edge::open(&upstream).backend("timeout_secs = 1\nread_timeout_secs = 5").start();
    let mut client = edge.connect();
    client.send("GET /api/events HTTP/1.1\r\nHost: h\r\n\r\n");
    let head = client.head();
    assert_eq!(head.status, 200);
    let started = Instant::now();
    let mut arrivals: Vec<(String, Duration)> = Vec::new();
    let complete = client.read_body(&head, "GET", &mut |piece| {
        arrivals.push((String::from_utf8_lossy(piece).into_owned(), started.elapsed()))
    });
    assert!(complete);
    let events: Vec<&str> = arrivals.iter().map(|(event, _)| event.as_str()).collect();
    assert_eq!(events, ["data: 0\n\n", "data: 1\n\n", "data: 2\n\n"], "event by event");
    for (number, (_, at)) in (0u32..).zip(&arrivals) {
        let sent = SECOND * 2 * number;
        assert!(
            *at + SECOND / 2 > sent && *at < sent + SECOND * 3 / 2,
            "event {number} came after {at:?}"
        );
    }
}

#[test]
fn a_stream_that_is_silent_for_too_long_is_cut() {
    let upstream = Upstream::with(|exchange| {
        exchange.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        exchange.chunk(b"first");
        exchange.pause(SECOND * 6);
        exchange.chunk(b"second");
        exchange.write(b"0\r\n\r\n");
    });
    let edge = Edge::open(&upstream).backend("read_timeout_secs = 1").start();
    for http2 in [false, true] {
        let started = Instant::now();
        let request = edge.get("/api/x");
        let response = if http2 { request.http2() } else { request }.send();
        assert_eq!(
            (response.status, response.text().as_str(), response.complete),
            (200, "first", false),
            "HTTP/2: {http2}"
        );
        assert!(started.elapsed() < SECOND * 5, "{:?}", started.elapsed());
    }
}

#[test]
fn a_total_ends_even_a_busy_stream_and_there_is_none_by_default() {
    let upstream = Upstream::with(|exchange| {
        exchange.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for _ in 0..16 {
            exchange.chunk(b"tick");
            exchange.pause(SECOND / 4);
        }
        exchange.write(b"0\r\n\r\n");
    });
    let endless = Edge::open(&upstream).backend("timeout_secs = 1\nread_timeout_secs = 1").start();
    let cut = Edge::open(&upstream).backend("total_timeout_secs = 2").start();
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(endless.get("/api/x").send().complete, "without a total"));
        let started = Instant::now();
        assert!(!cut.get("/api/x").send().complete, "with a total of 2 s");
        assert!(
            started.elapsed() > SECOND * 3 / 2 && started.elapsed() < SECOND * 7 / 2,
            "{:?}",
            started.elapsed()
        );
    });
}
