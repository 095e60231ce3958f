//! Responses that go on for long end when the credential ends that let their requests in.

mod bound;
mod calls;
mod causes;
mod certificates;
mod introspected;
mod responses;
mod websockets;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::poll::becomes_true;
use crate::support::token::now;
use crate::support::upstream::Exchange;
use crate::support::{Client, Edge, Issuer, Upstream};

const SECOND: Duration = Duration::from_secs(1);
/// Longer than any stream of these tests lives.
const PATIENCE: Duration = Duration::from_secs(15);
/// How late the end of a stream may be seen here, on a busy machine.
const LATE: f64 = 1.5;
/// Close with 1008, unmasked.
const CLOSE: &[u8] = b"\x88\x02\x03\xf0";
/// The same from a client.
const ANSWER: &[u8] = b"\x88\x82\0\0\0\0\x03\xf0";
const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Answers `/sse` with an event, then with nothing more; `/slow` with a body whose second half
/// takes three seconds; everything else, `/late` after two seconds, with a switch to a WebSocket on
/// which it sends the bytes that `Says` has in hexadecimal digits, and nothing more.
fn upstream() -> Upstream {
    Upstream::with(|exchange| {
        if exchange.target().starts_with("/sse") {
            exchange.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\
                  Transfer-Encoding: chunked\r\n\r\n",
            );
            exchange.chunk(b"data: hello\n\n");
        } else if exchange.target().starts_with("/slow") {
            exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
            exchange.pause(3 * SECOND);
            exchange.write(b"cd");
        } else {
            if exchange.target().starts_with("/late") {
                exchange.pause(2 * SECOND);
            }
            switch(exchange, "websocket");
            let says = exchange.field("says").unwrap_or_default().to_owned();
            exchange.write(&hex(&says));
        }
        until_closed(exchange);
    })
}

fn switch(exchange: &mut Exchange, protocol: &str) {
    exchange.write(
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: {protocol}\r\nConnection: Upgrade\r\n\r\n"
        )
        .as_bytes(),
    );
}

fn until_closed(exchange: &mut Exchange) {
    while exchange.read_raw().is_ok_and(|bytes| !bytes.is_empty()) {}
    exchange.close();
}

fn hex(text: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("digits");
    (0..text.len()).step_by(2).map(digits).collect()
}

/// A client whose request to `path` was answered with `status`, its head read.
fn open(edge: &Edge, path: &str, fields: &str, status: u16) -> Client {
    let mut client = edge.connect().patience(PATIENCE);
    client.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n{fields}\r\n"));
    assert_eq!(client.head().status, status, "{path} {fields}");
    client
}

fn websocket(edge: &Edge, fields: &str) -> Client {
    open(edge, "/api/ws", &format!("{UPGRADE}{fields}"), 101)
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// A step that takes tokens of this issuer, to the second.
fn exact(issuer: &Issuer, upstream: &Upstream, flags: &str) -> Edge {
    let builder = Edge::with_jwt(issuer, upstream).jwt("leeway_secs = 0").jwt_flags(flags);
    builder.start()
}

/// What comes until the connection ends, and when that is.
fn end(client: &mut Client) -> (Vec<u8>, f64) {
    let mut bytes = Vec::new();
    client.rest(&mut |part| bytes.extend_from_slice(part));
    (bytes, unix())
}

fn unix() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs_f64()
}

/// A moment some whole seconds away.
fn soon() -> i64 {
    now() + 2
}

#[track_caller]
fn assert_timely(ended: f64, due: f64) {
    let late = ended - due;
    assert!((0.0..LATE).contains(&late), "{late} s after the moment");
}

fn ended(edge: &Edge, cause: &str) -> Option<f64> {
    let labels = format!("{{pipeline=\"api\",cause=\"{cause}\"}}");
    metric(edge, &format!("harmony_streams_ended_total{labels}"))
}

/// Ends now, with a close frame.
#[track_caller]
fn assert_closes(client: &mut Client, since: f64) {
    assert_eq!(client.raw_exactly(4), CLOSE);
    client.send(ANSWER);
    assert!(end(client).0.is_empty());
    assert_timely(unix(), since);
}

/// Whether it goes on, without so much as a close frame.
fn is_open(client: Client) -> bool {
    client.patience(SECOND / 2).is_silent()
}

#[track_caller]
fn assert_logged(edge: &Edge, words: &str) {
    let logged = |line: &str| line.contains("reason=credential_ended") && line.contains(words);
    assert!(
        becomes_true(20 * SECOND, || edge.log().lines().any(logged)),
        "{words}\n{}",
        edge.log()
    );
}

/// The value of a metric.
fn metric(edge: &Edge, sample: &str) -> Option<f64> {
    let text = edge.manage("/admin/metrics").send().text();
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok())
}

fn reload(edge: &Edge, change: impl FnOnce(String) -> String) {
    edge.rewrite(change);
    let answer = edge.steer("POST", "/admin/reload").send();
    assert_eq!(answer.status, 200, "{}", answer.text());
}
