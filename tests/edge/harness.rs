//! The harness against itself: a failure elsewhere should not be the client's or the upstream's.

use crate::support::client::Client;
use crate::support::issuer::JWKS_PATH;
use crate::support::ports::Port;
use crate::support::request::Request;
use crate::support::{Framing, Issuer, Upstream};

#[test]
fn the_client_reads_what_the_upstream_answers_and_the_upstream_records_what_the_client_sent() {
    let upstream = Upstream::start();
    let response = Request::new(upstream.port(), "POST", "/a/b?c")
        .header("X-One", "1")
        .body("hello")
        .chunked()
        .send();
    assert_eq!(
        (response.status, response.text().as_str(), response.complete),
        (200, "/a/b?c", true)
    );
    let request = upstream.only();
    assert_eq!(
        (request.method(), request.target(), request.head.field("x-one")),
        ("POST", "/a/b?c", Some("1"))
    );
    assert_eq!(
        (request.head.framing(), request.body.as_slice(), request.complete),
        (Framing::Chunked, b"hello".as_slice(), true)
    );
}

#[test]
fn a_connection_carries_several_requests() {
    let upstream = Upstream::start();
    let mut client = Client::connect(upstream.port());
    client.send(
        b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nabGET /2 HTTP/1.1\r\n\
          Host: a\r\n\r\n",
    );
    assert_eq!([client.response().text(), client.response().text()], ["/1", "/2"]);
    assert_eq!((upstream.connections(), upstream.count()), (1, 2));
}

#[test]
fn an_upstream_that_resets_is_seen_as_a_body_that_did_not_end() {
    let upstream = Upstream::with(|exchange| {
        exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
        exchange.reset();
    });
    assert!(!Request::new(upstream.port(), "GET", "/").send().complete);
}

#[test]
fn the_issuer_serves_its_keys_and_counts() {
    let mut issuer = Issuer::start();
    let port = issuer
        .url()
        .split(':')
        .nth(2)
        .and_then(|rest| rest.split('/').next()?.parse().ok())
        .unwrap();
    let keys = Request::new(port, "GET", JWKS_PATH).send().json();
    assert_eq!((keys["keys"][0]["kid"].as_str(), issuer.fetches()), (Some("k1"), 1));
    issuer.stop();
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    issuer.restart();
    assert_eq!(Request::new(port, "GET", JWKS_PATH).send().status, 200);
}

#[test]
fn ports_are_claimed_once() {
    let ports: Vec<Port> = (0..20).map(|_| Port::claim()).collect();
    let mut numbers: Vec<u16> = ports.iter().map(Port::number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 20);
}
