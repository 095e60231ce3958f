//! Answers that come before the request has ended: nothing of its rest may become another request,
//! and it may hold nothing up.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::poll::becomes_true;
use crate::support::{Edge, Upstream};

const SECOND: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(10);
/// What a server that takes no body would read as a request that somebody authenticated.
const SMUGGLED: &str = "GET /admin HTTP/1.1\r\nHost: h\r\nX-Auth-Subject: root\r\n\r\n";

/// What an upstream got behind the heads of requests to `/early`, and whether that ended.
type Behind = Arc<Mutex<Vec<(Vec<u8>, bool)>>>;

/// Answers requests to `/early` with these bytes before it has read a body, and shows what comes
/// then; all others as they should be.
fn early(answer: &'static str) -> (Upstream, Behind) {
    let behind = Behind::default();
    let upstream = Upstream::with({
        let behind = Arc::clone(&behind);
        move |exchange| {
            if exchange.target() != "/early" {
                return exchange.echo_target();
            }
            exchange.write(answer.as_bytes());
            let at = {
                let mut behind = behind.lock().unwrap();
                behind.push((Vec::new(), false));
                behind.len() - 1
            };
            loop {
                let bytes = exchange.read_raw().unwrap_or_default();
                let entry = &mut behind.lock().unwrap()[at];
                if bytes.is_empty() {
                    entry.1 = true;
                    break;
                }
                entry.0.extend_from_slice(&bytes);
            }
            exchange.close();
        }
    });
    (upstream, behind)
}

fn head(fields: &str, length: usize) -> String {
    format!("POST /api/early HTTP/1.1\r\nHost: h\r\n{fields}Content-Length: {length}\r\n\r\n")
}

#[test]
fn no_body_becomes_a_request_behind_an_early_answer() {
    for answer in [
        "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 413 Too Large\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 599 X\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 304 Not Modified\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 417 X\r\nContent-Length: 2\r\n\r\nno",
    ] {
        let (upstream, behind) = early(answer);
        let edge = Edge::open(&upstream).start();
        for expect in ["Expect: 100-continue\r\n", ""] {
            let row = format!("{answer:?}, {expect:?}");
            behind.lock().unwrap().clear();
            let mut client = edge.connect().patience(PATIENCE);
            let response = client.send(head(expect, SMUGGLED.len())).response();
            assert!(response.complete && answer.contains(&response.status.to_string()), "{row}");
            client.send(SMUGGLED);
            for number in 0..3 {
                assert_eq!(edge.get("/api/victim").send().text(), "/victim", "{row} {number}");
            }
            assert!(
                becomes_true(PATIENCE, || behind.lock().unwrap().iter().all(|(_, ended)| *ended)),
                "{row}: the connection is closed, whatever the client does"
            );
            let got = behind.lock().unwrap().clone();
            assert_eq!(got, [(Vec::new(), true)], "{row}");
            let (more, closed) = client.drain("GET");
            assert!(closed && more.is_empty(), "{row}: {more:?}");
        }
        assert!(upstream.requests().iter().all(|it| it.target() != "/admin"), "{answer:?}");
    }
}

#[test]
fn a_body_that_comes_in_parts_goes_no_further_than_the_early_answer() {
    let (upstream, behind) = early("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    let edge = Edge::open(&upstream).start();
    for (framing, part) in [
        ("Content-Length: 1000", "a".repeat(10)),
        ("Transfer-Encoding: chunked", format!("a\r\n{}\r\n", "a".repeat(10))),
    ] {
        behind.lock().unwrap().clear();
        let mut client = edge.connect().patience(PATIENCE);
        client.send(format!("POST /api/early HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n"));
        client.send(&part);
        let response = client.response();
        assert_eq!((response.status, response.field("connection")), (403, Some("close")));
        for _ in 0..50 {
            client.send(&part);
        }
        assert!(
            becomes_true(PATIENCE, || behind.lock().unwrap().iter().all(|(_, ended)| *ended)),
            "{framing}"
        );
        let got = behind.lock().unwrap().clone();
        let bytes = got.iter().map(|(bytes, _)| bytes.len()).sum::<usize>();
        assert!(bytes <= 2 * part.len(), "{framing}: {got:?}");
    }
}

#[test]
fn a_stalled_body_does_not_hold_the_upstream_once_it_has_answered() {
    let (upstream, behind) = early("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let edge = Edge::open(&upstream).start();
    let mut clients: Vec<_> = (0..10).map(|_| edge.connect().patience(PATIENCE)).collect();
    for client in &mut clients {
        client.send(head("", 1000)).send("abc");
    }
    for client in &mut clients {
        assert_eq!(client.response().text(), "ok");
    }
    let started = Instant::now();
    assert!(becomes_true(PATIENCE, || {
        let behind = behind.lock().unwrap();
        behind.len() == 10 && behind.iter().all(|(_, ended)| *ended)
    }));
    assert!(started.elapsed() < 2 * SECOND, "{:?}", started.elapsed());
}

#[test]
fn while_a_good_answer_runs_the_request_goes_on() {
    let upstream = Upstream::with(|exchange| {
        exchange.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        exchange.chunk(b"begun ");
        let body = exchange.read_body().to_vec();
        exchange.chunk(&body);
        exchange.write(b"0\r\n\r\n");
    });
    let edge = Edge::open(&upstream).start();
    for round in 0..3 {
        let mut client = edge.connect();
        client.send(head("", 6)).send("abc");
        let response = client.head();
        client.send("def");
        let mut body = Vec::new();
        assert!(client.read_body(&response, "POST", &mut |piece| body.extend_from_slice(piece)));
        assert_eq!(String::from_utf8_lossy(&body), "begun abcdef", "round {round}");
    }
    // The next client may be there before the connection is idle, but not each time.
    assert!(upstream.connections() < 3, "all of it was sent, so it is used again");
}

/// More than all buffers between a client and an upstream can hold.
#[test]
fn an_echo_of_any_size_comes_back_whole() {
    const PIECE: usize = 64 * 1024;
    const PIECES: usize = 1024;
    let upstream = Upstream::with(|exchange| {
        exchange.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        // Not a byte more is read before the last ones were taken.
        exchange.echo_body();
        exchange.write(b"0\r\n\r\n");
    });
    let size = PIECE * PIECES;
    let edge = Edge::open(&upstream).endpoint(&format!("max_body_size = {size}")).quiet().start();
    let mut client = edge.connect();
    client.send(head("", size));
    let response = client.head();
    let mut writer = client.writer();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..PIECES {
                std::io::Write::write_all(&mut writer, &[number as u8; PIECE]).unwrap();
            }
        });
        let mut got = 0;
        assert!(client.read_body(&response, "POST", &mut |piece| {
            let expected = |at: usize| (at / PIECE) as u8;
            assert!(piece.iter().enumerate().all(|(at, byte)| *byte == expected(got + at)));
            got += piece.len();
        }));
        assert_eq!(got, size);
    });
}

/// An answer that nobody reads yet keeps nobody from sending the rest of the request.
#[test]
fn a_client_that_reads_when_it_has_sent_all_gets_an_answer_that_has_begun() {
    let large = 16 * 1024 * 1024;
    let upstream = Upstream::with(move |exchange| {
        exchange.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {large}\r\n\r\n").as_bytes());
        let mut other = exchange.writer();
        std::thread::scope(|scope| {
            scope.spawn(move || std::io::Write::write_all(&mut other, &vec![b'x'; large]));
            exchange.read_body_into(&mut |_| ());
        });
    });
    let edge = Edge::open(&upstream).endpoint(&format!("max_body_size = {large}")).quiet().start();
    let mut client = edge.connect();
    client.send(head("", large));
    std::thread::sleep(SECOND / 5);
    client.send(vec![b'y'; large]);
    let response = client.response();
    assert_eq!((response.status, response.body.len(), response.complete), (200, large, true));
}

#[test]
fn a_refused_upload_is_read_so_far_that_the_answer_arrives() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).endpoint("max_body_size = 1000").start();
    for round in 0..8 {
        let mut client = edge.connect();
        // All of it before a byte is read, as blocking clients do.
        let length = 5 * 1024 * 1024;
        client.send(head("", length)).send(vec![b'x'; length]);
        let (responses, closed) = client.drain("POST");
        assert_eq!((responses.len(), responses[0].status, closed), (1, 413, true), "{round}");
        assert_eq!(responses[0].field("connection"), Some("close"));
    }
}
