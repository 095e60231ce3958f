//! Upstreams that are no HTTP/2, or one that misbehaves: an error for those that wait, in time, and
//! nobody else is held up.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use super::{answer, head, in_front_of, over_http2, status};
use crate::support::frames::{CONTINUATION, HEADERS, block, frame};
use crate::support::http2_peer::INITIAL_WINDOW_SIZE;
use crate::support::poll::becomes_true;
use crate::support::ports::Port;
use crate::support::server::Server;
use crate::support::{Http2Upstream, Peer};

const SECOND: Duration = Duration::from_secs(1);

const LIMITS: &str = "connect_timeout_secs = 1\ntimeout_secs = 2";

fn read_some(stream: &mut TcpStream) -> usize {
    stream.read(&mut [0; 16 * 1024]).unwrap_or(0)
}

#[test]
fn what_is_no_http2_is_an_error_in_time() {
    type Serve = fn(TcpStream);
    let rows: [(&str, Serve, u16); 5] = [
        (
            "HTTP/1.1",
            |mut stream| {
                read_some(&mut stream);
                let answer = "HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nno\n";
                let _ = stream.write_all(answer.as_bytes());
                thread::sleep(SECOND / 5);
            },
            502,
        ),
        ("closes at once", drop, 502),
        (
            "closes after the preface",
            |mut stream| {
                read_some(&mut stream);
            },
            502,
        ),
        ("says nothing", |mut stream| while read_some(&mut stream) > 0 {}, 504),
        (
            "noise",
            |mut stream| {
                read_some(&mut stream);
                let _ = stream.write_all(&[0xff; 4096]);
                thread::sleep(SECOND / 5);
            },
            502,
        ),
    ];
    for (row, serve, expected) in rows {
        let port = Port::claim();
        let _server = Server::start(port.number(), move |_, stream| serve(stream));
        let edge = over_http2(port.number()).backend(LIMITS).start();
        let started = Instant::now();
        assert_eq!(edge.post("/api/x", "a body").send().status, expected, "{row}");
        assert!(started.elapsed() < 8 * SECOND, "{row}: {:?}", started.elapsed());
        assert!(!edge.log().contains("panicked"), "{row}: {}", edge.log());
    }
}

/// A large head in frames of its own.
fn large_head(stream: u32, frames: usize) -> Vec<u8> {
    let status: &[(&[u8], &[u8])] = &[(b":status", b"200")];
    let mut bytes = frame(HEADERS, 0, stream, &block(status));
    for _ in 0..frames {
        let field: &[(&[u8], &[u8])] = &[(b"x-large", &[b'x'; 8000])];
        bytes.extend(frame(CONTINUATION, 0, stream, &block(field)));
    }
    bytes
}

#[test]
fn heads_that_are_too_large_or_never_end_are_502() {
    // The second one never ends.
    for (row, frames, ends) in [("large", 40, true), ("a flood", 2000, false)] {
        let upstream = Http2Upstream::with(&[], move |call| {
            if call.target() != "/large" {
                return call.echo_target();
            }
            let mut bytes = large_head(call.stream, frames);
            if ends {
                bytes.extend(frame(CONTINUATION, 4, call.stream, b""));
            }
            call.peer.write(&bytes);
        });
        let edge = in_front_of(&upstream).backend("timeout_secs = 5").start();
        assert_eq!(edge.get("/api/x").send().status, 200);
        edge.forget_peak();
        let before = edge.peak_mib();
        assert_eq!(edge.post("/api/large", "").send().status, 502, "{row}");
        assert!(edge.peak_mib() < before + 8, "{row}: {} MiB, then {}", before, edge.peak_mib());
        assert_eq!(edge.get("/api/x").send().status, 200, "{row}");
    }
}

#[test]
fn a_window_that_never_opens_ends_that_exchange_only() {
    let upstream = Http2Upstream::with(&[(INITIAL_WINDOW_SIZE, 0)], |call| {
        if call.target() != "/closed" {
            // Room for what is asked for, and no more.
            call.peer.release(call.stream, 1000);
            call.echo_target();
        }
    });
    let edge = in_front_of(&upstream).backend("read_timeout_secs = 2\ntimeout_secs = 2").start();
    let peer = Peer::connect(edge.port());
    let started = Instant::now();
    let closed = peer.open(&head("POST", "/closed"), false);
    let upload = peer.clone();
    thread::spawn(move || upload.data(closed, &[b'x'; 100_000], true));
    for number in 0..20 {
        let target = format!("/{number}");
        let stream = peer.open(&head("POST", &target), false);
        peer.data(stream, b"a body", true).unwrap();
        assert_eq!(answer(&peer, stream), (200, target.into_bytes(), true));
        thread::sleep(SECOND / 5);
    }
    let over = peer.until_over(closed);
    assert!(over.ended || over.reset.is_some());
    assert!(matches!(status(&peer, closed), 0 | 502 | 504));
    assert!(started.elapsed() < 15 * SECOND, "{:?}", started.elapsed());
    assert_eq!(upstream.connections(), 1, "the connection goes on");
    let told = || {
        upstream.peers()[0].look(|state| {
            state.streams.values().filter(|stream| stream.reset.is_some()).count() == 1
        })
    };
    assert!(becomes_true(20 * SECOND, told), "the upstream is told by a reset");
}

#[test]
fn a_client_that_does_not_read_stalls_only_its_own_stream() {
    let upstream = Http2Upstream::with(&[], |call| {
        if call.target() != "/large" {
            return call.echo_target();
        }
        call.head(200, &[], false);
        let _ = call.data(&vec![b'x'; 4 * 1024 * 1024], true);
    });
    let edge = in_front_of(&upstream).start();
    let peer = Peer::connect(edge.port());
    let large: Vec<u32> = (0..20).map(|_| peer.open(&head("GET", "/large"), true)).collect();
    for stream in &large {
        assert_eq!(status(&peer, *stream), 200);
    }
    for number in 0..50 {
        let target = format!("/{number}");
        let stream = peer.open(&head("GET", &target), true);
        assert_eq!(answer(&peer, stream), (200, target.clone().into_bytes(), true));
        assert_eq!(edge.get(&format!("/api{target}")).send().text(), target);
    }
    for stream in large {
        assert_eq!(peer.take_all(stream).len(), 4 * 1024 * 1024);
    }
}
