//! Where requests end, however their bytes are cut, and what is none.

use super::*;

fn head(text: &str) -> Result<Option<usize>, Malformed> {
    let bytes: Vec<u8> = text
        .chars()
        .map(|letter| u8::try_from(letter).unwrap())
        .collect();
    let whole = HeadScanner::default().find_head_end(&bytes);
    for step in [1, 2, 3, 7] {
        let mut head = HeadScanner::default();
        let mut end = Ok(None);
        let mut have = 0;
        while have < bytes.len() && end == Ok(None) {
            have = (have + step).min(bytes.len());
            end = head.find_head_end(&bytes[..have]);
        }
        assert_eq!(end, whole, "{text:?} in steps of {step}");
    }
    whole
}

/// How many bytes of the body belong to it, or why it is none; `None`: more must come.
fn body(fields: &str, body: &str) -> Result<Option<usize>, Malformed> {
    let text = format!("POST / HTTP/1.1\r\n{fields}\r\n");
    let mut head = HeadScanner::default();
    assert_eq!(head.find_head_end(text.as_bytes()), Ok(Some(text.len())));
    let bytes: Vec<u8> = body
        .chars()
        .map(|letter| u8::try_from(letter).unwrap())
        .collect();
    let in_steps = |step: usize| {
        let (mut rest, mut taken) = (head.remaining_body(), 0);
        while !rest.is_complete() && taken < bytes.len() {
            let piece = &bytes[taken..bytes.len().min(taken + step)];
            let some = rest.take(piece);
            if some.is_err() {
                assert_eq!(rest.take(b"0\r\n\r\n"), some, "once malformed, always so");
            }
            taken += some?;
        }
        Ok(rest.is_complete().then_some(taken))
    };
    let whole = in_steps(bytes.len().max(1));
    for step in [1, 2, 3, 5] {
        assert_eq!(in_steps(step), whole, "{body:?} in steps of {step}");
    }
    whole
}

fn chunked(text: &str) -> Result<Option<usize>, Malformed> {
    body("Transfer-Encoding: chunked\r\n", text)
}

#[test]
fn a_head_ends_with_its_empty_line() {
    for text in [
        "GET / HTTP/1.0\r\n\r\n",
        "GET /?a={b}|\\^ HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /?a=\u{c3}\u{a9} HTTP/1.1\r\nHost: h\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nA:\r\nB: c\r\n\r\n",
    ] {
        let length = text.chars().count();
        assert_eq!(head(text), Ok(Some(length)), "{text:?}");
        assert_eq!(
            head(&format!("{text}GET")),
            Ok(Some(length)),
            "{text:?} and more"
        );
        assert_eq!(
            head(&text[..text.len() - 1]),
            Ok(None),
            "{text:?} without its end"
        );
    }
}

#[test]
fn a_target_has_no_byte_that_must_be_escaped() {
    for target in [
        "/a b",
        "/ a",
        "/a\tb",
        "/a\0",
        "/a\x7f",
        "/a\x0b",
        "/a\rb",
        "/?a b",
        "/?a\x01",
        "/a<b",
        "/?a>b",
        "/?a=\"b\"",
        "/`",
        "/\u{e9}",
        "/?a=\u{e9}",
    ] {
        let text = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(head(&text), Err(Malformed::Target), "{target:?}");
    }
}

#[test]
fn a_line_that_is_none_is_refused_as_soon_as_it_is_there() {
    for text in [
        " GET / HTTP/1.1\r\n",
        "\x16\x03\x01",
        "\n",
        "\r\r\n",
        "\rGET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\n",
        "GET / HTTP/1.1\r\nA: b\n",
        "GET / HTTP/1.1\r\n\n",
        "GET  HTTP/1.1\r\n",
        "GET HTTP/1.1\r\n",
        "GET\r\n",
        "GET /\r\n",
        "GET\t/ HTTP/1.1\r\n",
        "GET /\tHTTP/1.1\r\n",
        "G@T / HTTP/1.1\r\n",
        "GET / HTTP/1.1 \r\n",
        "GET / HTTP/1.1x\r\n",
        "GET / http/1.1\r\n",
        "GET / HTTP/1.2\r\n",
        "GET / HTTP/2.0\r\n",
        "GET / HTTP/0.9\r\n",
        "GET / HTTP/+1.1\r\n",
    ] {
        assert_eq!(head(text), Err(Malformed::Line), "{text:?}");
    }
}

#[test]
fn a_head_is_limited() {
    let with =
        |fields: &str| head(&format!("GET / HTTP/1.1\r\n{fields}\r\n")).map(|end| end.is_some());
    assert_eq!(with(&"A: b\r\n".repeat(MAX_FIELDS)), Ok(true));
    assert_eq!(
        with(&"A: b\r\n".repeat(MAX_FIELDS + 1)),
        Err(Malformed::TooLarge)
    );
    let rest = "GET / HTTP/1.1\r\nA: \r\n\r\n".len();
    assert_eq!(
        with(&format!("A: {}\r\n", "b".repeat(MAX_HEAD - rest))),
        Ok(true)
    );
    assert_eq!(
        with(&format!("A: {}\r\n", "b".repeat(MAX_HEAD - rest + 1))),
        Err(Malformed::TooLarge)
    );
    let mut endless = HeadScanner::default();
    assert_eq!(endless.find_head_end(&[b'A'; MAX_HEAD]), Ok(None));
    assert_eq!(
        endless.find_head_end(&[b'A'; MAX_HEAD + 1]),
        Err(Malformed::TooLarge)
    );
}

#[test]
fn a_body_ends_where_its_framing_says() {
    assert_eq!(body("", "GET"), Ok(Some(0)));
    assert_eq!(body("Content-Length: 3\r\n", "abcGET"), Ok(Some(3)));
    assert_eq!(body("content-length:3\r\n", "ab"), Ok(None));
    assert_eq!(body("CONTENT-LENGTH: 0\r\n", "GET"), Ok(Some(0)));
    assert_eq!(body("Content-Lengths: 3\r\n", "GET"), Ok(Some(0)));
    for text in [
        "0\r\n\r\n",
        "3\r\nabc\r\n0\r\n\r\n",
        "3\r\nabc\r\na\r\n0123456789\r\n000\r\n\r\n",
        "3;a=b;c=\"d;e\\\"\"\r\nabc\r\n0;f\r\n\r\n",
        "3 ; a = b\r\nabc\r\n0\r\n\r\n",
        "3\t\r\nabc\r\n0\r\n\r\n",
        "0\r\nX-A: 1\r\nX-B:\r\nX-C: \u{e9}\t \r\n\r\n",
    ] {
        assert_eq!(
            chunked(&format!("{text}GET")),
            Ok(Some(text.chars().count())),
            "{text:?}"
        );
        assert_eq!(
            chunked(&text[..text.len() - 1]),
            Ok(None),
            "{text:?} without its end"
        );
    }
}

#[test]
fn what_is_no_chunk_and_no_trailer_is_refused() {
    for text in [
        "\r\n",
        "3\r\nabc\r\n\r\n",
        ";a\r\n",
        " 3\r\n",
        "+3\r\n",
        "0x3\r\n",
        "3g\r\n",
        "3 3\r\n",
        "3\n",
        "3\rabc",
        "3;a\nb\r\n",
        "3;a\0\r\n",
        "3;\x01\r\n",
        "3;\x7f\r\n",
        "3;a\rb\r\n",
        "00000000000000003\r\n",
        "3\r\nabcd\r\n",
        "3\r\nabc\n",
        "0\n",
    ] {
        assert_eq!(chunked(text), Err(Malformed::Chunk), "{text:?}");
    }
    for text in [
        "0\r\n\n",
        "0\r\nX-A\r\n",
        "0\r\nX-A : 1\r\n",
        "0\r\n X-A: 1\r\n",
        "0\r\n: 1\r\n",
        "0\r\nX-A: 1\r\n 2\r\n",
        "0\r\nX-A: 1\n",
        "0\r\nX-A: 1\rX",
        "0\r\nX-A: \0\r\n",
        "0\r\nGET / HTTP/1.1\r\n",
        "0\r\nX\u{e9}: 1\r\n",
        "0\r\n\rX",
    ] {
        assert_eq!(chunked(text), Err(Malformed::Trailer), "{text:?}");
    }
}

#[test]
fn behind_framing_that_is_unclear_no_request_begins() {
    for fields in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 3\r\nContent-Length: 3\r\n",
        "Content-Length: 3, 3\r\n",
        "Content-Length: +3\r\n",
        "Content-Length:\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    ] {
        assert_eq!(
            body(fields, "3\r\nabc\r\n0\r\n\r\nGET"),
            Ok(None),
            "{fields:?}"
        );
    }
}
