//! The head of an HTTP/1 request: what passes reads in one way only, and any other parser reads it
//! so too.

#![no_main]

use bytes::Bytes;
use harmony::fuzzing::request_head;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &[u8]| {
    let raw = Bytes::copy_from_slice(raw);
    let head = match request_head(&raw) {
        Ok(head) => head,
        Err((status, reason)) => {
            assert!(matches!(status, 400 | 431) && !reason.is_empty());
            return;
        }
    };
    assert!(raw.len() <= 64 * 1024);
    assert!(!head.path.iter().any(|byte| matches!(byte, b'?' | b'#' | b' ' | b'\r' | b'\n' | 0)));
    assert!(head.host.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()));
    assert!(
        !head.host.contains(['/', '@', '?', '#', '\\', '%', '[', ']'])
            && !head.authority.is_empty()
    );

    // Another parser: the one below Pingora, told to be strict.
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut other = httparse::Request::new(&mut fields);
    let Ok(httparse::Status::Complete(length)) = other.parse(&raw) else {
        // The edge is asked only about what the server's own parser has read.
        return;
    };
    // No line ends in anything but CR LF, nothing is folded.
    let text = raw[..length].strip_suffix(b"\r\n").expect("ends in an empty line");
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'\n' => assert!(at > 0 && text[at - 1] == b'\r'),
            b'\r' => assert!(text.get(at + 1) == Some(&b'\n')),
            0 => panic!("NUL in a head"),
            _ => {}
        }
        if *byte == b'\n' {
            assert!(!matches!(text.get(at + 1), Some(b' ' | b'\t')));
        }
    }
    let values = |name: &str| -> Vec<&[u8]> {
        let named = other.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| field.value).collect()
    };
    assert!(other.headers.len() <= 100);
    let (lengths, codings, hosts) =
        (values("content-length"), values("transfer-encoding"), values("host"));
    assert!(lengths.len() + codings.len() <= 1, "one framing");
    assert!(lengths.iter().all(|value| !value.is_empty() && value.iter().all(u8::is_ascii_digit)));
    assert!(codings.iter().all(|value| value.eq_ignore_ascii_case(b"chunked")));
    assert_eq!(hosts.len(), 1);

    // The target as the other parser sees it is made of the parts that were taken.
    let target = other.path.expect("a complete request").as_bytes();
    let mut parts = head.path.to_vec();
    if let Some(query) = &head.query {
        parts.push(b'?');
        parts.extend_from_slice(query);
    }
    if target.starts_with(b"/") || target == b"*" {
        assert_eq!(target, parts);
        assert_eq!(head.authority, hosts[0].trim_ascii());
    } else {
        assert!(target.ends_with(&parts) || parts == b"/");
        let url = url::Url::parse(std::str::from_utf8(target).expect("a target is ASCII"));
        if let Ok(url) = url {
            assert!(url.username().is_empty() && url.password().is_none());
        }
    }
});
