//! A head has ten seconds, however slowly it trickles, on whatever connection.

use std::thread;
use std::time::{Duration, Instant};

use super::{GET, Held, PREFACE, closed_for, sample};
use crate::support::frames::{CONTINUATION, END_HEADERS, END_STREAM, HEADERS, frame};
use crate::support::poll::becomes_true;
use crate::support::{Edge, Upstream};

/// Longer than the ten seconds by what a busy machine may take.
const WITHIN: Duration = Duration::from_secs(40);

/// Name, port, first bytes, what trickles, what the edge says.
type Row<'a> = (&'a str, u16, &'a [u8], &'a [&'a [u8]], &'a str);

#[test]
fn a_head_that_trickles_is_cut_while_others_are_served() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).quiet().start();
    let (port, management) = (edge.port(), edge.management_port());
    let field: &[&[u8]] = &[b"X", b"-", b"A", b":", b" ", b"a"];
    let request = b"GET /api/x HTTP/1.1\r\nHost: h\r\n\r\n".as_slice();
    let head = b"GET /api/x HTTP/1.1\r\nHost: h\r\n".as_slice();
    let kept = [request, head].concat();
    let block = [PREFACE, &frame(HEADERS, END_STREAM, 1, GET)].concat();
    let cut_block =
        [PREFACE, &frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0; 100])[..50]].concat();
    let second_block = [
        PREFACE,
        &frame(HEADERS, END_STREAM | END_HEADERS, 1, GET),
        &frame(HEADERS, END_STREAM, 3, GET),
    ]
    .concat();
    let continuation = frame(CONTINUATION, 0, 1, b"");
    let continuation = continuation.as_slice();
    let now_and_then: &[&[u8]] =
        &[continuation, b"", b"", b"", b"", b"", b"", b"", b"", continuation, b""];
    let silence: &[&[u8]] = &[b""];
    let rows: [Row<'_>; 11] = [
        ("HTTP/1 by the byte", port, head, field, "408"),
        ("less of it than the preface of HTTP/2 has", port, b"PR", &[b""], "408"),
        ("nothing at all", port, b"", &[b""], ""),
        ("the head after a request", port, &kept, field, "200"),
        ("the head that began behind a request, then silence", port, &kept, silence, "200"),
        ("the Management API", management, head, field, "408"),
        ("the preface of HTTP/2, then silence", port, PREFACE, &[b""], "h2"),
        ("half a frame of fields, by the byte", port, &cut_block, &[b"\0"], "h2"),
        ("a block that has no end", port, &block, &[b""], "h2"),
        ("a block that goes on a few times", port, &block, now_and_then, "h2"),
        ("a second block without end", port, &second_block, silence, "h2"),
    ];
    thread::scope(|scope| {
        let held: Vec<_> = rows
            .iter()
            .map(|(name, port, first, pieces, says)| {
                (name, says, scope.spawn(move || Held::on(*port, first, pieces, WITHIN)))
            })
            .collect();
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(8) {
            assert_eq!(edge.get("/api/x").send().status, 200);
            thread::sleep(Duration::from_millis(50));
        }
        for (name, says, held) in held {
            let held = held.join().expect("a thread that ends");
            assert!(held.ended_between(9, 39), "{name}: {:?}, {:?}", held.ended, held.text());
            let text = held.text();
            match *says {
                "h2" => {}
                "" => assert_eq!(
                    text, "",
                    "{name}: a connection that was never used is closed without a word"
                ),
                "408" => {
                    assert!(
                        text.starts_with("HTTP/1.1 408 Request Timeout\r\n")
                            && text.contains("Connection: close\r\n"),
                        "{name}: {text}"
                    );
                    let (head, body) = text.split_once("\r\n\r\n").expect("a whole head");
                    assert!(
                        head.contains(&format!("Content-Length: {}", body.len()))
                            && body.ends_with('}'),
                        "{name}: {text}"
                    );
                }
                _ => assert!(
                    text.starts_with("HTTP/1.1 200 ") && text.contains("HTTP/1.1 408 "),
                    "{name}: {text}"
                ),
            }
        }
    });
    assert!(closed_for(&edge, "head_timeout") >= 10.0);
    // Told every ten seconds.
    let told = || edge.log().contains("network public: connections closed in the last 10 s: ");
    assert!(becomes_true(Duration::from_secs(30), told), "{}", edge.log());
    let log = edge.log();
    assert!(!log.contains("Fail to proxy") && !log.contains("H2 handshake error"), "{log}");
}

#[test]
fn a_request_may_take_its_time_once_its_head_is_there() {
    let upstream = Upstream::with(|exchange| {
        thread::sleep(Duration::from_secs(12));
        exchange.echo_target();
    });
    let edge = Edge::open(&upstream).quiet().start();
    let port = edge.port();
    let http2 = thread::spawn(move || crate::support::http2::statuses(port, "/api/x", &[None]));
    let mut client = edge.connect();
    client.send("POST /api/x HTTP/1.1\r\nHost: h\r\nContent-Length: 3600\r\n\r\n");
    for _ in 0..12 {
        thread::sleep(Duration::from_secs(1));
        client.send([b'x'; 300]);
    }
    assert_eq!(client.response().status, 200);
    assert_eq!(http2.join().expect("a thread that ends"), [200]);
}

#[test]
fn a_body_or_a_request_behind_a_request_is_no_beginning_of_a_head() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).start();
    let get = "GET /api/x HTTP/1.1\r\nHost: h\r\n\r\n";
    let post = |framing: &str| format!("POST /api/x HTTP/1.1\r\nHost: h\r\n{framing}");
    let rows = [
        (post("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), 1),
        (post("Content-Length: 3\r\n\r\nabc"), 1),
        (get.repeat(3), 3),
        (post("Content-Length: 3\r\n\r\nabc") + get, 2),
        (post("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n") + get, 2),
    ];
    let mut clients: Vec<_> = rows.iter().map(|_| edge.connect()).collect();
    for (client, (requests, answers)) in clients.iter_mut().zip(&rows) {
        client.send(requests);
        for _ in 0..*answers {
            assert_eq!(client.response().status, 200, "{requests}");
        }
    }
    // Longer than a head may take.
    thread::sleep(Duration::from_secs(12));
    for (client, (requests, _)) in clients.iter_mut().zip(&rows) {
        client.send(get);
        assert_eq!(client.response().status, 200, "{requests}");
    }
}

#[test]
fn a_client_that_leaves_within_a_head_is_no_error() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).quiet().start();
    for first in
        ["GET /api/x HT", "", "PRI * HTTP/2.0\r\n\r\nSM", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    {
        edge.connect().send(first);
    }
    let mut client = edge.connect();
    client.send("GET /api/x HTTP/1.1\r\nHost: h\r\n\r\nGET /api/x HT");
    assert_eq!(client.response().status, 200);
    drop(client);
    assert_eq!(edge.get("/api/x").send().status, 200);
    let gone = || sample(&edge, "harmony_connections_open{network=\"public\"}") == 0.0;
    assert!(becomes_true(Duration::from_secs(20), gone));
    assert!(!edge.log().contains("ERROR"), "{}", edge.log());
}

#[test]
fn line_ends_behind_a_request_start_no_clock() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).quiet().start();
    let post = "POST /api/x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
    let rows = [
        (format!("{post}\r\n"), ""),
        (format!("{post}\r\n\r\n"), ""),
        (post.to_owned(), "\r\n"),
        (post.to_owned(), "\r\n\r\n"),
        (post.to_owned(), "\r"),
    ];
    thread::scope(|scope| {
        for (first, later) in &rows {
            let edge = &edge;
            scope.spawn(move || {
                let mut client = edge.connect();
                assert_eq!(client.send(first).response().status, 200, "{first:?}");
                thread::sleep(Duration::from_secs(1));
                client.send(later);
                thread::sleep(Duration::from_secs(13));
                let rest = if *later == "\r" { "\n" } else { "" };
                client.send(format!("{rest}GET /api/x HTTP/1.1\r\nHost: h\r\n\r\n"));
                assert_eq!(client.response().status, 200, "{first:?} {later:?}");
            });
        }
    });
    assert!(closed_for(&edge, "head_timeout") < 1.0);
}
