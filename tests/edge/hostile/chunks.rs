//! Chunks, several requests on one connection, and `100 Continue`.

use super::{
    BadBody, Bench, Forwarded, ForwardedOrNeverWhole, NeverWhole, Refused, RefusedOrForwarded,
};

/// A chunked request whose chunks are the row's.
fn chunked(chunks: &str) -> String {
    format!("POST /api/x HTTP/1.1\r\n{{H}}Transfer-Encoding: chunked\r\n\r\n{chunks}")
}

#[test]
fn chunks_that_are_none_never_become_a_whole_request() {
    let bench = Bench::start();
    let rows = [
        ("two chunks", "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", Forwarded("hello world")),
        (
            "hexadecimal in both cases",
            "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
            Forwarded("01234567890123456789"),
        ),
        ("an extension", "5;a=b\r\nhello\r\n0\r\n\r\n", ForwardedOrNeverWhole("hello")),
        ("a trailer", "5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n", Forwarded("hello")),
        ("several zeros", "000\r\n\r\n", ForwardedOrNeverWhole("")),
        ("no size", "\r\nhello\r\n0\r\n\r\n", BadBody),
        ("an extension that hides a line", "5;a\nb\r\nhello\r\n0\r\n\r\n", BadBody),
        ("a size of letters", "g\r\nhello\r\n0\r\n\r\n", BadBody),
        ("a size with 0x", "0x5\r\nhello\r\n0\r\n\r\n", NeverWhole),
        ("a plus sign", "+5\r\nhello\r\n0\r\n\r\n", NeverWhole),
        ("a minus sign", "-5\r\nhello\r\n0\r\n\r\n", NeverWhole),
        ("a blank in front", " 5\r\nhello\r\n0\r\n\r\n", NeverWhole),
        ("an underscore", "1_0\r\n0123456789abcdef\r\n0\r\n\r\n", NeverWhole),
        ("a size beyond 64 bits", "10000000000000005\r\nhello\r\n0\r\n\r\n{S}", NeverWhole),
        ("a size of 64 bits", "ffffffffffffffff\r\nhello\r\n0\r\n\r\n", NeverWhole),
        ("more than the size says", "5\r\nhelloworld\r\n0\r\n\r\n", NeverWhole),
        ("two bytes instead of CRLF", "5\r\nhelloXX0\r\n\r\n", BadBody),
        ("LF after the size", "5\nhello\r\n0\r\n\r\n", BadBody),
        ("LF after the data", "5\r\nhello\n0\r\n\r\n", BadBody),
        ("CR alone after the size", "5\rhello\r\n0\r\n\r\n", NeverWhole),
        ("nine digits of zeros", "000000005\r\nhello\r\n0\r\n\r\n", ForwardedOrNeverWhole("hello")),
        ("many zeros for the last", "0000000000000000000000000\r\n\r\n", BadBody),
        ("a quoted extension", "5;a=\"b;c\"\r\nhello\r\n0\r\n\r\n", ForwardedOrNeverWhole("hello")),
        (
            "a quoted extension with an escape",
            "5;a=\"\\\"\"\r\nhello\r\n0\r\n\r\n",
            ForwardedOrNeverWhole("hello"),
        ),
        (
            "an extension on the last chunk",
            "5\r\nhello\r\n0;a=b\r\n\r\n",
            ForwardedOrNeverWhole("hello"),
        ),
        ("an extension without a name", "5;\r\nhello\r\n0\r\n\r\n", ForwardedOrNeverWhole("hello")),
        (
            "blanks around an extension",
            "5 ; a = b\r\nhello\r\n0\r\n\r\n",
            ForwardedOrNeverWhole("hello"),
        ),
        ("blanks behind the size", "5  \r\nhello\r\n0\r\n\r\n", ForwardedOrNeverWhole("hello")),
        ("a tab behind the size", "5\t\r\nhello\r\n0\r\n\r\n", ForwardedOrNeverWhole("hello")),
        (
            "a quoted CR LF in an extension",
            "5;a=\"\r\nhello\r\n0\r\n\r\n",
            ForwardedOrNeverWhole("hello"),
        ),
        ("an extension of control bytes", "5;\x01\x7f\r\nhello\r\n0\r\n\r\n", BadBody),
        ("an extension of NUL", "5;\x00\r\nhello\r\n0\r\n\r\n", BadBody),
        ("LF behind an extension", "5;a\nhello\r\n0\r\n\r\n{S}", BadBody),
        ("TERM.EXT: LF in the extension of a chunk of 2", "2;\nxx\r\nhi\r\n0\r\n\r\n", BadBody),
        (
            "EXT.TERM: a request behind LF in an extension",
            "45;\n00\r\n0\r\n\r\nGET /api/smuggled HTTP/1.1\r\n\r\n",
            BadBody,
        ),
        ("CR alone in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n", BadBody),
        ("LF alone for the last line", "5\r\nhello\r\n0\r\n\n{S}", BadBody),
        ("LF alone behind the last chunk", "5\r\nhello\r\n0\n\n{S}", BadBody),
        ("CR CR LF behind the size", "5\r\r\nhello\r\n0\r\n\r\n", NeverWhole),
        ("no CR LF behind the data", "5\r\nhello0\r\n\r\n", NeverWhole),
        ("CR behind the data", "5\r\nhello\r0\r\n\r\n", NeverWhole),
        ("one byte too few", "6\r\nhello\r\n0\r\n\r\n", NeverWhole),
        ("17 digits", "1ffffffffffffffff\r\nhello\r\n0\r\n\r\n", BadBody),
        ("2^64", "10000000000000000\r\nhello\r\n0\r\n\r\n{S}", NeverWhole),
        ("an h for hexadecimal", "5h\r\nhello\r\n0\r\n\r\n", NeverWhole),
        ("a fraction", "5.0\r\nhello\r\n0\r\n\r\n", NeverWhole),
        ("a comma", "5,\r\nhello\r\n0\r\n\r\n", NeverWhole),
        ("a quoted size", "\"5\"\r\nhello\r\n0\r\n\r\n", NeverWhole),
        ("a NUL in front", "\x005\r\nhello\r\n0\r\n\r\n", NeverWhole),
        ("a tab in front", "\t5\r\nhello\r\n0\r\n\r\n", NeverWhole),
        ("CR LF in front", "\r\n5\r\nhello\r\n0\r\n\r\n", BadBody),
        ("two sizes", "5 5\r\nhello\r\n0\r\n\r\n", NeverWhole),
        ("0x0 for the last", "5\r\nhello\r\n0x0\r\n\r\n", NeverWhole),
        ("minus 0 for the last", "5\r\nhello\r\n-0\r\n\r\n{S}", NeverWhole),
        ("no last chunk, but an empty line", "5\r\nhello\r\n\r\n{S}", BadBody),
        ("a request where a chunk should be", "{S}0\r\n\r\n", BadBody),
        ("a request where the last line should be", "5\r\nhello\r\n0\r\n{S}\r\n", BadBody),
        ("a folded trailer", "5\r\nhello\r\n0\r\nX-A: 1\r\n 2\r\n\r\n", BadBody),
        ("a trailer without a colon", "5\r\nhello\r\n0\r\nX-A\r\n\r\n", BadBody),
        (
            "a trailer with a blank before the colon",
            "5\r\nhello\r\n0\r\nContent-Length : 9\r\n\r\n",
            BadBody,
        ),
        ("a trailer with LF", "5\r\nhello\r\n0\r\nX-A: 1\n\r\n", BadBody),
        ("a trailer with CR", "5\r\nhello\r\n0\r\nX-A: 1\rX-B: 2\r\n\r\n", BadBody),
        ("a trailer with NUL", "5\r\nhello\r\n0\r\nX-A: \x00\r\n\r\n", BadBody),
        (
            "a trailer of framing",
            "5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\nContent-Length: 300\r\n\r\n",
            ForwardedOrNeverWhole("hello"),
        ),
        (
            "a trailer of identity",
            "5\r\nhello\r\n0\r\nX-Auth-Subject: root\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n",
            ForwardedOrNeverWhole("hello"),
        ),
        (
            "a trailer of credentials",
            "5\r\nhello\r\n0\r\nAuthorization: Bearer evil\r\nHost: evil\r\nCookie: a=b\r\n\r\n",
            ForwardedOrNeverWhole("hello"),
        ),
    ];
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|(name, chunks, expected)| {
            bench.judge(name, &bench.fill(&chunked(chunks)), *expected)
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[test]
fn the_reason_of_a_malformed_body_is_in_the_log() {
    let bench = Bench::start();
    for (chunks, reason) in [("\r\n", "reason=chunk"), ("0\r\nX\r\n\r\n", "reason=trailer")] {
        // Behind what is sound, so that the head has gone on.
        let row = format!("5\r\nhello\r\n{chunks}");
        let mut client = bench.edge.connect();
        client.send(bench.fill(&chunked("5\r\nhello\r\n")));
        std::thread::sleep(std::time::Duration::from_millis(50));
        client.send(chunks);
        let response = client.response();
        assert_eq!(
            (response.status, response.json()["error"].as_str()),
            (400, Some("Bad Request"))
        );
        assert_eq!(bench.judge("at once", &bench.fill(&chunked(&row)), BadBody), None);
        let logged = || bench.edge.log().matches(reason).count() >= 2;
        assert!(
            crate::support::poll::becomes_true(std::time::Duration::from_secs(10), logged),
            "{reason}: {}",
            bench.edge.log()
        );
    }
}

#[test]
fn what_is_very_long_ends_somewhere() {
    let bench = Bench::start();
    let rows = [
        (
            "an extension of 100 KB",
            format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(100_000)),
            NeverWhole,
        ),
        (
            "a size of 100 KB of zeros",
            format!("{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(100_000)),
            NeverWhole,
        ),
        (
            "a trailer of 2 MB",
            format!("5\r\nhello\r\n0\r\nX-A: {}\r\n\r\n", "a".repeat(2_000_000)),
            NeverWhole,
        ),
        (
            "trailers of 20 KB",
            format!("5\r\nhello\r\n0\r\n{}\r\n", "X-A: 1\r\n".repeat(2500)),
            ForwardedOrNeverWhole("hello"),
        ),
    ];
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|(name, chunks, expected)| {
            bench.judge(name, &bench.fill(&chunked(chunks)), *expected)
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_body_that_ends_early_never_becomes_a_whole_request() {
    let bench = Bench::start();
    let start = bench.upstream.mark();
    for body in [
        "Content-Length: 10\r\n\r\nhello",
        "Content-Length: 10\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "Transfer-Encoding: chunked\r\n\r\na\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0",
        // Beyond 32 and 63 bits.
        "Transfer-Encoding: chunked\r\n\r\n100000005\r\nhello\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n8000000000000000\r\nhello\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-A: 1\r\n",
    ] {
        let mut client = bench.edge.connect();
        client.send(bench.fill(&format!("POST /api/x HTTP/1.1\r\n{{H}}{body}"))).finish_writing();
        let (responses, _) = client.drain("POST");
        assert!(responses.iter().all(|response| response.status >= 400), "{body:?}");
    }
    let seen = bench.upstream.since(&start).unwrap();
    assert!(seen.iter().all(|request| !request.whole), "{seen:?}");
}

#[test]
fn several_requests_at_once_are_answered_one_by_one_and_in_order() {
    let bench = Bench::start();
    let start = bench.upstream.mark();
    let bytes = "GET /api/1 HTTP/1.1\r\n{H}\r\nPOST /api/2 HTTP/1.1\r\n{H}Content-Length: 5\r\n\
                 \r\nhelloPOST /api/3 HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n5\r\n\
                 world\r\n0\r\n\r\nGET /api/4 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let (responses, closed) = super::exchange(&bench.edge, &bench.fill(bytes));
    let texts: Vec<String> = responses.iter().take(3).map(crate::support::Response::text).collect();
    assert_eq!(
        (texts.as_slice(), closed),
        (["/1".to_owned(), "/2".to_owned(), "/3".to_owned()].as_slice(), true)
    );
    assert_eq!(
        responses.get(3).map(|response| response.status),
        Some(401),
        "the last one has no token"
    );
    let bodies: Vec<String> =
        bench.upstream.since(&start).unwrap().into_iter().map(|request| request.body).collect();
    assert_eq!(bodies, ["", "hello", "world"]);
}

#[test]
fn a_body_that_looks_like_a_request_is_a_body() {
    let bench = Bench::start();
    let hidden = String::from_utf8(bench.fill("{S}")).unwrap();
    let length = hidden.len();
    for request in [
        format!("POST /api/x HTTP/1.1\r\n{{H}}Content-Length: {length}\r\n\r\n{hidden}"),
        format!(
            "POST /api/x HTTP/1.1\r\n{{H}}Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n\
             {hidden}\r\n0\r\n\r\n"
        ),
    ] {
        assert_eq!(bench.forwarded(&request).body, hidden);
    }
}

#[test]
fn an_expectation_changes_no_frame() {
    Bench::start().judge_all(&[
        (
            "100-continue",
            "POST /api/x HTTP/1.1\r\n{H}Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
            Forwarded("hello"),
        ),
        (
            "in chunks",
            "POST /api/x HTTP/1.1\r\n{H}Expect: 100-continue\r\n\
             Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            Forwarded("hello"),
        ),
        (
            "without a body",
            "GET /api/x HTTP/1.1\r\n{H}Expect: 100-continue\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        (
            "with a length of 0",
            "POST /api/x HTTP/1.1\r\n{H}Expect: 100-continue\r\nContent-Length: 0\r\n\r\n",
            RefusedOrForwarded(""),
        ),
        (
            "on a HEAD",
            "HEAD /api/x HTTP/1.1\r\n{H}Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
            RefusedOrForwarded("hello"),
        ),
        (
            "in other letters",
            "POST /api/x HTTP/1.1\r\n{H}expect: 100-CONTINUE\r\nContent-Length: 5\r\n\r\nhello",
            RefusedOrForwarded("hello"),
        ),
        (
            "with another one",
            "POST /api/x HTTP/1.1\r\n{H}Expect: 100-continue, x\r\nContent-Length: 5\r\n\r\nhello",
            RefusedOrForwarded("hello"),
        ),
        (
            "twice",
            "POST /api/x HTTP/1.1\r\n{H}Expect: 100-continue\r\nExpect: 100-continue\r\n\
             Content-Length: 5\r\n\r\nhello",
            RefusedOrForwarded("hello"),
        ),
        (
            "y 100-continue",
            "POST /api/x HTTP/1.1\r\n{H}Expect: y 100-continue\r\nContent-Length: 5\r\n\r\nhello",
            RefusedOrForwarded("hello"),
        ),
        (
            "with a parameter",
            "POST /api/x HTTP/1.1\r\n{H}Expect: 100-continue;a=b\r\n\
             Content-Length: 5\r\n\r\nhello",
            RefusedOrForwarded("hello"),
        ),
        (
            "empty",
            "POST /api/x HTTP/1.1\r\n{H}Expect:\r\nContent-Length: 5\r\n\r\nhello",
            RefusedOrForwarded("hello"),
        ),
        (
            "of a miracle",
            "POST /api/x HTTP/1.1\r\n{H}Expect: a-miracle\r\nContent-Length: 5\r\n\r\nhello",
            RefusedOrForwarded("hello"),
        ),
        (
            "folded",
            "POST /api/x HTTP/1.1\r\n{H}Expect:\r\n 100-continue\r\nContent-Length: 5\r\n\
             \r\nhello",
            Refused(400),
        ),
        (
            "in HTTP/1.0",
            "POST /api/x HTTP/1.0\r\n{H}Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
            RefusedOrForwarded("hello"),
        ),
    ]);
}

#[test]
fn continue_comes_after_the_decision() {
    let bench = Bench::start();
    let start = bench.upstream.mark();
    let mut denied = bench.edge.connect();
    denied.send(
        "POST /api/x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    );
    let response = denied.response();
    assert_eq!(
        (response.status, response.interim.as_slice()),
        (401, [].as_slice()),
        "no 100 before a 401"
    );
    assert!(bench.upstream.since(&start).unwrap().is_empty());
}
