//! What is more than a request and a response: WebSockets, events, clients that have said all they
//! had to say.

use std::time::{Duration, Instant};

use crate::support::{Edge, Issuer, Upstream};

/// Takes the upgrade and sends back every byte.
fn echoing() -> Upstream {
    Upstream::with(|exchange| {
        exchange.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        );
        while let Ok(bytes) = exchange.read_raw() {
            if bytes.is_empty() {
                break;
            }
            exchange.write(&bytes);
        }
        exchange.close();
    })
}

fn handshake(token: Option<&str>) -> String {
    let authorization =
        token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!(
        "GET /api/socket HTTP/1.1\r\nHost: h\r\n{authorization}Connection: keep-alive, Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

#[test]
fn a_websocket_passes_through_a_protected_route() {
    let (issuer, upstream) = (Issuer::start(), echoing());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let denied = edge.connect().send(handshake(None)).response();
    assert_eq!(
        (denied.status, upstream.connections()),
        (401, 0),
        "without a token nobody asks the upstream"
    );

    let mut client = edge.connect();
    let switched = client.send(handshake(Some(&issuer.token().sign()))).response();
    assert_eq!(switched.status, 101);
    assert_eq!(
        switched.field("upgrade").map(str::to_ascii_lowercase).as_deref(),
        Some("websocket")
    );
    assert_eq!(switched.field("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    let seen = upstream.only();
    assert_eq!(
        (seen.head.field("upgrade"), seen.head.field("x-auth-subject")),
        (Some("websocket"), Some("alice"))
    );
    assert_eq!(seen.head.field("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));

    // A text frame, masked as a client's are; the upstream sends it back as it came.
    let frame = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    for _ in 0..3 {
        client.send(frame);
        assert_eq!(client.raw_exactly(frame.len()), frame);
    }
    let large: Vec<u8> = (0..200_000u32).map(|index| (index % 253) as u8).collect();
    for piece in large.chunks(10_000) {
        client.send(piece);
        assert_eq!(client.raw_exactly(piece.len()), piece);
    }
    client.finish_writing();
    assert!(client.is_closed(), "the end travels too");
}

#[test]
fn an_upstream_that_refuses_the_upgrade_is_heard() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let mut client = edge.connect();
    let response = client.send(handshake(Some(&issuer.token().sign()))).response();
    assert_eq!((response.status, response.text().as_str()), (200, "/socket"));
}

#[test]
fn events_arrive_one_by_one() {
    let upstream = Upstream::with(|exchange| {
        exchange.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
              Cache-Control: no-cache\r\n\r\n",
        );
        for number in 0..5 {
            exchange.write(format!("data: {number}\n\n").as_bytes());
            exchange.pause(Duration::from_millis(200));
        }
        exchange.close();
    });
    let edge = Edge::open(&upstream).start();
    let mut client = edge.connect();
    client.send("GET /api/events HTTP/1.1\r\nHost: h\r\n\r\n");
    let head = client.head();
    assert_eq!(head.field("content-type"), Some("text/event-stream"));
    let started = Instant::now();
    let mut arrivals = Vec::new();
    client.read_body(&head, "GET", &mut |_| arrivals.push(started.elapsed()));
    assert_eq!(arrivals.len(), 5, "{arrivals:?}");
    assert!(arrivals[4] - arrivals[0] > Duration::from_millis(600), "not held back: {arrivals:?}");
}

/// That the end is known is no reason to keep what is there.
#[test]
fn parts_of_known_length_are_not_held_back_either() {
    let upstream = Upstream::with(|exchange| {
        // Each part is sent once the other side has got the one before.
        exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n");
        for _ in 0..3 {
            let bytes = exchange.read_raw().unwrap();
            exchange.write(&bytes);
        }
        exchange.close();
    });
    let edge = Edge::open(&upstream).start();
    let mut client = edge.connect().patience(Duration::from_secs(5));
    client.send("POST /api/x HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\n");
    assert_eq!(client.head().status, 200, "the head alone");
    for part in ["ab", "cd", "ef"] {
        client.send(part);
        assert_eq!(client.raw_exactly(2), part.as_bytes());
    }
}

#[test]
fn a_client_that_has_said_all_still_gets_its_answer() {
    let upstream = Upstream::with(|exchange| {
        exchange.read_body();
        exchange.pause(Duration::from_millis(300));
        exchange.answer(200, &[], b"late but whole");
    });
    let edge = Edge::open(&upstream).start();
    for request in [edge.get("/api/x").bytes(), edge.post("/api/x", "body").bytes()] {
        let mut client = edge.connect();
        client.send(request).finish_writing();
        assert_eq!(client.response().text(), "late but whole");
    }
}

#[test]
fn an_answer_that_comes_before_the_end_of_the_upload_is_delivered() {
    let upstream = Upstream::with(|exchange| {
        exchange.answer(403, &[("Connection", "close")], b"no need to go on");
        exchange.pause(Duration::from_millis(300));
        exchange.close();
    });
    let edge = Edge::open(&upstream).start();
    let mut client = edge.connect();
    client.send("POST /api/x HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nthe beginning");
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (403, "no need to go on"));
}

#[test]
fn what_is_in_flight_at_a_stop_is_finished() {
    let upstream = Upstream::with(|exchange| {
        exchange.read_body();
        exchange.pause(Duration::from_secs(2));
        exchange.answer(200, &[], b"finished");
    });
    let mut edge = Edge::open(&upstream).start();
    let mut client = edge.connect();
    client.send(edge.get("/api/x").bytes());
    upstream.last();
    edge.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(client.response().text(), "finished");
    assert_eq!(edge.exit_status(Duration::from_secs(10)).code(), Some(0));
}
