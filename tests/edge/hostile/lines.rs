//! Lines, names and methods.

use std::time::Duration;

use crate::support::poll::becomes_true;

use super::{Answered, Bench, Forwarded, Refused, RefusedOrForwarded, RefusedSomehow};

#[test]
fn lines_end_in_crlf_and_are_not_folded() {
    Bench::start().judge_all(&[
        ("all of it in LF", "GET /api/x HTTP/1.1\nHost: h\nConnection: close\n\n", Refused(400)),
        ("the request line in LF", "GET /api/x HTTP/1.1\n{H}\r\n", Refused(400)),
        ("one field in LF", "GET /api/x HTTP/1.1\r\n{H}X-A: 1\nX-B: 2\r\n\r\n", Refused(400)),
        ("the last line in LF", "GET /api/x HTTP/1.1\r\n{H}X-A: 1\r\n\n", RefusedSomehow),
        ("a CR in a value", "GET /api/x HTTP/1.1\r\n{H}X-A: 1\rX-B: 2\r\n\r\n", Refused(400)),
        ("a CR at the end of a value", "GET /api/x HTTP/1.1\r\n{H}X-A: 1\r\r\n\r\n", Refused(400)),
        ("a CR in the request line", "GET /api/x\r HTTP/1.1\r\n{H}\r\n", Refused(400)),
        ("a NUL in a value", "GET /api/x HTTP/1.1\r\n{H}X-A: 1\x002\r\n\r\n", Refused(400)),
        ("a NUL in a name", "GET /api/x HTTP/1.1\r\n{H}X\x00A: 1\r\n\r\n", Refused(400)),
        ("a NUL in the host", "GET /api/x HTTP/1.1\r\nHost: h\x00\r\n{T}\r\n", Refused(400)),
        ("a NUL in the target", "GET /api/\x00x HTTP/1.1\r\n{H}\r\n", Refused(400)),
        ("a folded value", "GET /api/x HTTP/1.1\r\n{H}X-A: 1\r\n 2\r\n\r\n", Refused(400)),
        ("folded with a tab", "GET /api/x HTTP/1.1\r\n{H}X-A: 1\r\n\t2\r\n\r\n", Refused(400)),
        (
            "a folded length",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length:\r\n 5\r\n\r\nhello",
            Refused(400),
        ),
        (
            "a folded encoding",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n{S}",
            Refused(400),
        ),
        (
            "a blank before the first field",
            "GET /api/x HTTP/1.1\r\n X-A: 1\r\n{H}\r\n",
            Refused(400),
        ),
        ("a line of blanks", "GET /api/x HTTP/1.1\r\n{H} \r\n\r\n", Refused(400)),
        (
            "another control byte in a value",
            "GET /api/x HTTP/1.1\r\n{H}X-A: \x01\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        (
            "a byte of Latin-1 in a value",
            "GET /api/x HTTP/1.1\r\n{H}X-A: é\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        ("0xFF in a value", "GET /api/x HTTP/1.1\r\n{H}X-A: ÿ\r\n\r\n", RefusedOrForwarded("")),
        (
            "overlong UTF-8 of CR LF in a value",
            "GET /api/x HTTP/1.1\r\n{H}X-A: 1À\u{8d}À\u{8a}X-B: 2\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        (
            "a letter whose low byte is LF in a value",
            "GET /api/x HTTP/1.1\r\n{H}X-A: 1Ä\u{8a}X-B: 2\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        ("0x7F in a value", "GET /api/x HTTP/1.1\r\n{H}X-A: 1\x7f\r\n\r\n", RefusedSomehow),
        (
            "an escape byte in a value",
            "GET /api/x HTTP/1.1\r\n{H}X-A: \x1b[31m\r\n\r\n",
            RefusedSomehow,
        ),
        ("a tab in a value", "GET /api/x HTTP/1.1\r\n{H}X-A: 1\t2\r\n\r\n", Forwarded("")),
        ("LF CR instead of CR LF", "GET /api/x HTTP/1.1\n\rHost: h\n\r{T}\n\r\n\r", RefusedSomehow),
        (
            "CR CR LF at the end of the request line",
            "GET /api/x HTTP/1.1\r\r\n{H}\r\n",
            Refused(400),
        ),
        ("CR CR LF at the end of the head", "GET /api/x HTTP/1.1\r\n{H}\r\r\n", RefusedSomehow),
        ("LF LF at the end of the head", "GET /api/x HTTP/1.1\r\n{H}\n", RefusedSomehow),
        ("LF LF, then a request", "GET /api/x HTTP/1.1\r\n{H}X-A: 1\n\n{S}", RefusedSomehow),
        (
            "a field hidden behind a CR",
            "GET /api/x HTTP/1.1\r\n{H}X-A: 1\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "a length hidden behind an LF",
            "POST /api/x HTTP/1.1\r\n{H}X-A: 1\nContent-Length: 5\r\n\r\nhello",
            Refused(400),
        ),
        (
            "an encoding hidden behind a NUL",
            "POST /api/x HTTP/1.1\r\n{H}X-A: 1\x00Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        ("a folded first field", "GET /api/x HTTP/1.1\r\n\tX-A: 1\r\n{H}\r\n", Refused(400)),
        (
            "a folded encoding before the first field",
            "POST /api/x HTTP/1.1\r\n Transfer-Encoding: chunked\r\n{H}\r\n0\r\n\r\n",
            Refused(400),
        ),
        ("a folded host", "GET /api/x HTTP/1.1\r\nHost:\r\n h\r\n{T}\r\n", Refused(400)),
        (
            "a folded empty line",
            "GET /api/x HTTP/1.1\r\n{H}X-A: 1\r\n \r\nX-B: 2\r\n\r\n",
            Refused(400),
        ),
    ]);
}

#[test]
fn a_field_has_a_name_and_a_colon_behind_it() {
    Bench::start().judge_all(&[
        ("a blank before the colon", "GET /api/x HTTP/1.1\r\n{H}X-A : 1\r\n\r\n", Refused(400)),
        ("a tab before the colon", "GET /api/x HTTP/1.1\r\n{H}X-A\t: 1\r\n\r\n", Refused(400)),
        (
            "a blank before the length's colon",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length : 5\r\n\r\nhello",
            Refused(400),
        ),
        (
            "a blank before the host's colon",
            "GET /api/x HTTP/1.1\r\nHost : h\r\n{T}\r\n",
            Refused(400),
        ),
        ("no colon", "GET /api/x HTTP/1.1\r\n{H}X-A 1\r\n\r\n", Refused(400)),
        ("no name", "GET /api/x HTTP/1.1\r\n{H}: 1\r\n\r\n", Refused(400)),
        ("a blank in the name", "GET /api/x HTTP/1.1\r\n{H}X A: 1\r\n\r\n", Refused(400)),
        ("an at sign in the name", "GET /api/x HTTP/1.1\r\n{H}X@A: 1\r\n\r\n", Refused(400)),
        ("a bracket in the name", "GET /api/x HTTP/1.1\r\n{H}X(A): 1\r\n\r\n", Refused(400)),
        (
            "a letter outside ASCII in the name",
            "GET /api/x HTTP/1.1\r\n{H}X-é: 1\r\n\r\n",
            Refused(400),
        ),
        ("an empty value", "GET /api/x HTTP/1.1\r\n{H}X-A:\r\n\r\n", Forwarded("")),
        ("a NUL for a name", "GET /api/x HTTP/1.1\r\n{H}\x00: 1\r\n\r\n", Refused(400)),
        ("0x7F in a name", "GET /api/x HTTP/1.1\r\n{H}X\x7fA: 1\r\n\r\n", Refused(400)),
        ("0xFF in a name", "GET /api/x HTTP/1.1\r\n{H}XÿA: 1\r\n\r\n", Refused(400)),
        ("a quote in a name", "GET /api/x HTTP/1.1\r\n{H}\"X-A\": 1\r\n\r\n", Refused(400)),
        ("a slash in a name", "GET /api/x HTTP/1.1\r\n{H}X/A: 1\r\n\r\n", Refused(400)),
        ("a semicolon in a name", "GET /api/x HTTP/1.1\r\n{H}X;A: 1\r\n\r\n", Refused(400)),
        (
            "an equals sign for the colon",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length=5\r\n\r\nhello",
            Refused(400),
        ),
        (
            "a vertical tab before the colon",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding\x0b: chunked\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "0xA0 before the colon",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding\u{a0}: chunked\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "0x85 before the name",
            "POST /api/x HTTP/1.1\r\n{H}\u{85}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "a byte order mark before the name",
            "POST /api/x HTTP/1.1\r\n{H}ï»¿Content-Length: 5\r\n\r\nhello",
            Refused(400),
        ),
        ("two colons", "POST /api/x HTTP/1.1\r\n{H}Content-Length:: 5\r\n\r\nhello", Refused(400)),
        (
            "a colon in front",
            "POST /api/x HTTP/1.1\r\n{H}:Content-Length: 5\r\n\r\nhello",
            Refused(400),
        ),
        (
            "a request line among the fields",
            "GET /api/x HTTP/1.1\r\n{H}GET /api/smuggled HTTP/1.1\r\n\r\n",
            Refused(400),
        ),
    ]);
}

#[test]
fn a_request_line_has_three_parts_and_two_blanks() {
    Bench::start().judge_all(&[
        ("two blanks after the method", "GET  /api/x HTTP/1.1\r\n{H}\r\n", Refused(400)),
        ("a tab after the method", "GET\t/api/x HTTP/1.1\r\n{H}\r\n", Refused(400)),
        ("a tab before the version", "GET /api/x\tHTTP/1.1\r\n{H}\r\n", Refused(400)),
        ("a blank at the end", "GET /api/x HTTP/1.1 \r\n{H}\r\n", Refused(400)),
        ("a blank in front", " GET /api/x HTTP/1.1\r\n{H}\r\n", Refused(400)),
        ("no target", "GET HTTP/1.1\r\n{H}\r\n", Refused(400)),
        ("no version", "GET /api/x\r\n{H}\r\n", RefusedSomehow),
        ("HTTP/0.9", "GET /api/x/and/so/on\r\n\r\n", RefusedSomehow),
        ("HTTP/1.2", "GET /api/x HTTP/1.2\r\n{H}\r\n", RefusedOrForwarded("")),
        ("HTTP/2.0", "GET /api/x HTTP/2.0\r\n{H}\r\n", RefusedSomehow),
        ("HTTP/3.0", "GET /api/x HTTP/3.0\r\n{H}\r\n", RefusedSomehow),
        ("something after the version", "GET /api/x HTTP/1.1x\r\n{H}\r\n", Refused(400)),
        ("a version in small letters", "GET /api/x http/1.1\r\n{H}\r\n", Refused(400)),
        ("a version without its dot", "GET /api/x HTTP/11\r\n{H}\r\n", Refused(400)),
        ("an empty method", " /api/x HTTP/1.1\r\n{H}\r\n", Refused(400)),
        ("an at sign in the method", "G@T /api/x HTTP/1.1\r\n{H}\r\n", Refused(400)),
        ("a colon in the method", "GET: /api/x HTTP/1.1\r\n{H}\r\n", Refused(400)),
        ("an empty line in front", "\r\nGET /api/x HTTP/1.1\r\n{H}\r\n", RefusedOrForwarded("")),
        ("HTTP/1.0", "GET /api/x HTTP/1.0\r\n{H}\r\n", Forwarded("")),
        (
            "three blanks and a version more",
            "GET /api/x HTTP/1.1 HTTP/1.1\r\n{H}\r\n",
            RefusedOrForwarded(""),
        ),
        ("a form feed after the method", "GET\x0c/api/x HTTP/1.1\r\n{H}\r\n", Refused(400)),
        ("a vertical tab before the version", "GET /api/x\x0bHTTP/1.1\r\n{H}\r\n", Refused(400)),
        ("a version with a sign", "GET /api/x HTTP/+1.1\r\n{H}\r\n", Refused(400)),
        ("a version of three parts", "GET /api/x HTTP/1.1.1\r\n{H}\r\n", Refused(400)),
        ("a version with a zero in front", "GET /api/x HTTP/01.1\r\n{H}\r\n", Refused(400)),
        ("HTTP/1.10", "GET /api/x HTTP/1.10\r\n{H}\r\n", Refused(400)),
        ("HTTP/0.9 with a version", "GET /api/x HTTP/0.9\r\n{H}\r\n", RefusedSomehow),
        ("HTTPS/1.1", "GET /api/x HTTPS/1.1\r\n{H}\r\n", Refused(400)),
        ("RTSP", "DESCRIBE /api/x RTSP/1.0\r\n{H}\r\n", Refused(400)),
        ("only a method", "GET\r\n{H}\r\n", RefusedSomehow),
        ("only blanks", "   \r\n{H}\r\n", RefusedSomehow),
        ("a quoted method", "\"GET\" /api/x HTTP/1.1\r\n{H}\r\n", Refused(400)),
        ("a NUL in the method", "G\x00ET /api/x HTTP/1.1\r\n{H}\r\n", RefusedSomehow),
        ("0xFF in the method", "GÿT /api/x HTTP/1.1\r\n{H}\r\n", Refused(400)),
        ("a method in small letters", "get /api/x HTTP/1.1\r\n{H}\r\n", RefusedOrForwarded("")),
        ("a method of its own", "FROBNICATE /api/x HTTP/1.1\r\n{H}\r\n", Forwarded("")),
        (
            "three empty lines in front",
            "\r\n\r\n\r\nGET /api/x HTTP/1.1\r\n{H}\r\n",
            RefusedOrForwarded(""),
        ),
        (
            "empty lines of LF in front",
            "\n\nGET /api/x HTTP/1.1\r\n{H}\r\n",
            RefusedOrForwarded(""),
        ),
        ("a CR in front", "\rGET /api/x HTTP/1.1\r\n{H}\r\n", RefusedOrForwarded("")),
        ("a NUL in front", "\x00GET /api/x HTTP/1.1\r\n{H}\r\n", RefusedSomehow),
        (
            "the preface of HTTP/2 as a request of HTTP/1.1",
            "PRI * HTTP/1.1\r\n{H}\r\n",
            Answered(404),
        ),
        ("a part of the preface of HTTP/2", "PRI * HTTP/2.0\r\n{H}\r\nSM\r\n\r\n", RefusedSomehow),
        (
            "the preface of HTTP/2 in small letters",
            "pri * http/2.0\r\n\r\nsm\r\n\r\n",
            RefusedSomehow,
        ),
        ("another protocol", "SSH-2.0-OpenSSH_9.6 Debian-3\r\n\r\n", RefusedSomehow),
        (
            "a TLS hello",
            "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\nand so on and so on",
            RefusedSomehow,
        ),
    ]);
}

#[test]
fn a_target_that_pingora_would_repair_is_refused() {
    let bench = Bench::start();
    bench.judge_all(&[
        ("two blanks before the version", "GET /api/x  HTTP/1.1\r\n{H}\r\n", Refused(400)),
        ("a blank in the target", "GET /api/x y HTTP/1.1\r\n{H}\r\n", Refused(400)),
        ("a blank before dots", "GET /x /../api/x HTTP/1.1\r\n{H}\r\n", Refused(400)),
        ("a blank in the query", "GET /api/x?y z HTTP/1.1\r\n{H}\r\n", Refused(400)),
        ("a tab in the target", "GET /api/x\ty HTTP/1.1\r\n{H}\r\n", Refused(400)),
        ("a CR in the target", "GET /api/x\ry HTTP/1.1\r\n{H}\r\n", Refused(400)),
        ("a NUL in the query", "GET /api/x?\x00 HTTP/1.1\r\n{H}\r\n", Refused(400)),
        ("0x7F in the target", "GET /api/x\x7f HTTP/1.1\r\n{H}\r\n", Refused(400)),
        ("0x7F in the query", "GET /api/x?\x7f HTTP/1.1\r\n{H}\r\n", Refused(400)),
        ("a quote in the query", "GET /api/x?f={\"a\":\"b\"} HTTP/1.1\r\n{H}\r\n", Refused(400)),
        ("a less-than sign in the query", "GET /api/x?a<b HTTP/1.1\r\n{H}\r\n", Refused(400)),
        ("a greater-than sign", "GET /api/x?a>b HTTP/1.1\r\n{H}\r\n", Refused(400)),
        ("a byte of Latin-1 in the query", "GET /api/x?y=é HTTP/1.1\r\n{H}\r\n", Refused(400)),
        ("half a letter in the query", "GET /api/x?y=Ã HTTP/1.1\r\n{H}\r\n", Refused(400)),
        // Behind another request, where Pingora reads the head itself.
        (
            "a blank in a later target",
            "POST /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\n\r\nhelloGET /api/x y HTTP/1.1\r\n\
             {H}\r\n",
            Forwarded("hello"),
        ),
        (
            "a blank in a target behind chunks",
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n\
             GET /api/x y HTTP/1.1\r\n{H}\r\n",
            Forwarded("hello"),
        ),
    ]);
    let recorded = || bench.edge.log().matches("status=400").count() >= 12;
    assert!(becomes_true(Duration::from_secs(10), recorded), "{}", bench.edge.log());
    assert!(bench.edge.log().contains("reason=target"));
    let metrics = bench.edge.manage("/metrics").send().text();
    let refused = "reason=\"target\"";
    assert!(metrics.lines().any(|line| line.contains(refused)), "{metrics}");
}

#[test]
fn a_query_is_passed_on_as_it_came() {
    let bench = Bench::start();
    for query in ["f={a:[b]}", "a|b\\c^d`e", "%zz%", "a=%2F&&b", "?/??"] {
        let seen = bench.forwarded(&format!("GET /api/x?{query} HTTP/1.1\r\n{{H}}\r\n"));
        let (_, got) = seen.target.split_once('?').expect("a query");
        assert_eq!(got, query);
    }
}

#[test]
fn line_ends_between_requests_are_none_of_them() {
    let bench = Bench::start();
    for (first, between) in [
        ("GET /api/x HTTP/1.1\r\n{H}\r\n", "\r\n"),
        ("POST /api/x HTTP/1.1\r\n{H}Content-Length: 5\r\n\r\nhello", "\r\n\r\n"),
        (
            "POST /api/x HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "\r\n",
        ),
        ("\r\n\r\nGET /api/x HTTP/1.1\r\n{H}\r\n", "\r\n"),
    ] {
        let mut client = bench.edge.connect();
        client.send(bench.fill(&format!("{first}{between}")));
        assert_eq!(client.response().status, 200, "{first:?}");
        for pieces in [&["\r\n"][..], &["\r", "\n"], &["\r", "\n\r", "\n"]] {
            for piece in pieces {
                client.send(piece);
                std::thread::sleep(Duration::from_millis(10));
            }
            client.send(bench.canary("next", ""));
            assert_eq!(client.response().text(), "/next", "{first:?} {pieces:?}");
        }
        client.send("\rGET /api/next HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(client.response().status, 400, "half a line end");
    }
}

#[test]
fn a_request_shorter_than_the_preface_of_http2_is_answered() {
    let bench = Bench::start();
    let (responses, closed) = super::exchange(&bench.edge, b"GET / HTTP/1.0\r\n\r\n");
    assert!(closed && responses.iter().all(|response| response.status >= 400), "closed: {closed}");
}

#[test]
fn refusals_are_json_and_name_no_version() {
    let bench = Bench::start();
    for request in [
        "GET /api/x HTTP/1.1\r\n{T}\r\n",
        "GET /api/%00 HTTP/1.1\r\n{H}\r\n",
        "GET http://a/api/x HTTP/1.1\r\n{H}\r\n",
        "TRACE /api/x HTTP/1.1\r\n{H}\r\n",
        "GET /nowhere HTTP/1.1\r\n{H}\r\n",
        // What the guard refuses, and what Pingora does.
        "GET /api/x y HTTP/1.1\r\n{H}\r\n",
        "nonsense\r\n\r\n",
        "\x16\x03\x01\x02\r\n\r\n",
        "GET /api/x HTTP/1.1\r\n{H}X A: 1\r\n\r\n",
        "GET /api/x HTTP/1.1\r\n{H}Host: h\r\n\r\n",
        "GET /api/x HTTP/1.1\r\n{H}X-A: \x01\r\n\r\n",
        "CONNECT h:443 HTTP/1.1\r\n{H}\r\n",
    ] {
        let response = bench.edge.connect().send(bench.fill(request)).response();
        assert!(response.json()["error"].is_string(), "{request}: {}", response.text());
        assert_eq!(
            response.field("content-length"),
            Some(response.body.len().to_string().as_str()),
            "{request}"
        );
        assert!(response.head.has("date"), "{request}: Date");
        assert_eq!(response.field("server"), None, "{request}");
    }
}
