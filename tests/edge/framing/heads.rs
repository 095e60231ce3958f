//! How long the body is, who the request is for, and how large a head may be.

use super::Bench;
use super::Expected::{Forwarded, Refused, RefusedOrForwarded, RefusedSomehow};

#[test]
fn the_length_of_a_body_is_said_once_and_plainly() {
    Bench::start().judge_all(&[
        ("a length", "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\nConnection: close\r\n\r\nhello", Forwarded("hello")),
        ("a length without a space", "POST /api/x HTTP/1.1\r\n{H}Content-Length:5\r\nConnection: close\r\n\r\nhello", Forwarded("hello")),
        ("a length between blanks", "POST /api/x HTTP/1.1\r\n{H}Content-Length: \t5 \r\nConnection: close\r\n\r\nhello", Forwarded("hello")),
        ("a length of 0", "POST /api/x HTTP/1.1\r\n{H}Content-Length: 0\r\nConnection: close\r\n\r\n", Forwarded("")),
        ("leading zeros", "POST /api/x HTTP/1.1\r\n{H}Content-Length: 0005\r\nConnection: close\r\n\r\nhello", RefusedOrForwarded("hello")),
        ("length and chunked", "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{S}", Refused(400)),
        ("chunked and length", "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{S}", Refused(400)),
        ("length 0 and chunked", "POST /api/x HTTP/1.1\r\n{H}Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Refused(400)),
        ("length and another encoding", "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\nTransfer-Encoding: identity\r\n\r\nhello", Refused(400)),
        ("length and chunked in strange letters", "POST /api/x HTTP/1.1\r\n{H}content-LENGTH: 5\r\ntransfer-ENCODING: cHuNkEd\r\n\r\nhello", Refused(400)),
        ("the same length twice", "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", Refused(400)),
        ("two lengths", "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\nContent-Length: 0\r\n\r\nhello", Refused(400)),
        ("two lengths, the first shorter", "POST /api/x HTTP/1.1\r\n{H}Content-Length: 0\r\nContent-Length: 300\r\n\r\n{S}", Refused(400)),
        ("two lengths in two spellings", "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\ncontent-length: 6\r\n\r\nhello", Refused(400)),
        ("a list of equal lengths", "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5, 5\r\n\r\nhello", Refused(400)),
        ("a list of lengths", "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5, 6\r\n\r\nhello", Refused(400)),
        ("a plus sign", "POST /api/x HTTP/1.1\r\n{H}Content-Length: +5\r\n\r\nhello", Refused(400)),
        ("a minus sign", "POST /api/x HTTP/1.1\r\n{H}Content-Length: -5\r\n\r\nhello", Refused(400)),
        ("hexadecimal", "POST /api/x HTTP/1.1\r\n{H}Content-Length: 0x5\r\n\r\nhello", Refused(400)),
        ("letters behind", "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5a\r\n\r\nhello", Refused(400)),
        ("a fraction", "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5.0\r\n\r\nhello", Refused(400)),
        ("a blank inside", "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5 5\r\n\r\nhello", Refused(400)),
        ("an empty length", "POST /api/x HTTP/1.1\r\n{H}Content-Length:\r\n\r\nhello", Refused(400)),
        ("a length beyond 64 bits", "POST /api/x HTTP/1.1\r\n{H}Content-Length: 99999999999999999999999\r\n\r\nhello", RefusedSomehow),
        ("a length of 2^64 + 5", "POST /api/x HTTP/1.1\r\n{H}Content-Length: 18446744073709551621\r\n\r\nhello{S}", RefusedSomehow),
        ("a form feed in front", "POST /api/x HTTP/1.1\r\n{H}Content-Length: \x0c5\r\n\r\nhello", Refused(400)),
        ("quoted", "POST /api/x HTTP/1.1\r\n{H}Content-Length: \"5\"\r\n\r\nhello", Refused(400)),
        ("on a GET", "GET /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\nConnection: close\r\n\r\nhello", Forwarded("hello")),
        (
            "nominated in Connection",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\nConnection: close, Content-Length\r\n\r\nhello",
            RefusedOrForwarded("hello"),
        ),
    ]);
}

#[test]
fn the_only_encoding_of_a_transfer_is_chunked() {
    Bench::start().judge_all(&[
        ("chunked", "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Forwarded("hello")),
        (
            "chunked in other letters",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: Chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            RefusedOrForwarded("hello"),
        ),
        ("gzip, chunked", "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Refused(400)),
        (
            "gzip and chunked in two fields",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            Refused(400),
        ),
        ("chunked twice", "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused(400)),
        ("chunked, chunked", "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", Refused(400)),
        ("chunked, identity", "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{S}", Refused(400)),
        ("identity", "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: identity\r\n\r\n", Refused(400)),
        ("gzip", "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: gzip\r\n\r\nhello", Refused(400)),
        ("xchunked", "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Refused(400)),
        ("chunkedx", "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunkedx\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Refused(400)),
        ("chunked with a parameter", "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", Refused(400)),
        ("a comma in front", "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n", Refused(400)),
        ("quoted", "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", Refused(400)),
        ("a vertical tab in front", "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", Refused(400)),
        ("empty", "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding:\r\n\r\n0\r\n\r\n", Refused(400)),
        ("a blank before the colon", "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{S}", Refused(400)),
        ("an underscore", "POST /api/x HTTP/1.1\r\n{H}Transfer_Encoding: chunked\r\nConnection: close\r\n\r\n", RefusedOrForwarded("")),
        ("in HTTP/1.0", "POST /api/x HTTP/1.0\r\n{H}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", RefusedOrForwarded("hello")),
        (
            "nominated in Connection",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\nConnection: close, Transfer-Encoding\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            RefusedOrForwarded("hello"),
        ),
    ]);
}

#[test]
fn a_request_is_for_one_host() {
    Bench::start().judge_all(&[
        ("none", "GET /api/x HTTP/1.1\r\n{T}\r\n", Refused(400)),
        ("twice the same", "GET /api/x HTTP/1.1\r\n{H}Host: h\r\n\r\n", Refused(400)),
        ("two", "GET /api/x HTTP/1.1\r\n{H}Host: other\r\n\r\n", Refused(400)),
        ("empty", "GET /api/x HTTP/1.1\r\nHost:\r\n{T}\r\n", Refused(400)),
        ("a blank inside", "GET /api/x HTTP/1.1\r\nHost: a b\r\n{T}\r\n", Refused(400)),
        ("a slash", "GET /api/x HTTP/1.1\r\nHost: a/b\r\n{T}\r\n", Refused(400)),
        ("a user", "GET /api/x HTTP/1.1\r\nHost: user@a\r\n{T}\r\n", Refused(400)),
        ("a list", "GET /api/x HTTP/1.1\r\nHost: a, b\r\n{T}\r\n", Refused(400)),
        ("a port that is none", "GET /api/x HTTP/1.1\r\nHost: a:http\r\n{T}\r\n", Refused(400)),
        ("a port too large", "GET /api/x HTTP/1.1\r\nHost: a:99999\r\n{T}\r\n", Refused(400)),
        ("two ports", "GET /api/x HTTP/1.1\r\nHost: a:80:80\r\n{T}\r\n", Refused(400)),
        ("a bracket open", "GET /api/x HTTP/1.1\r\nHost: [::1\r\n{T}\r\n", Refused(400)),
        ("a query", "GET /api/x HTTP/1.1\r\nHost: a?b\r\n{T}\r\n", Refused(400)),
        ("a fragment", "GET /api/x HTTP/1.1\r\nHost: a#b\r\n{T}\r\n", Refused(400)),
        ("a name with a port", "GET /api/x HTTP/1.1\r\nHost: example.com:8080\r\n{T}Connection: close\r\n\r\n", Forwarded("")),
        ("an IPv6 address", "GET /api/x HTTP/1.1\r\nHost: [::1]:8080\r\n{T}Connection: close\r\n\r\n", Forwarded("")),
        ("none in absolute-form", "GET http://h/api/x HTTP/1.1\r\n{T}\r\n", Refused(400)),
        ("HTTP/1.0 without one", "GET /api/x HTTP/1.0\r\n{T}\r\n", RefusedOrForwarded("")),
    ]);
}

#[test]
fn absolute_form_names_the_host_and_goes_on_in_origin_form() {
    let bench = Bench::start();
    let request = bench.fill("GET http://target.example:81/api/y?z HTTP/1.1\r\nHost: target.example:81\r\n{T}Connection: close\r\n\r\n");
    assert_eq!(bench.judge("absolute-form", &request, &Forwarded("")), None);
    let seen = bench.upstream.only();
    assert_eq!((seen.target(), seen.head.field("host")), ("/y?z", Some("target.example:81")));
    assert_eq!(seen.head.field("x-forwarded-host"), Some("target.example:81"));

    // RFC 9112 section 3.2.2 would ignore the field; Pingora refuses the contradiction, which is as safe.
    let request = bench.fill("GET http://target.example/api/y HTTP/1.1\r\nHost: field.example\r\n{T}Connection: close\r\n\r\n");
    assert_eq!(bench.judge("absolute-form and another Host", &request, &RefusedOrForwarded("")), None);
    for seen in bench.upstream.requests() {
        assert_eq!(seen.head.field("host"), Some("target.example"), "never the field's");
    }
}

#[test]
fn a_head_has_a_size() {
    let bench = Bench::start();
    let with = |fields: String| format!("GET /api/x HTTP/1.1\r\n{{H}}Connection: close\r\n{fields}\r\n");
    let fields = |count: usize| (0..count).map(|number| format!("X-{number}: {number}\r\n")).collect::<String>();
    let large = |bytes: usize| format!("X-Large: {}\r\n", "x".repeat(bytes));
    // Host, Authorization and Connection count too.
    let rows = [
        ("100 fields", with(fields(97)), Forwarded("")),
        ("101 fields", with(fields(98)), Refused(431)),
        ("200 fields", with(fields(197)), Refused(431)),
        // From 256 fields on, and for single pieces beyond 64 KiB, it is Pingora's own parser that refuses.
        ("1000 fields", with(fields(997)), RefusedSomehow),
        ("60 KiB", with(large(60 * 1024)), Forwarded("")),
        ("64 KiB and more", with(large(64 * 1024)), Refused(431)),
        ("200 KiB", with(large(200 * 1024)), Refused(431)),
        ("2 MiB", with(large(2 * 1024 * 1024)), RefusedSomehow),
        ("a name of 70,000 bytes", with(format!("{}: x\r\n", "x".repeat(70_000))), RefusedSomehow),
        ("a target of 70,000 bytes", format!("GET /api/{} HTTP/1.1\r\n{{H}}\r\n", "x".repeat(70_000)), RefusedSomehow),
    ];
    let wrong: Vec<String> = rows.iter().filter_map(|(name, request, expected)| bench.judge(name, &bench.fill(request), expected)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_head_too_large_for_http2_is_refused_too() {
    let bench = Bench::start();
    let many = (0..150).fold(bench.edge.get("/api/x").bearer(&bench.token).http2(), |request, number| request.header(&format!("x-{number}"), "1"));
    assert_eq!(many.send().status, 431, "150 fields");
    assert_eq!(bench.upstream.connections(), 0);
}
