//! Heads that are sound, and heads that are not.

use super::*;

fn read(head: &str) -> Result<Head, HeadError> {
    read_http1(&Bytes::copy_from_slice(head.as_bytes()))
}

fn with(fields: &str) -> Result<Head, HeadError> {
    read(&format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n"))
}

#[test]
fn framing_is_unambiguous_or_refused() {
    use HeadError::*;
    for (fields, error) in [
        (
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            TransferEncoding,
        ),
        ("Content-Length: 1\r\nContent-Length: 1\r\n", ContentLength),
        ("Content-Length: 1\r\nContent-Length: 2\r\n", ContentLength),
        ("Content-Length: 1, 1\r\n", ContentLength),
        ("Content-Length: +1\r\n", ContentLength),
        ("Content-Length: 0x1\r\n", ContentLength),
        ("Content-Length:\r\n", ContentLength),
        ("Transfer-Encoding: gzip, chunked\r\n", TransferEncoding),
        ("Transfer-Encoding: chunked, chunked\r\n", TransferEncoding),
        ("Transfer-Encoding: identity\r\n", TransferEncoding),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            TransferEncoding,
        ),
        ("Host: h\r\n", Host),
        ("A: b\r\n c\r\n", BadLine),
        ("A: b\nB: c\r\n", BadLine),
        ("A: b\rB: c\r\n", BadLine),
        ("A: b\0c\r\n", BadLine),
        ("A b\r\n", BadLine),
    ] {
        assert_eq!(with(fields), Err(error), "{fields:?}");
    }
    for fields in [
        "",
        "Content-Length: 1\r\n",
        "transfer-encoding: Chunked\r\n",
        "A:b\r\nA: \r\n",
    ] {
        assert!(with(fields).is_ok(), "{fields:?}");
    }
}

#[test]
fn size_is_limited() {
    assert_eq!(with(&"A: b\r\n".repeat(99)).map(drop), Ok(()));
    assert_eq!(with(&"A: b\r\n".repeat(100)), Err(HeadError::TooLarge));
    assert_eq!(
        with(&format!("A: {}\r\n", "b".repeat(MAX_HEAD))),
        Err(HeadError::TooLarge)
    );
}

#[test]
fn hosts() {
    for (host, expected) in [
        ("example.com", "example.com"),
        ("EXAMPLE.com:8080", "example.com"),
        ("example.com.", "example.com"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1]:80", "::1"),
        ("[::1]", "::1"),
        ("under_score", "under_score"),
    ] {
        let head = read(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).unwrap();
        assert_eq!(head.host(), expected, "{host}");
    }
    for host in [
        "", "a b", "a@b", "a/b", "a:b", "a:", "a:99999", "[::1", "::1", "a,b", "a:80:80", "%61",
        "[::1]x",
    ] {
        let head = read(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(head, Err(HeadError::Host), "{host:?}");
    }
    assert_eq!(read("GET / HTTP/1.1\r\nA: b\r\n\r\n"), Err(HeadError::Host));
}

#[test]
fn targets() {
    for (target, authority, path, query) in [
        ("/a?b?c", "h", "/a", Some("b?c")),
        ("/a?", "h", "/a", Some("")),
        ("http://x:1/a?b", "x:1", "/a", Some("b")),
        ("HTTP://x", "x", "/", None),
        ("*", "h", "*", None),
    ] {
        let head = read(&format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")).unwrap();
        assert_eq!(head.authority, authority, "{target}");
        assert_eq!(head.path, path, "{target}");
        assert_eq!(head.query.as_deref(), query.map(str::as_bytes), "{target}");
    }
    for target in [
        "a",
        "%20/x",
        "ftp://x/",
        "http:///a",
        "http://u@x/",
        "http://x?a",
        "/a#b",
        "/a?b#c",
        "x:443",
    ] {
        let head = read(&format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!(head, Err(HeadError::Target), "{target}");
    }
}

#[test]
fn crumbs_of_a_cookie_are_one_field() {
    let count = |cookies: usize, others: usize| {
        let mut headers = HeaderMap::new();
        for _ in 0..cookies {
            headers.append("cookie", http::HeaderValue::from_static("a=b"));
        }
        for _ in 0..others {
            headers.append("x", http::HeaderValue::from_static("y"));
        }
        fields_of_http2(&headers) <= MAX_FIELDS
    };
    assert!(count(150, 99) && count(1, 99) && count(0, 100) && count(100, 0));
    assert!(!count(150, 100) && !count(1, 100) && !count(0, 101));
}
