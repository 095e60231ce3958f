//! What a minute of nothing ends: an idle connection, an answer that nobody reads, a body that does
//! not come. One test, so that the minute is waited for once.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use super::{GET, Held, POST, PREFACE, closed_for, sample, with_network};
use crate::support::Upstream;
use crate::support::frames::{END_HEADERS, END_STREAM, HEADERS, frame};
use crate::support::poll::becomes_true;

/// A minute, and what a busy machine may take.
const WITHIN: Duration = Duration::from_secs(110);

#[test]
fn after_a_minute_of_nothing_a_connection_ends() {
    let upstream = Upstream::with(|exchange| {
        if exchange.target() == "/endless" {
            exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n");
            let piece = vec![b'x'; 1 << 20];
            // Fails once the edge has left.
            while exchange.is_open() {
                exchange.write(&piece);
            }
        } else {
            exchange.echo_target();
        }
    });
    // Without a minimum rate for bodies, which would be quicker.
    let edge = with_network(&upstream, "min_body_rate = 0");
    let port = edge.port();
    let request = b"GET /api/x HTTP/1.1\r\nHost: h\r\n\r\n";
    let whole = [PREFACE, &frame(HEADERS, END_HEADERS | END_STREAM, 1, GET)].concat();
    let bodiless = [PREFACE, &frame(HEADERS, END_HEADERS, 1, POST)].concat();
    thread::scope(|scope| {
        let idle = scope.spawn(|| Held::on(port, request, &[], WITHIN));
        let idle2 = scope.spawn(|| Held::on(port, &whole, &[], WITHIN));
        let body = scope.spawn(|| {
            Held::on(
                port,
                b"POST /api/x HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nx",
                &[],
                WITHIN,
            )
        });
        let body2 = scope.spawn(|| Held::on(port, &bodiless, &[], Duration::from_secs(80)));
        let never_reads = scope.spawn(|| {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.write_all(b"GET /api/endless HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
            let started = Instant::now();
            // Nothing is read, so the end shows only in what the edge counts.
            let ended = becomes_true(WITHIN, || {
                thread::sleep(Duration::from_millis(500));
                edge.log().contains("path=/api/endless")
            });
            let mut rest = Vec::new();
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let _ = stream.read_to_end(&mut rest);
            (ended, started.elapsed(), rest.len())
        });
        // Answers without a body, as many as it takes until the edge waits for somebody to read
        // them.
        let reads_no_heads = scope.spawn(|| {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
            let requests = b"HEAD /api/x HTTP/1.1\r\nHost: h\r\n\r\n".repeat(1000);
            while stream.write_all(&requests).is_ok() {}
            becomes_true(WITHIN, || {
                thread::sleep(Duration::from_millis(500));
                closed_for(&edge, "write_timeout") >= 2.0
            })
        });
        let idle = idle.join().unwrap();
        assert!(idle.ended_between(58, 109), "idle: {:?}", idle.ended);
        let idle2 = idle2.join().unwrap();
        assert!(idle2.ended_between(58, 109), "idle over HTTP/2: {:?}", idle2.ended);
        let body = body.join().unwrap();
        assert!(
            body.ended_between(58, 109) && body.text().starts_with("HTTP/1.1 408 "),
            "a body: {:?} {}",
            body.ended,
            body.text()
        );
        let body2 = body2.join().unwrap();
        assert!(
            body2.received.windows(3).any(|bytes| bytes == b"408")
                || body2.text().contains("the body did not arrive in time"),
            "a body over HTTP/2: {body2:?}"
        );
        assert!(
            reads_no_heads.join().unwrap(),
            "the answers without a body were waited for: {}",
            edge.manage("/metrics").send().text()
        );
        let (ended, after, length) = never_reads.join().unwrap();
        assert!(
            ended && after > Duration::from_secs(55) && length < 100_000_000,
            "never reads: {ended}, {after:?}, {length} bytes"
        );
    });
    assert_eq!(edge.get("/api/x").send().status, 200);
    assert_eq!(
        sample(&edge, "harmony_upstream_failures_total{backend=\"app\",kind=\"timeout\"}"),
        0.0,
        "a slow client is not the upstream's failure"
    );
    let log = edge.log();
    assert!(!log.contains("ERROR") && !log.contains("the answer stopped"), "{log}");
}
