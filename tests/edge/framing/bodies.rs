//! Chunks, several requests on one connection, and `100 Continue`.

use super::Bench;
use super::Expected::{Forwarded, NeverWhole, RefusedOrForwarded};
use crate::support::eventually;

/// A chunked request whose chunks are the row's.
fn chunked(chunks: &str) -> String {
    format!("POST /api/x HTTP/1.1\r\n{{H}}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n{chunks}")
}

#[test]
fn chunks_that_are_none_never_become_a_whole_request() {
    let bench = Bench::start();
    let rows = [
        ("two chunks", "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", Forwarded("hello world")),
        ("hexadecimal in both cases", "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", Forwarded("01234567890123456789")),
        ("an extension", "5;a=b\r\nhello\r\n0\r\n\r\n", RefusedOrForwarded("hello")),
        ("a trailer", "5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n", Forwarded("hello")),
        ("several zeros", "000\r\n\r\n", RefusedOrForwarded("")),
        // Pingora takes no size for 0, and a line feed for a part of an extension; what it sends on is well framed.
        ("no size", "\r\nhello\r\n0\r\n\r\n", RefusedOrForwarded("")),
        ("an extension that hides a line", "5;a\nb\r\nhello\r\n0\r\n\r\n", RefusedOrForwarded("hello")),
        ("a size of letters", "g\r\nhello\r\n0\r\n\r\n", NeverWhole),
        ("a size with 0x", "0x5\r\nhello\r\n0\r\n\r\n", NeverWhole),
        ("a plus sign", "+5\r\nhello\r\n0\r\n\r\n", NeverWhole),
        ("a minus sign", "-5\r\nhello\r\n0\r\n\r\n", NeverWhole),
        ("a blank in front", " 5\r\nhello\r\n0\r\n\r\n", NeverWhole),
        ("an underscore", "1_0\r\n0123456789abcdef\r\n0\r\n\r\n", NeverWhole),
        ("a size beyond 64 bits", "10000000000000005\r\nhello\r\n0\r\n\r\n{S}", NeverWhole),
        ("a size of 64 bits", "ffffffffffffffff\r\nhello\r\n0\r\n\r\n", NeverWhole),
        ("more than the size says", "5\r\nhelloworld\r\n0\r\n\r\n", NeverWhole),
        ("two bytes instead of CRLF", "5\r\nhelloXX0\r\n\r\n", NeverWhole),
        ("LF after the size", "5\nhello\r\n0\r\n\r\n", NeverWhole),
        ("LF after the data", "5\r\nhello\n0\r\n\r\n", NeverWhole),
        ("CR alone after the size", "5\rhello\r\n0\r\n\r\n", NeverWhole),
    ];
    let wrong: Vec<String> = rows.iter().filter_map(|(name, chunks, expected)| bench.judge(name, &bench.fill(&chunked(chunks)), expected)).collect();
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[test]
fn a_trailer_never_becomes_a_field_of_the_head() {
    let bench = Bench::start();
    let chunks = "5\r\nhello\r\n0\r\nContent-Length: 0\r\nTransfer-Encoding: gzip\r\nHost: evil\r\nX-Auth-Subject: root\r\nAuthorization: Bearer evil\r\n\r\n";
    assert_eq!(bench.judge("trailers", &bench.fill(&chunked(chunks)), &RefusedOrForwarded("hello")), None);
    for request in bench.upstream.requests() {
        assert_eq!(request.head.field("x-auth-subject"), Some("alice"));
        assert_eq!(request.head.field("host"), Some("h"));
        let trailers = String::from_utf8_lossy(&request.trailers).to_ascii_lowercase();
        for name in ["x-auth-", "authorization", "content-length", "transfer-encoding", "host"] {
            assert!(!trailers.contains(name), "{name} in the trailers that the upstream got: {trailers}");
        }
    }
}

#[test]
fn a_body_that_ends_early_never_becomes_a_whole_request() {
    let bench = Bench::start();
    for head in ["Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "Transfer-Encoding: chunked\r\n\r\na\r\nhello"] {
        let mut client = bench.edge.connect();
        client.send(bench.fill(&format!("POST /api/x HTTP/1.1\r\n{{H}}{head}"))).finish_writing();
        let (responses, _) = client.drain("POST");
        assert!(responses.iter().all(|response| response.status >= 400), "{head:?}");
    }
    // The edge may first have had to open a connection; it must not leave it hanging.
    eventually("the end of what was forwarded", std::time::Duration::from_secs(5), || {
        bench.upstream.requests().iter().all(|request| !request.complete).then_some(())
    });
}

#[test]
fn several_requests_at_once_are_answered_one_by_one_and_in_order() {
    let bench = Bench::start();
    let bytes = "GET /api/1 HTTP/1.1\r\n{H}\r\nPOST /api/2 HTTP/1.1\r\n{H}Content-Length: 5\r\n\r\nhelloPOST /api/3 HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n5\r\nworld\r\n0\r\n\r\nGET /api/4 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let (responses, closed) = super::exchange(&bench.edge, &bench.fill(bytes));
    let texts: Vec<String> = responses.iter().take(3).map(crate::support::Response::text).collect();
    assert_eq!((texts.as_slice(), closed), (["/1".to_owned(), "/2".to_owned(), "/3".to_owned()].as_slice(), true));
    assert_eq!(responses.get(3).map(|response| response.status), Some(401), "the last one has no token");
    let bodies: Vec<Vec<u8>> = bench.upstream.requests().into_iter().map(|request| request.body).collect();
    assert_eq!(bodies, [b"".to_vec(), b"hello".to_vec(), b"world".to_vec()]);
}

#[test]
fn a_body_that_looks_like_a_request_is_a_body() {
    let bench = Bench::start();
    let hidden = bench.fill("{S}");
    let length = hidden.len();
    let request = [bench.fill(&format!("POST /api/x HTTP/1.1\r\n{{H}}Content-Length: {length}\r\nConnection: close\r\n\r\n")), hidden.clone()].concat();
    let (responses, _) = super::exchange(&bench.edge, &request);
    assert_eq!(responses.len(), 1);
    assert_eq!(bench.upstream.only().body, hidden);
}

#[test]
fn continue_comes_after_the_decision() {
    let bench = Bench::start();
    let mut denied = bench.edge.connect();
    denied.send("POST /api/x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    let response = denied.response();
    assert_eq!((response.status, response.interim.as_slice()), (401, [].as_slice()), "no 100 before a 401");
    assert_eq!(bench.upstream.connections(), 0);

    let mut allowed = bench.edge.connect();
    allowed.send(bench.fill("POST /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"));
    allowed.send("hello");
    assert_eq!(allowed.response().status, 200);
    assert_eq!(bench.upstream.only().body, b"hello");
}

#[test]
fn an_unknown_expectation_is_417_or_ignored() {
    let bench = Bench::start();
    let (responses, _) = super::exchange(&bench.edge, &bench.fill("GET /api/x HTTP/1.1\r\n{H}Expect: a-miracle\r\nConnection: close\r\n\r\n"));
    assert!(matches!(responses.first().map(|response| response.status), Some(200 | 417)));
    assert_eq!(bench.issuer.fetches(), 1);
}
