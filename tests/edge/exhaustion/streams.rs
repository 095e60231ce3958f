//! HTTP/2: streams that are opened to be reset, and what the edge says that it takes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::{GET, Held, PREFACE, WAIT, closed_for, sample};
use crate::support::frames::{
    Connection, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, SETTINGS, frame,
};
use crate::support::poll::becomes_true;
use crate::support::{Edge, Upstream};

const CANCEL: &[u8] = &[0, 0, 0, 8];

fn opened_and_reset(number: u32) -> Vec<u8> {
    let stream = 2 * number + 1;
    [frame(HEADERS, END_STREAM | END_HEADERS, stream, GET), frame(RST_STREAM, 0, stream, CANCEL)]
        .concat()
}

#[test]
fn ten_thousand_streams_that_are_reset_cost_the_connection() {
    let upstream = Upstream::with(|exchange| {
        std::thread::sleep(Duration::from_millis(200));
        exchange.echo_target();
    });
    let edge = Edge::open(&upstream).quiet().start();
    let mut stream = TcpStream::connect(("127.0.0.1", edge.port())).unwrap();
    stream.write_all(PREFACE).unwrap();
    let mut sent = 0;
    // A few at a time: what is sent after the end would hide why it came.
    let refused = (0..10_000).step_by(10).any(|first| {
        std::thread::sleep(Duration::from_millis(2));
        let bytes: Vec<u8> = (first..first + 10).flat_map(opened_and_reset).collect();
        sent = first + 10;
        stream.write_all(&bytes).is_err()
    });
    assert!(refused, "all {sent} streams were taken");
    assert!(
        becomes_true(Duration::from_secs(20), || closed_for(&edge, "resets") == 1.0),
        "{sent} streams were sent"
    );
    assert!(upstream.count() <= 450, "{} requests at the upstream", upstream.count());
    assert_eq!(edge.get("/api/x").http2().send().status, 200);
}

#[test]
fn a_client_that_gives_up_now_and_then_is_left_alone() {
    let upstream = Upstream::with(|exchange| {
        std::thread::sleep(Duration::from_secs(2));
        exchange.echo_target();
    });
    let edge = Edge::open(&upstream).quiet().start();
    let mut stream = TcpStream::connect(("127.0.0.1", edge.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    // As a browser does whose user goes elsewhere: everything is under way, then nothing of it is
    // wanted.
    let numbers = 0..50;
    stream.write_all(PREFACE).unwrap();
    stream
        .write_all(
            &numbers
                .clone()
                .flat_map(|number| frame(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, GET))
                .collect::<Vec<_>>(),
        )
        .unwrap();
    assert!(
        becomes_true(Duration::from_secs(20), || upstream.count() == 50),
        "{}",
        upstream.count()
    );
    stream
        .write_all(
            &numbers
                .flat_map(|number| frame(RST_STREAM, 0, 2 * number + 1, CANCEL))
                .collect::<Vec<_>>(),
        )
        .unwrap();
    // And once more all in one piece, so that most are reset before anybody looks at them.
    stream.write_all(&(50..110).flat_map(opened_and_reset).collect::<Vec<_>>()).unwrap();
    let mut buffer = [0; 4096];
    let silent = loop {
        match stream.read(&mut buffer) {
            Ok(0) => break false,
            Ok(_) => {}
            Err(error) => break error.kind() == std::io::ErrorKind::WouldBlock,
        }
    };
    assert!(silent, "the connection is still there");
    assert_eq!(closed_for(&edge, "resets"), 0.0);
}

#[test]
fn what_was_reset_counts_for_as_long_as_the_upstream_is_at_it() {
    let upstream = Upstream::with(|exchange| {
        std::thread::sleep(Duration::from_secs(120));
        exchange.echo_target();
    });
    let edge = Edge::open(&upstream).quiet().start();
    let mut connection = Connection::open(edge.port(), Duration::from_secs(5));
    let get = |numbers: std::ops::Range<u32>| {
        let frames =
            numbers.map(|number| frame(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, GET));
        frames.collect::<Vec<_>>().concat()
    };
    let reset = |numbers: std::ops::Range<u32>| {
        let frames = numbers.map(|number| frame(RST_STREAM, 0, 2 * number + 1, CANCEL));
        frames.collect::<Vec<_>>().concat()
    };
    // No rush: as far as the connection goes, there are never more than 60 streams.
    for round in 0..3 {
        connection.send(&get(60 * round..60 * (round + 1)));
        let reached = (60 * (round as usize + 1)).min(100);
        assert!(
            becomes_true(Duration::from_secs(20), || upstream.count() >= reached),
            "{} of {reached} in round {round}",
            upstream.count()
        );
        if round < 2 {
            connection.send(&reset(60 * round..60 * (round + 1)));
            let gone = || sample(&edge, "harmony_http_requests_in_flight") == 0.0;
            assert!(becomes_true(Duration::from_secs(20), gone), "the edge lets them go");
        }
    }
    assert_eq!(connection.read_until(2 * 179 + 1).stream(2 * 179 + 1).status, Some(429));
    assert!(upstream.count() <= 100, "{} requests at the upstream", upstream.count());
    assert_eq!(closed_for(&edge, "resets"), 0.0, "the connection goes on");
    let refused = "harmony_http_refusals_total{pipeline=\"\",reason=\"given_up_too_often\"}";
    let counted = || sample(&edge, refused) >= 80.0 - 1.0;
    assert!(becomes_true(Duration::from_secs(10), counted), "{refused}");
}

#[test]
fn the_edge_says_how_many_streams_and_how_large_a_head_it_takes() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).quiet().start();
    let held = Held::on(edge.port(), PREFACE, &[b""], Duration::from_secs(2));
    let settings = |id: u8| {
        held.received
            .windows(6)
            .find(|window| window[..2] == [0, id])
            .map(|window| u32::from_be_bytes(window[2..].try_into().unwrap()))
    };
    assert_eq!((settings(3), settings(6)), (Some(100), Some(65_536)), "{:?}", held.received);
}

/// Each wants an answer, and the client reads none.
#[test]
fn pings_and_settings_without_end_fill_no_memory() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).quiet().start();
    assert_eq!(edge.get("/api/x").http2().send().status, 200);
    let before = edge.resident_mib();
    edge.forget_peak();
    let flood = [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[])].concat().repeat(1000);
    let mut sent = 0;
    let mut clients: Vec<TcpStream> =
        (0..4).map(|_| TcpStream::connect(("127.0.0.1", edge.port())).unwrap()).collect();
    for stream in &mut clients {
        stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        stream.write_all(PREFACE).unwrap();
        // Until the edge reads no more: an error, be it that it closed, or that it waits for the
        // client to read.
        while sent < 200 * 1024 * 1024 && stream.write_all(&flood).is_ok() {
            sent += flood.len();
        }
    }
    assert!(sent > flood.len() * 4, "{sent} bytes were taken");
    let peak = edge.peak_mib();
    assert!(peak < before + 32, "{before} MiB before, {peak} MiB at most, after {sent} bytes");
    assert_eq!(edge.get("/api/x").http2().send().status, 200);
}

/// `GET http://h/api/x`, and a `Host` that says another thing: Pingora refuses such a stream.
const TWO_HOSTS: &[u8] = b"\x82\x86\x04\x06/api/x\x01\x01h\x00\x04host\x01i";

#[test]
fn what_is_wrong_with_a_stream_is_counted_and_costs_no_other() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).start();
    let stream =
        |number: u32, block: &[u8]| frame(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, block);
    let refused =
        || sample(&edge, "harmony_http_refusals_total{pipeline=\"\",reason=\"malformed_stream\"}");
    let mut connection = Connection::open(edge.port(), WAIT);
    let bytes: Vec<u8> = (0..31).flat_map(|number| stream(number, TWO_HOSTS)).collect();
    connection.send(&[bytes, stream(31, GET)].concat());
    let answers = connection.read_until(63);
    assert_eq!(answers.stream(61).status, Some(400));
    assert_eq!((answers.stream(63).status, answers.closed), (Some(200), false));
    assert!(becomes_true(WAIT, || refused() >= 31.0));

    // One more is one too many, which somebody may want to know.
    connection.send(&stream(32, TWO_HOSTS));
    assert!(connection.read_until(67).closed);
    assert!(becomes_true(WAIT, || closed_for(&edge, "http2_error") == 1.0));
    assert_eq!(edge.get("/api/x").http2().send().status, 200);
}

#[test]
fn what_is_wrong_with_a_connection_is_counted() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).start();
    // A frame of headers for stream 0; a name in capital letters, of which h2 says that the whole
    // block cannot be trusted.
    for (wrong, bytes) in [
        ("stream 0", frame(HEADERS, END_STREAM | END_HEADERS, 0, GET)),
        ("a broken block", frame(HEADERS, END_STREAM | END_HEADERS, 1, b"\xff\xff\xff\xff\xff")),
    ] {
        let before = closed_for(&edge, "http2_error");
        let mut connection = Connection::open(edge.port(), WAIT);
        connection.send(&bytes);
        assert!(connection.read_until(1).closed, "{wrong}");
        assert!(becomes_true(WAIT, || closed_for(&edge, "http2_error") == before + 1.0), "{wrong}");
    }
    // Who leaves is no error.
    let before = closed_for(&edge, "http2_error");
    drop(Connection::open(edge.port(), WAIT));
    assert_eq!(edge.get("/api/x").http2().send().status, 200);
    assert_eq!(closed_for(&edge, "http2_error"), before);
}
