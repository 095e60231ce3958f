//! Upstreams that answer what is no HTTP, or only half of it.

use crate::support::{Edge, Upstream};

#[test]
fn what_is_no_http_is_502() {
    let rows: [(&str, &str); 9] = [
        ("nothing", ""),
        ("garbage", "this is not HTTP at all\r\n\r\n"),
        ("garbage without an end", "xxxxxxxxxxxxxxxxxxxx"),
        ("another protocol", "SSH-2.0-OpenSSH_9.6\r\n"),
        ("half a head", "HTTP/1.1 200 OK\r\nContent-Le"),
        ("a status that is none", "HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n"),
        ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
        ("a length that is none", "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello"),
        ("a NUL in a field", "HTTP/1.1 200 OK\r\nX-A: \0\r\nContent-Length: 0\r\n\r\n"),
    ];
    for (row, answer) in rows {
        let upstream = Upstream::answering(answer);
        let edge = Edge::open(&upstream).start();
        for request in [edge.post("/api/x", "body"), edge.get("/api/x"), edge.get("/api/x").http2()] {
            let response = request.send();
            assert_eq!(response.status, 502, "{row}");
            assert_eq!(response.json()["error"], "Bad Gateway", "{row}");
        }
    }
}

#[test]
fn a_length_beside_chunks_never_reaches_the_client() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    let edge = Edge::open(&upstream).start();
    let response = edge.get("/api/x").send();
    assert!(response.status == 502 || (response.text() == "hello" && !response.head.has("content-length")), "{:?}", response.head);
}

#[test]
fn a_body_that_breaks_off_never_looks_whole() {
    let rows: [(&str, &str, bool); 5] = [
        ("a length, then the end", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it", false),
        ("a length, then a reset", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it", true),
        ("chunks, then the end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhalf of it\r\n", false),
        ("chunks, then a reset", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhalf of it\r\n", true),
        ("a chunk that is none", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhalf of it\r\n0\r\n\r\n", false),
    ];
    for (row, answer, reset) in rows {
        let upstream = Upstream::with(move |exchange| {
            exchange.write(answer.as_bytes());
            if reset {
                // Let the edge read first: a reset throws away what it has not read.
                exchange.pause(std::time::Duration::from_millis(200));
                exchange.reset();
            }
            exchange.close();
        });
        let edge = Edge::open(&upstream).start();
        for http2 in [false, true] {
            let request = edge.get("/api/x");
            let response = if http2 { request.http2() } else { request }.send();
            assert!(
                response.status == 502 || !response.complete,
                "{row} (HTTP/2: {http2}): {} {:?}, complete: {}",
                response.status,
                response.text(),
                response.complete
            );
        }
    }
}

#[test]
fn answers_without_a_body_have_none() {
    for (status, answer) in [(204, "HTTP/1.1 204 No Content\r\n\r\n"), (304, "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 10\r\n\r\n")] {
        let upstream = Upstream::answering(answer);
        let edge = Edge::open(&upstream).start();
        for http2 in [false, true] {
            let request = edge.get("/api/x");
            let response = if http2 { request.http2() } else { request }.send();
            assert_eq!((response.status, response.body.len()), (status, 0));
        }
    }
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).start();
    let head = edge.request("HEAD", "/api/four").send();
    assert_eq!((head.status, head.field("content-length"), head.body.len()), (200, Some("5"), 0), "HEAD tells the length of what GET would give");
}

#[test]
fn a_body_that_ends_with_the_connection_arrives_whole() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end");
    let edge = Edge::open(&upstream).start();
    for http2 in [false, true] {
        let request = edge.get("/api/x");
        let response = if http2 { request.http2() } else { request }.send();
        assert_eq!((response.status, response.text().as_str(), response.complete), (200, "until the end", true));
    }
    let upstream = Upstream::answering("HTTP/1.0 200 OK\r\n\r\nfrom an old server");
    let edge = Edge::open(&upstream).start();
    assert_eq!(edge.get("/api/x").send().text(), "from an old server");
}

#[test]
fn what_one_upstream_answers_too_much_is_nobody_elses_answer() {
    // A second response that nobody asked for, in the same packet: the next request must not get it.
    let upstream = Upstream::with(|exchange| {
        exchange.read_body();
        exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmineHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen");
    });
    let edge = Edge::open(&upstream).start();
    for number in 0..10 {
        assert_eq!(edge.get("/api/x").send().text(), "mine", "request {number}");
    }
}
