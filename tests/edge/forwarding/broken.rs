//! Upstreams whose answers have no end of their own, or break off. Those that answer what is no
//! HTTP: [`crate::hostile`].

use std::time::Duration;

use crate::support::poll::becomes_true;
use crate::support::{Edge, Upstream};

#[test]
fn a_body_that_is_reset_never_looks_whole() {
    let rows = [
        ("a length", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it"),
        ("chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhalf of it\r\n"),
    ];
    for (row, answer) in rows {
        let upstream = Upstream::with(move |exchange| {
            exchange.write(answer.as_bytes());
            // Let the edge read first: a reset throws away what it has not read.
            exchange.pause(Duration::from_millis(200));
            exchange.reset();
            exchange.close();
        });
        let edge = Edge::open(&upstream).start();
        for http2 in [false, true] {
            let request = edge.get("/api/x");
            let response = if http2 { request.http2() } else { request }.send();
            assert!(
                response.status == 502 || !response.complete,
                "{row} (HTTP/2: {http2}): {} {:?}, complete: {}",
                response.status,
                response.text(),
                response.complete
            );
        }
    }
}

#[test]
fn answers_without_a_body_have_none() {
    for (status, answer) in [
        (204, "HTTP/1.1 204 No Content\r\n\r\n"),
        (304, "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 10\r\n\r\n"),
    ] {
        let upstream = Upstream::answering(answer);
        let edge = Edge::open(&upstream).start();
        for http2 in [false, true] {
            let request = edge.get("/api/x");
            let response = if http2 { request.http2() } else { request }.send();
            assert_eq!((response.status, response.body.len()), (status, 0));
        }
    }
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).start();
    let head = edge.request("HEAD", "/api/four").send();
    assert_eq!(
        (head.status, head.field("content-length"), head.body.len()),
        (200, Some("5"), 0),
        "HEAD tells the length of what GET would give"
    );
}

#[test]
fn a_body_that_ends_with_the_connection_arrives_whole() {
    let upstream =
        Upstream::answering("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end");
    let edge = Edge::open(&upstream).start();
    for http2 in [false, true] {
        let request = edge.get("/api/x");
        let response = if http2 { request.http2() } else { request }.send();
        assert_eq!(
            (response.status, response.text().as_str(), response.complete),
            (200, "until the end", true)
        );
    }
    let upstream = Upstream::answering("HTTP/1.0 200 OK\r\n\r\nfrom an old server");
    let edge = Edge::open(&upstream).start();
    assert_eq!(edge.get("/api/x").send().text(), "from an old server");
}

#[test]
fn an_upstream_that_asks_for_the_body_and_leaves_is_502() {
    let upstream = Upstream::with(|exchange| {
        exchange.write(b"HTTP/1.1 100 Continue\r\n\r\n");
        exchange.read_body();
        exchange.close();
    });
    let edge = Edge::open(&upstream).start();
    let mut client = edge.connect();
    client.send(
        "POST /api/x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody",
    );
    let response = client.response();
    assert_eq!((response.interim.as_slice(), response.status), ([100].as_slice(), 502));
}

#[test]
fn an_upstream_of_another_protocol_is_named_in_the_log() {
    for (answer, told) in [
        (
            &b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64"[..],
            "it answered with HTTP/2, but requests go out in HTTP/1.1",
        ),
        (b"\x15\x03\x01\0\x02\x02\x28", "it answered with TLS: base_url needs https"),
    ] {
        let upstream = Upstream::with(move |exchange| {
            exchange.write(answer);
            exchange.close();
        });
        let edge = Edge::open(&upstream).start();
        assert_eq!(edge.get("/api/x").send().status, 502);
        let logged = || edge.log().contains(told);
        assert!(becomes_true(Duration::from_secs(20), logged), "{told}: {}", edge.log());
    }
}
