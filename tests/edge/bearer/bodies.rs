//! A denied request that has a body: the connection stays in a defined state, and the body is never
//! taken for a request.

use std::time::Duration;

use crate::support::{Client, Edge, Issuer, Upstream};

/// After a denial the connection either ends or answers the next request properly.
#[track_caller]
fn assert_next_is_answered_or_closed(row: &str, client: &mut Client, next: &[u8]) {
    client.send(next);
    if let Ok(Some(response)) = client.try_response("GET") {
        assert_eq!(
            (response.status, response.text().as_str()),
            (200, "/next"),
            "{row}: the next request"
        );
    }
}

#[test]
fn the_next_request_on_the_connection_is_answered_or_the_connection_ends() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let next = edge.get("/api/next").bearer(&issuer.token().sign()).bytes();
    let hidden = edge.get("/api/smuggled").bearer(&issuer.token().sign()).bytes();
    let rows = [
        ("a small body", edge.post("/api/x", "x".repeat(100)).bytes()),
        ("a small chunked body", edge.post("/api/x", "x".repeat(5000)).chunked().bytes()),
        ("a body that looks like a request", edge.post("/api/x", hidden.clone()).bytes()),
        (
            "a chunked body that looks like a request",
            edge.post("/api/x", hidden.clone()).chunked().bytes(),
        ),
        ("a large body", edge.post("/api/x", "x".repeat(5_000_000)).bytes()),
        ("a large chunked body", edge.post("/api/x", "x".repeat(2_000_000)).chunked().bytes()),
        ("a bad token and a body", edge.post("/api/x", hidden.clone()).bearer("abc").bytes()),
        ("a place that does not exist", edge.post("/nowhere", hidden).bytes()),
    ];
    for (row, denied) in rows {
        let mut client = edge.connect().patience(Duration::from_secs(5));
        client.send(denied);
        // A connection that the edge resets while the client still writes may lose the answer; what
        // counts is that nothing passes.
        if let Ok(Some(response)) = client.try_response("POST") {
            assert!(matches!(response.status, 401 | 404), "{row}: {}", response.status);
            assert_next_is_answered_or_closed(row, &mut client, &next);
        }
        for request in upstream.requests() {
            assert_eq!(
                request.target(),
                "/next",
                "{row}: only the next request may reach the upstream"
            );
        }
        upstream.clear();
    }
}

#[test]
fn the_denial_does_not_wait_for_the_body() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    for framing in [
        "Content-Length: 1000000",
        "Transfer-Encoding: chunked",
        "Content-Length: 1000\r\nExpect: 100-continue",
    ] {
        let mut client = edge.connect().patience(Duration::from_secs(5));
        client.send(format!("POST /api/x HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"));
        let response = client.response();
        assert_eq!(
            (response.status, response.interim.as_slice()),
            (401, [].as_slice()),
            "{framing}"
        );
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn who_was_let_in_once_on_a_connection_shows_a_token_again() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let mut client = edge.connect();
    let with = edge.get("/api/x").bearer(&issuer.token().sign()).bytes();
    let without = edge.get("/api/x").bytes();
    for (bytes, status) in [(&with, 200), (&without, 401), (&with, 200), (&without, 401)] {
        assert_eq!(client.send(bytes).response().status, status);
    }
    assert_eq!(upstream.count(), 2);
}
