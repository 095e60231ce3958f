//! HTTP/2 from the client, with prior knowledge; HTTP/1.1 to the upstream.

use std::sync::mpsc;
use std::time::Duration;

use crate::support::frames::{Connection, DATA, END_HEADERS, END_STREAM, HEADERS, block, frame};
use crate::support::{Edge, Framing, Upstream};

#[test]
fn a_request_and_its_answer_keep_everything() {
    let upstream = Upstream::with(|exchange| {
        exchange.read_body();
        exchange.answer(
            201,
            &[("X-Back", "1"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")],
            b"made",
        );
    });
    let edge = Edge::open(&upstream).start();
    let body: Vec<u8> = (0..300_000u32).map(|index| (index % 241) as u8).collect();
    let response = edge
        .post("/api/x?y=%2F", body.clone())
        .host("h.example")
        .header("X-There", "1")
        .http2()
        .send();
    assert_eq!(
        (response.status, response.text().as_str(), response.field("x-back")),
        (201, "made", Some("1"))
    );
    assert_eq!(response.fields("set-cookie"), ["a=1", "b=2"]);
    let seen = upstream.only();
    assert_eq!(
        (seen.method(), seen.target(), seen.head.field("host"), seen.head.field("x-there")),
        ("POST", "/x?y=%2F", Some("h.example"), Some("1"))
    );
    assert!(seen.body == body && seen.complete);
}

#[test]
fn a_body_ends_once() {
    // The last frame of this client's bodies is empty: one `0` chunk must end it, not two. A second
    // one would be the beginning of the next request.
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).start();
    for number in 0..10 {
        let target = format!("/api/{number}");
        for request in
            [edge.post(&target, "body"), edge.get(&target).body("body"), edge.post(&target, "")]
        {
            assert_eq!(request.http2().send().text(), format!("/{number}"));
        }
    }
    let seen = upstream.requests();
    assert_eq!(
        seen.len(),
        30,
        "{:?}",
        seen.iter().map(|request| &request.head.first_line).collect::<Vec<_>>()
    );
    assert!(seen.iter().all(|request| request.complete
        && matches!(
            request.head.framing(),
            Framing::Chunked | Framing::Length(_) | Framing::None
        )));
}

#[test]
fn a_length_that_is_told_is_kept() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).start();
    assert_eq!(
        edge.post("/api/x", "hello").header("Content-Length", "5").http2().send().status,
        200
    );
    let seen = upstream.only();
    assert_eq!(
        (seen.head.framing(), seen.body.as_slice()),
        (Framing::Length(5), b"hello".as_slice())
    );
}

#[test]
fn a_body_is_whole_for_the_upstream_only_once_the_client_has_ended_it() {
    // Its length is no end: more could come, or a reset that takes it all back.
    let (whole, bodies) = mpsc::channel();
    let upstream = Upstream::with(move |exchange| {
        whole.send(exchange.read_body().to_vec()).unwrap();
        exchange.answer(200, &[], b"taken");
    });
    let edge = Edge::open(&upstream).start();
    let mut client = Connection::open(edge.port(), Duration::from_secs(5));
    let head = block(&[
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":authority", b"h"),
        (b":path", b"/api/x"),
        (b"content-length", b"5"),
    ]);
    client.send(
        &[
            frame(HEADERS, END_HEADERS, 1, &head),
            frame(DATA, 0, 1, b"hel"),
            frame(DATA, 0, 1, b"lo"),
        ]
        .concat(),
    );
    assert_eq!(
        bodies.recv_timeout(Duration::from_millis(500)),
        Err(mpsc::RecvTimeoutError::Timeout)
    );
    client.send(&frame(DATA, END_STREAM, 1, b""));
    assert_eq!(bodies.recv_timeout(Duration::from_secs(5)).as_deref(), Ok(b"hello".as_slice()));
    assert_eq!(client.read_until(1).stream(1).status, Some(200));
}

#[test]
fn an_empty_last_frame_is_no_body() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).start();
    for (method, length) in [("GET", None), ("DELETE", None), ("POST", Some("0"))] {
        upstream.clear();
        let head = block(&[
            (b":method", method.as_bytes()),
            (b":scheme", b"http"),
            (b":authority", b"h"),
            (b":path", b"/api/x"),
        ]);
        let mut connection = Connection::open(edge.port(), Duration::from_secs(10));
        connection.send(&frame(HEADERS, END_HEADERS, 1, &head));
        connection.send(&frame(DATA, END_STREAM, 1, b""));
        assert_eq!(connection.read_until(1).stream(1).status, Some(200), "{method}");
        let seen = upstream.only();
        assert_eq!(seen.head.field("content-length"), length, "{method}");
        assert_eq!(seen.head.field("transfer-encoding"), None, "{method}");
    }
}
