//! HTTP/2 from the client, with prior knowledge; HTTP/1.1 to the upstream.

use crate::support::{Edge, Framing, Upstream};

#[test]
fn a_request_and_its_answer_keep_everything() {
    let upstream = Upstream::with(|exchange| {
        exchange.read_body();
        exchange.answer(201, &[("X-Back", "1"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")], b"made");
    });
    let edge = Edge::open(&upstream).start();
    let body: Vec<u8> = (0..300_000u32).map(|index| (index % 241) as u8).collect();
    let response = edge.post("/api/x?y=%2F", body.clone()).host("h.example").header("X-There", "1").http2().send();
    assert_eq!((response.status, response.text().as_str(), response.field("x-back")), (201, "made", Some("1")));
    assert_eq!(response.fields("set-cookie"), ["a=1", "b=2"]);
    let seen = upstream.only();
    assert_eq!((seen.method(), seen.target(), seen.head.field("host"), seen.head.field("x-there")), ("POST", "/x?y=%2F", Some("h.example"), Some("1")));
    assert!(seen.body == body && seen.complete);
}

#[test]
fn a_body_ends_once() {
    // The last frame of this client's bodies is empty: one `0` chunk must end it, not two. A second one would be the beginning of the next request.
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).start();
    for number in 0..10 {
        let target = format!("/api/{number}");
        for request in [edge.post(&target, "body"), edge.get(&target).body("body"), edge.post(&target, "")] {
            assert_eq!(request.http2().send().text(), format!("/{number}"));
        }
    }
    let seen = upstream.requests();
    assert_eq!(seen.len(), 30, "{:?}", seen.iter().map(|request| &request.head.first_line).collect::<Vec<_>>());
    assert!(seen.iter().all(|request| request.complete && matches!(request.head.framing(), Framing::Chunked | Framing::Length(_) | Framing::None)));
}

#[test]
fn a_length_that_is_told_is_kept() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).start();
    assert_eq!(edge.post("/api/x", "hello").header("Content-Length", "5").http2().send().status, 200);
    let seen = upstream.only();
    assert_eq!((seen.head.framing(), seen.body.as_slice()), (Framing::Length(5), b"hello".as_slice()));
}
