//! Connections that go on for long: which silence ends them, and what the log says then.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::poll::becomes_true;
use crate::support::{Client, Edge, Upstream};

const SECOND: Duration = Duration::from_secs(1);
const HANDSHAKE: &str = "GET /api/ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
                         Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                         Sec-WebSocket-Version: 13\r\n\r\n";
const SWITCHED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";

/// Switches with these fields beside its own, says something every `every`, and keeps what it gets.
fn tunnel(fields: &str, every: Option<Duration>) -> (Upstream, Arc<Mutex<Vec<u8>>>) {
    let got = Arc::<Mutex<Vec<u8>>>::default();
    let head = format!("{SWITCHED}{fields}\r\n");
    let upstream = Upstream::with({
        let got = Arc::clone(&got);
        move |exchange| {
            exchange.write(head.as_bytes());
            let mut other = exchange.writer();
            if let Some(every) = every {
                std::thread::spawn(move || {
                    while std::io::Write::write_all(&mut other, b"up").is_ok() {
                        std::thread::sleep(every);
                    }
                });
            }
            while let Ok(bytes) = exchange.read_raw() {
                if bytes.is_empty() {
                    break;
                }
                got.lock().unwrap().extend_from_slice(&bytes);
            }
            exchange.reset();
        }
    });
    (upstream, got)
}

fn switched(edge: &Edge) -> Client {
    let mut client = edge.connect();
    assert_eq!(client.send(HANDSHAKE).response().status, 101);
    client
}

#[test]
fn a_tunnel_lives_as_long_as_either_side_speaks() {
    let setting = "read_timeout_secs = 1";
    let (upstream, got) = tunnel("", None);
    let edge = Edge::open(&upstream).backend(setting).start();
    let mut client = switched(&edge);
    for number in 0..8 {
        client.send("down");
        std::thread::sleep(SECOND / 2);
        let so_far = got.lock().unwrap().len();
        assert!(so_far >= 4 * number, "only the client speaks: {so_far} after {number}");
    }
    assert!(becomes_true(SECOND, || got.lock().unwrap().len() == 32));

    let (upstream, _) = tunnel("", Some(SECOND / 2));
    let edge = Edge::open(&upstream).backend(setting).start();
    let mut client = switched(&edge);
    client.raw_exactly(16);
}

#[test]
fn what_a_client_sends_before_it_leaves_arrives() {
    let got = Arc::<Mutex<usize>>::default();
    let upstream = Upstream::with({
        let got = Arc::clone(&got);
        move |exchange| {
            exchange.write(format!("{SWITCHED}\r\n").as_bytes());
            // By then every buffer in between is full.
            exchange.pause(SECOND / 2);
            while let Ok(bytes) = exchange.read_raw() {
                if bytes.is_empty() {
                    break;
                }
                *got.lock().unwrap() += bytes.len();
            }
            exchange.close();
        }
    });
    let edge = Edge::open(&upstream).start();
    let mut client = switched(&edge);
    let size = 16 * 1024 * 1024;
    client.send(vec![b'x'; size]).finish_writing();
    assert!(becomes_true(10 * SECOND, || *got.lock().unwrap() == size), "{got:?}");
    assert!(client.is_closed());
}

#[test]
fn silence_on_both_sides_ends_a_tunnel_and_the_log_says_so() {
    let (upstream, _) = tunnel("", None);
    let edge = Edge::open(&upstream).backend("read_timeout_secs = 1").start();
    let mut client = switched(&edge);
    let started = Instant::now();
    assert!(client.is_closed());
    assert!(started.elapsed() < 4 * SECOND, "{:?}", started.elapsed());
    let told = || edge.log().contains("status=101") && edge.log().contains("reason=tunnel_timeout");
    assert!(becomes_true(20 * SECOND, told), "{}", edge.log());
    assert!(!edge.log().contains("failed on attempt"), "nobody failed: {}", edge.log());
}

#[test]
fn a_body_that_ends_with_its_connection_is_not_whole_when_that_is_cut() {
    let upstream = Upstream::with(|exchange| {
        exchange.write(b"HTTP/1.1 200 OK\r\n\r\nthe beginning");
        exchange.pause(4 * SECOND);
        exchange.close();
    });
    let edge = Edge::open(&upstream).backend("read_timeout_secs = 1").start();
    for http2 in [false, true] {
        let request = edge.get("/api/x");
        let response = if http2 { request.http2() } else { request }.send();
        assert_eq!(
            (response.status, response.text().as_str(), response.complete),
            (200, "the beginning", false),
            "HTTP/2: {http2}"
        );
    }
    let told = || edge.log().contains("reason=upstream_timeout");
    assert!(becomes_true(20 * SECOND, told), "{}", edge.log());
}

#[test]
fn an_upload_that_goes_on_after_the_head_is_no_silence() {
    let upstream = Upstream::with(|exchange| {
        exchange.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let body = exchange.read_body().to_vec();
        exchange.chunk(&body);
        exchange.write(b"0\r\n\r\n");
    });
    let edge = Edge::open(&upstream).backend("read_timeout_secs = 1").start();
    let mut client = edge.connect();
    client.send("POST /api/x HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\n");
    for byte in ["a", "b", "c", "d", "e", "f"] {
        std::thread::sleep(SECOND / 2);
        client.send(byte);
    }
    assert_eq!(client.response().text(), "abcdef");
}

#[test]
fn a_switch_that_says_how_long_it_is_becomes_a_raw_tunnel() {
    for fields in [
        "Transfer-Encoding: chunked\r\n",
        "Content-Length: 0\r\n",
        "Content-Length: 10\r\n",
        "Keep-Alive: timeout=5\r\nTrailer: x\r\n",
    ] {
        let (upstream, got) = tunnel(fields, Some(SECOND / 5));
        let edge = Edge::open(&upstream).start();
        let mut client = edge.connect();
        let response = client.send(HANDSHAKE).response();
        assert_eq!(response.status, 101, "{fields:?}");
        for name in ["transfer-encoding", "content-length", "keep-alive", "trailer"] {
            assert!(!response.head.has(name), "{fields:?}: {:?}", response.head);
        }
        assert_eq!(response.field("upgrade"), Some("websocket"));
        client.send("\x01\x02 no chunk");
        assert_eq!(client.raw_exactly(20), b"up".repeat(10), "{fields:?}");
        assert_eq!(*got.lock().unwrap(), b"\x01\x02 no chunk", "{fields:?}");
    }
}
