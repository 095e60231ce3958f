//! Connections to upstreams: each takes one descriptor, there is an end to them, and what one slow
//! backend has no room for is refused while others are served.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{GET, POST, PREFACE, sample};
use crate::support::frames::{END_HEADERS, END_STREAM, HEADERS, RST_STREAM, frame};
use crate::support::poll::becomes_true;
use crate::support::settings::Route;
use crate::support::{Edge, Settings, Upstream};

const PATIENCE: Duration = Duration::from_secs(20);

/// An upstream that answers nobody while its tap is closed.
struct Slow {
    upstream: Upstream,
    open: Arc<AtomicBool>,
}

impl Slow {
    fn start() -> Self {
        let open = Arc::new(AtomicBool::new(false));
        let tap = open.clone();
        let upstream = Upstream::with(move |exchange| {
            becomes_true(PATIENCE * 3, || tap.load(Ordering::SeqCst));
            exchange.echo_target();
        });
        Self { upstream, open }
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.open.store(true, Ordering::SeqCst);
    }
}

/// `/api` at the slow one, `/other` at the other one.
fn both(slow: &Slow, other: &Upstream, backend: &str, proxy: &str) -> Settings {
    Settings::open(&slow.upstream)
        .backend(backend)
        .proxy(proxy)
        .and(&Route::to("other", other).prefix("/other").text())
}

/// A client of HTTP/2 with so many requests at once; it never reads an answer.
fn streams(edge: &Edge, count: u32, flags: u8, head: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", edge.port())).unwrap();
    let heads = (0..count).flat_map(|number| frame(HEADERS, flags, 2 * number + 1, head));
    stream.write_all(&PREFACE.iter().copied().chain(heads).collect::<Vec<_>>()).unwrap();
    stream
}

fn refused(edge: &Edge) -> f64 {
    sample(edge, "harmony_http_refusals_total{pipeline=\"api\",reason=\"upstream_connections\"}")
}

#[test]
fn a_connection_to_an_upstream_takes_one_descriptor() {
    let slow = Slow::start();
    let edge = Edge::open(&slow.upstream).quiet().start();
    let before = edge.descriptors();
    let _client = streams(&edge, 80, END_STREAM | END_HEADERS, GET);
    assert!(becomes_true(PATIENCE, || slow.upstream.count() == 80));
    let taken = edge.descriptors() - before;
    assert!((75..95).contains(&taken), "{taken} for 80 requests of one client");
}

#[test]
fn a_backend_at_its_limit_refuses_and_others_serve_on() {
    let (slow, other) = (Slow::start(), Upstream::start());
    let edge = Edge::configured(both(&slow, &other, "max_connections = 5", "")).quiet().start();
    let _client = streams(&edge, 30, END_STREAM | END_HEADERS, GET);
    assert!(becomes_true(PATIENCE, || refused(&edge) == 25.0), "{}", refused(&edge));
    let response = edge.get("/api/x").send();
    assert_eq!((response.status, response.field("retry-after")), (503, Some("1")));
    assert_eq!(slow.upstream.connections(), 5);
    assert_eq!(edge.get("/other/x").send().status, 200);
    let log = edge.log();
    assert_eq!(log.matches("backend app: all of the 5 connections").count(), 1, "{log}");
    assert!(!log.contains("ejected") && !log.contains("failed on attempt"), "{log}");
    // What was in flight ends, and its connections serve the next ones.
    slow.open.store(true, Ordering::SeqCst);
    assert!(becomes_true(PATIENCE, || edge.get("/api/x").send().status == 200));
    assert!(slow.upstream.connections() <= 6, "{}", slow.upstream.connections());
}

#[test]
fn a_slow_backend_does_not_take_all_that_there_may_be() {
    let (slow, other) = (Slow::start(), Upstream::start());
    let settings = both(&slow, &other, "", "max_upstream_connections = 20");
    let edge = Edge::configured(settings).quiet().start();
    let _client = streams(&edge, 30, END_STREAM | END_HEADERS, GET);
    assert!(becomes_true(PATIENCE, || refused(&edge) == 15.0), "{}", refused(&edge));
    for _ in 0..3 {
        assert_eq!(edge.get("/other/x").send().status, 200);
    }
}

#[test]
fn idle_connections_make_room_the_longest_idle_first() {
    let upstreams: Vec<Upstream> = (0..4).map(|_| Upstream::start()).collect();
    let routes: String = (0..)
        .zip(&upstreams)
        .map(|(number, upstream)| {
            Route::to(&format!("u{number}"), upstream)
                .prefix(&format!("/u{number}"))
                .backend("max_connections = 3")
                .text()
        })
        .collect();
    let settings = Settings::bare().proxy("max_upstream_connections = 3").and(&routes);
    let edge = Edge::configured(settings).quiet().start();
    for number in [0, 1, 2, 3, 2, 1, 0] {
        assert_eq!(edge.get(&format!("/u{number}/x")).send().status, 200, "{number}");
    }
    // The fourth took the place of the first; 2 and 1 were at hand still, and the first's next one
    // took that of the fourth.
    let counts: Vec<usize> = upstreams.iter().map(Upstream::connections).collect();
    assert_eq!(counts, [2, 1, 1, 1]);
}

#[test]
fn a_reload_changes_the_limits() {
    let (slow, other) = (Slow::start(), Upstream::start());
    let edge = Edge::configured(both(
        &slow,
        &other,
        "max_connections = 2",
        "max_upstream_connections = 100",
    ))
    .quiet()
    .start();
    let _first = streams(&edge, 5, END_STREAM | END_HEADERS, GET);
    assert!(becomes_true(PATIENCE, || refused(&edge) == 3.0), "{}", refused(&edge));
    edge.rewrite(|text| text.replace("max_connections = 2", "max_connections = 6"));
    edge.signal(Signal::SIGHUP);
    // The two that are open count on.
    let _second = streams(&edge, 0, 0, GET);
    assert!(becomes_true(PATIENCE, || {
        let _more = streams(&edge, 1, END_STREAM | END_HEADERS, GET);
        slow.upstream.connections() >= 3
    }));
    edge.rewrite(|text| {
        text.replace("max_upstream_connections = 100", "max_upstream_connections = 1")
    });
    edge.signal(Signal::SIGHUP);
    assert!(becomes_true(PATIENCE, || {
        // An idle one would serve on.
        other.close_connections();
        edge.get("/other/x").send().status == 503
    }));
    slow.open.store(true, Ordering::SeqCst);
    assert!(becomes_true(PATIENCE, || edge.get("/other/x").send().status == 200));
}

#[test]
fn with_few_descriptors_a_slow_backend_keeps_no_client_out() {
    let (slow, other) = (Slow::start(), Upstream::start());
    let edge = Edge::configured(both(&slow, &other, "", ""))
        .quiet()
        .under(&["sh", "-c", "ulimit -n 500 && exec \"$@\"", "sh"])
        .start();
    let _clients: Vec<TcpStream> =
        (0..8).map(|_| streams(&edge, 100, END_STREAM | END_HEADERS, GET)).collect();
    assert!(becomes_true(PATIENCE, || refused(&edge) >= 400.0), "{}", refused(&edge));
    assert!(edge.descriptors() < 450, "{}", edge.descriptors());
    for _ in 0..20 {
        let mut client = edge.connect().patience(Duration::from_secs(5));
        client.send("GET /other/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        assert_eq!(client.response().status, 200);
    }
}

#[test]
fn an_upstream_hears_of_a_request_with_its_body_or_after_a_moment() {
    const MOMENT: Duration = Duration::from_millis(100);
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).quiet().start();
    for head in ["Content-Length: 3", "Transfer-Encoding: chunked"] {
        // One whose body does not come.
        let before = upstream.connections();
        let mut client = edge.connect();
        let sent = Instant::now();
        client.send(format!("POST /api/x HTTP/1.1\r\nHost: h\r\n{head}\r\n\r\n"));
        assert!(becomes_true(PATIENCE, || upstream.connections() > before), "{head}");
        assert!(sent.elapsed() >= MOMENT, "{head}: after {:?}", sent.elapsed());
        let body = if head.starts_with('C') { "abc" } else { "3\r\nabc\r\n0\r\n\r\n" };
        assert_eq!(client.send(body).response().status, 200, "{head}");
        assert_eq!(upstream.last().body, b"abc", "{head}");
        upstream.close_connections();
    }
    // And one whose body does: the moment is not waited for, be there a body or none.
    let requests =
        [edge.post("/api/x", "abc"), edge.get("/api/x"), edge.post("/api/x", "abc").http2()];
    for request in requests {
        let quickest = (0..20).map(|_| {
            upstream.close_connections();
            let sent = Instant::now();
            assert_eq!(request.clone().send().status, 200);
            sent.elapsed()
        });
        let quickest = quickest.min().unwrap();
        assert!(quickest < MOMENT, "{quickest:?}");
    }
}

#[test]
fn who_leaves_before_the_body_was_never_there_for_the_upstream() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).quiet().start();
    let resets = (0..50).flat_map(|number| {
        let stream = 2 * number + 1;
        [frame(HEADERS, END_HEADERS, stream, POST), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])]
            .concat()
    });
    let mut client = TcpStream::connect(("127.0.0.1", edge.port())).unwrap();
    client.write_all(&PREFACE.iter().copied().chain(resets).collect::<Vec<_>>()).unwrap();
    thread::sleep(Duration::from_millis(500));
    assert_eq!(edge.get("/api/x").send().status, 200);
    assert_eq!((upstream.connections(), upstream.count()), (1, 1));
}

#[test]
fn streams_whose_bodies_never_come_reach_the_limit_and_no_further() {
    let (slow, other) = (Slow::start(), Upstream::start());
    let edge = Edge::configured(both(&slow, &other, "max_connections = 10", "")).quiet().start();
    let _clients: Vec<TcpStream> = (0..4).map(|_| streams(&edge, 100, END_HEADERS, POST)).collect();
    assert!(becomes_true(PATIENCE, || refused(&edge) == 390.0), "{}", refused(&edge));
    assert_eq!(slow.upstream.connections(), 10);
    assert_eq!(edge.post("/other/x", "body").send().status, 200);
}

#[test]
fn upgrades_count_as_everything_else_does() {
    let upstream = Upstream::with(|exchange| {
        exchange.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
              Upgrade: websocket\r\n\r\n",
        );
        while exchange.read_raw().is_ok_and(|bytes| !bytes.is_empty()) {}
        exchange.close();
    });
    let edge = Edge::open(&upstream).backend("max_connections = 8").quiet().start();
    let ask = || {
        let mut client = edge.connect();
        client.send(
            "GET /api/x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        let status = client.head().status;
        (client, status)
    };
    let (mut tunnels, statuses): (Vec<_>, Vec<u16>) = (0..20).map(|_| ask()).unzip();
    assert_eq!(statuses.iter().filter(|status| **status == 101).count(), 8, "{statuses:?}");
    assert!(statuses[8..].iter().all(|status| *status == 503), "{statuses:?}");
    tunnels.clear();
    assert!(becomes_true(PATIENCE, || ask().1 == 101), "their places are free again");
}
