//! The heads of answers: what belongs to the upstream's connection stays there, and every body has
//! an end that this client knows.

use std::time::Duration;

use crate::support::poll::becomes_true;
use crate::support::{Client, Edge, Upstream};

const PATIENCE: Duration = Duration::from_secs(10);

/// Answers the request to `/N` with the N-th answer, and keeps its connection.
fn upstream_of(answers: &[&str]) -> Upstream {
    let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
    Upstream::with(move |exchange| {
        exchange.read_body();
        let number = exchange.target().trim_start_matches('/').parse::<usize>();
        match number.ok().and_then(|number| answers.get(number)) {
            Some(answer) => exchange.write(answer.as_bytes()),
            None => exchange.echo_target(),
        }
    })
}

fn ask(client: &mut Client, number: usize, version: &str, fields: &str) {
    client.send(format!("GET /api/{number} HTTP/{version}\r\nHost: h\r\n{fields}\r\n"));
}

#[test]
fn no_field_of_the_upstreams_connection_reaches_the_client() {
    let fields = "Upgrade: h2,h2c\r\nConnection: Upgrade, Keep-Alive, X-Mine\r\nX-Mine: 1\r\n\
                  Keep-Alive: timeout=5\r\nProxy-Connection: close\r\nTE: trailers\r\n\
                  Trailer: X-Sum\r\nX-Other: 2\r\n";
    let answers: Vec<String> = [
        "200 OK",
        "201 Created",
        "204 No",
        "206 Part",
        "301 Moved",
        "304 Not",
        "401 No",
        "404 No",
        "500 Bad",
        "503 Busy",
    ]
    .iter()
    .map(|status| {
        let bodiless = status.starts_with("204") || status.starts_with("304");
        let body = if bodiless { "\r\n" } else { "Content-Length: 2\r\n\r\nok" };
        format!("HTTP/1.1 {status}\r\n{fields}{body}")
    })
    .collect();
    let answers: Vec<&str> = answers.iter().map(String::as_str).collect();
    let upstream = upstream_of(&answers);
    let edge = Edge::open(&upstream).start();
    for (number, answer) in answers.iter().enumerate() {
        for http2 in [false, true] {
            let request = edge.get(&format!("/api/{number}"));
            let response = if http2 { request.http2() } else { request }.send();
            let row = format!("{answer} (HTTP/2: {http2}): {:?}", response.head);
            for name in ["upgrade", "keep-alive", "proxy-connection", "te", "trailer", "x-mine"] {
                assert!(!response.head.has(name), "{name}: {row}");
            }
            assert_eq!(response.field("x-other"), Some("2"), "{row}");
            assert_eq!(response.head.has("connection"), !http2, "{row}");
        }
    }
}

#[test]
fn a_426_says_what_to_ask_for() {
    let upstream =
        upstream_of(&["HTTP/1.1 426 Upgrade\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Content-Length: 0\r\n\r\n"]);
    let edge = Edge::open(&upstream).start();
    assert_eq!(edge.get("/api/0").send().field("upgrade"), Some("websocket"));
}

#[test]
fn what_has_no_body_has_no_frame_and_interim_heads_have_nothing_of_the_connection() {
    let upstream = upstream_of(&[
        "HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\n",
        "HTTP/1.1 103 E\r\nTransfer-Encoding: chunked\r\n\r\nHTTP/1.1 103 E\r\n\
         Content-Length: 3\r\n\r\nHTTP/1.1 103 E\r\nLink: x\r\nConnection: X-Mine\r\nX-Mine: 1\r\n\
         Keep-Alive: max=1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    ]);
    let edge = Edge::open(&upstream).start();
    let mut client = edge.connect();
    for number in 0..2 {
        ask(&mut client, number, "1.1", "");
        let response = client.response();
        assert_eq!(response.status, 204);
        assert!(!response.head.has("content-length"), "{:?}", response.head);
        assert!(!response.head.has("transfer-encoding"), "{:?}", response.head);
    }
    ask(&mut client, 2, "1.1", "Connection: close\r\n");
    let mut bytes = Vec::new();
    client.rest(&mut |piece| bytes.extend_from_slice(piece));
    let text = String::from_utf8_lossy(&bytes);
    let interim = text.split("\r\n\r\n").next().unwrap();
    assert_eq!(interim, "HTTP/1.1 103 Early Hints\r\nlink: x", "{text}");
    assert!(text.ends_with("abc"), "{text}");
}

#[test]
fn interim_heads_are_for_those_that_know_them_and_have_an_end() {
    let answers: Vec<String> = [1, 16, 17, 500]
        .iter()
        .map(|count| "HTTP/1.1 103 E\r\nLink: x\r\n\r\n".repeat(*count))
        .chain(["HTTP/1.1 100 Continue\r\n\r\n".to_owned()])
        .map(|interim| format!("{interim}HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"))
        .collect();
    let answers: Vec<&str> = answers.iter().map(String::as_str).collect();
    let upstream = upstream_of(&answers);
    let edge = Edge::open(&upstream).start();
    for (number, count) in [(0, 1), (1, 16), (2, 16), (3, 16), (4, 0)] {
        let mut client = edge.connect();
        ask(&mut client, number, "1.1", "");
        let response = client.response();
        assert_eq!((response.interim.len(), response.text().as_str()), (count, "abc"), "{number}");
        let mut client = edge.connect();
        ask(&mut client, number, "1.0", "Connection: keep-alive\r\n");
        let response = client.response();
        assert_eq!((response.interim.len(), response.text().as_str()), (0, "abc"), "{number}");
        assert_eq!(edge.get(&format!("/api/{number}")).http2().send().text(), "abc", "{number}");
    }
}

#[test]
fn a_client_of_http_1_0_gets_no_chunks_and_everybody_our_version() {
    let chunks = "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let (new, old) =
        (format!("HTTP/1.1 200 OK\r\n{chunks}"), format!("HTTP/1.0 200 OK\r\n{chunks}"));
    let upstream = upstream_of(&[&new, &old, "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc"]);
    let edge = Edge::open(&upstream).start();
    for number in 0..3 {
        for (version, keep) in [("1.1", ""), ("1.0", ""), ("1.0", "Connection: keep-alive\r\n")] {
            let mut client = edge.connect();
            ask(&mut client, number, version, keep);
            let response = client.response();
            let row = format!("{number} to {version} {keep:?}: {:?}", response.head);
            assert!(response.head.first_line.starts_with("HTTP/1.1 200"), "{row}");
            assert_eq!((response.text().as_str(), response.complete), ("abc", true), "{row}");
            let chunked = response.head.has("transfer-encoding");
            assert_eq!(chunked, version == "1.1" && number < 2, "{row}");
            if version == "1.0" && number < 2 {
                assert_eq!(response.field("connection"), Some("close"), "{row}");
                assert!(client.is_closed(), "{row}");
            }
        }
    }
}

#[test]
fn framing_fields_that_contradict_are_502_and_the_log_names_them() {
    let rows = [
        ("Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "Content-Length"),
        ("Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "Content-Length"),
        ("Content-Length: 3, 3\r\n\r\nabc", "Content-Length"),
        ("Content-Length: x\r\n\r\nabc", "Content-Length"),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "Transfer-Encoding",
        ),
        ("Transfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding"),
        (
            "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "Content-Length beside Transfer-Encoding",
        ),
    ];
    for (rest, named) in rows {
        for status in ["200 OK", "404 X"] {
            let answer = format!("HTTP/1.1 {status}\r\n{rest}");
            let upstream = upstream_of(&[&answer]);
            let edge = Edge::open(&upstream).start();
            assert_eq!(edge.post("/api/0", "x").send().status, 502, "{answer:?}");
            let told = || {
                let log = edge.log();
                log.lines().any(|line| line.contains(" WARN ") && line.contains(named))
            };
            assert!(becomes_true(PATIENCE, told), "{answer:?}: {}", edge.log());
        }
    }
}

#[test]
fn a_body_behind_an_answer_that_has_none_is_nobodys() {
    for (method, answer) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 39\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("HEAD", "HTTP/1.1 404 X\r\n\r\n"),
        ("GET", "HTTP/1.1 204 X\r\nContent-Length: 39\r\n\r\n"),
        ("GET", "HTTP/1.1 304 X\r\nContent-Length: 39\r\n\r\n"),
    ] {
        let upstream = Upstream::with(move |exchange| {
            if exchange.target() != "/odd" {
                return exchange.echo_target();
            }
            exchange.write(answer.as_bytes());
            // Later than the next request, unless that waits.
            exchange.pause(Duration::from_millis(40));
            exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen");
        });
        let edge = Edge::open(&upstream).start();
        for round in 0..5 {
            let odd = edge.request(method, "/api/odd").send();
            assert_eq!((odd.body.len(), odd.complete), (0, true), "{answer:?}");
            assert_eq!(edge.get("/api/mine").send().text(), "/mine", "{answer:?}, {round}");
        }
    }
}

#[test]
fn a_connection_is_used_again_after_an_answer_without_a_body() {
    let upstream = upstream_of(&["HTTP/1.1 204 No\r\n\r\n"]);
    let edge = Edge::open(&upstream).start();
    assert_eq!(edge.get("/api/0").send().status, 204);
    assert!(becomes_true(PATIENCE, || {
        assert_eq!(edge.get("/api/x").send().text(), "/x");
        assert_eq!(edge.request("HEAD", "/api/x").send().status, 200);
        std::thread::sleep(Duration::from_millis(300));
        let before = upstream.connections();
        assert_eq!(edge.get("/api/x").send().text(), "/x");
        upstream.connections() == before
    }));
}

#[test]
fn every_connection_field_that_says_close_counts() {
    let upstream = upstream_of(&[
        "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nConnection: close\r\nContent-Length: 2\r\n\
         \r\nok",
        "HTTP/1.1 103 E\r\nConnection: close\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ]);
    let edge = Edge::open(&upstream).start();
    for number in [0, 1, 0, 1] {
        assert_eq!(edge.get(&format!("/api/{number}")).send().text(), "ok");
    }
    assert_eq!(upstream.connections(), 4);
}
