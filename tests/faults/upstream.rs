//! An upstream fails for some requests: the others do not notice, and what failed is told from what
//! is slow.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::SOON;
use crate::row::{Row, metric};
use crate::support::ports::Port;
use crate::support::secrets;
use crate::support::settings::Route;
use crate::support::upstream::Exchange;
use crate::support::{Edge, Issuer, Settings, Upstream, eventually};
use crate::traffic::Traffic;

type Script = fn(&mut Exchange);

const COOKIE: &str = "c2Vzc2lvbi1vZi1hbGljZS0wMTIzNDU2Nzg5";

#[test]
fn an_upstream_fails_in_every_way() {
    // What it does with requests for /api/faulty.
    let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(Exchange::echo_target));
    let issuer = Issuer::start();
    let upstream = Upstream::with({
        let script = Arc::clone(&script);
        move |exchange| {
            let faulty = *script.lock().unwrap();
            if exchange.target() == "/faulty" { faulty(exchange) } else { exchange.echo_target() }
        }
    });
    let edge = Edge::with_jwt(&issuer, &upstream).backend("timeout_secs = 1").quiet().start();
    let token = issuer.token().sign();
    let address = format!("127.0.0.1:{}", upstream.port());
    // What an upstream sends is not for the log, not even when it is no HTTP.
    secrets::remember(COOKIE);
    // The status of the answer, and whether it was whole.
    type Told = (u16, bool);
    let rows: [(&str, Script, Told, &str, &str); 6] = [
        (
            "upstream resets in the middle of a body",
            reset,
            (200, false),
            "error",
            "Connection reset",
        ),
        (
            "upstream half-closes in the middle of a body",
            half_close,
            (200, false),
            "error",
            "connection closed in the middle of the response",
        ),
        (
            "upstream half-closes before the answer",
            half_close_early,
            (502, true),
            "error",
            "connection closed before the response",
        ),
        ("upstream never answers", silence, (504, true), "timeout", "no response in time"),
        (
            "upstream answers garbage",
            garbage,
            (502, true),
            "error",
            "its response is not valid HTTP",
        ),
        (
            "upstream answers a head without end",
            endless_head,
            (502, true),
            "error",
            "its head is too large",
        ),
    ];
    for (fault, faulty, told, kind, words) in rows {
        let mut row = Row::begin(fault, &edge, Traffic::with_tokens(&edge, &issuer, "/api/x"));
        let failures = format!("harmony_upstream_failures_total{{backend=\"app\",kind=\"{kind}\"");
        let before = metric(&edge, &failures).map_or(0.0, |(_, value)| value);
        *script.lock().unwrap() = faulty;
        for _ in 0..3 {
            let answer = edge.post("/api/faulty", "x").bearer(&token).send();
            assert_eq!((answer.status, answer.complete), told, "{fault}");
        }
        row.sees_line(&["WARN", "upstream app failed on attempt 1", &address, words]);
        row.sees_line(&["path=/api/faulty"]);
        row.sees_metric(&failures, |value| value >= before + 3.0);
        *script.lock().unwrap() = Exchange::echo_target;
        row.recovers(|| edge.post("/api/faulty", "x").bearer(&token).send().status == 200);
        row.end(32);
    }
}

fn reset(exchange: &mut Exchange) {
    exchange.read_body();
    exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it");
    // The head goes through first.
    exchange.pause(Duration::from_millis(100));
    exchange.reset();
}

fn half_close(exchange: &mut Exchange) {
    exchange.read_body();
    exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it");
    exchange.half_close();
}

fn half_close_early(exchange: &mut Exchange) {
    exchange.read_body();
    exchange.half_close();
}

fn silence(exchange: &mut Exchange) {
    exchange.read_body();
    let _ = exchange.read_raw();
    exchange.close();
}

fn garbage(exchange: &mut Exchange) {
    exchange.read_body();
    exchange.write(
        format!(
            "HTTP/1.1 200 OK\r\nSet-Cookie: session={COOKIE}\r\nX-Broken: \0\r\n\
             Content-Length: 0\r\n\r\n"
        )
        .as_bytes(),
    );
    exchange.close();
}

fn endless_head(exchange: &mut Exchange) {
    exchange.read_body();
    exchange.write(b"HTTP/1.1 200 OK\r\n");
    for _ in 0..1_000 {
        exchange.write(format!("X-Filler: {}\r\n", "x".repeat(10_000)).as_bytes());
    }
    exchange.close();
}

/// Connections that the upstream half-closes after an answer are not used again.
#[test]
fn kept_connections_that_are_half_closed_cost_nothing() {
    let issuer = Issuer::start();
    let upstream = Upstream::with(|exchange| {
        exchange.echo_target();
        exchange.half_close();
    });
    let edge = Edge::with_jwt(&issuer, &upstream).quiet().start();
    let row = Row::begin(
        "upstream half-closes kept connections",
        &edge,
        Traffic::with_tokens(&edge, &issuer, "/api/x"),
    );
    let token = issuer.token().sign();
    for _ in 0..50 {
        // Not a `POST`: one that meets the moment of the end, beside the traffic, may have been
        // sent, so that nobody may send it again.
        assert_eq!(edge.get("/api/x").bearer(&token).send().status, 200);
        std::thread::sleep(Duration::from_millis(20));
    }
    row.end(32);
}

#[test]
fn one_of_two_upstreams_dies_and_comes_back() {
    let (issuer, one, two) = (Issuer::start(), Upstream::start(), Upstream::start());
    let settings = Settings::with_jwt(&issuer, &one).and(&Route::to("second", &two).text());
    // Both backends serve the pipeline `api`, as one pool.
    let text = settings.text().replace("backends = [\"app\"]", "backends = [\"app\", \"second\"]");
    let text =
        text.replace("[backends.second.options]\n", "[backends.second.options]\neject_secs = 1\n");
    let (public, management) = (Port::claim(), Port::claim());
    let edge = Edge::of_text(&text, public, management).quiet().start();
    let mut row = Row::begin(
        "one of two upstreams dies",
        &edge,
        Traffic::with_tokens(&edge, &issuer, "/api/x"),
    );
    let (port, _) = two.stop();
    let healthy = "harmony_upstream_healthy{backend=\"second\"";
    row.sees_line(&["upstream", "ejected", "connection refused"]);
    row.sees_metric(healthy, |value| value == 0.0);
    std::thread::sleep(Duration::from_secs(2));
    let two = Upstream::at(port, Exchange::echo_target);
    row.recovers(|| two.count() > 0);
    row.sees_line(&["upstream", "again"]);
    eventually("healthy again", SOON, || metric(&edge, healthy).filter(|(_, value)| *value == 1.0));
    row.end(32);
}
