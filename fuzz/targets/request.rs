//! Where an HTTP/1 request ends: the same however its bytes are cut, and where another parser finds
//! the end of its head.

#![no_main]

use harmony::fuzzing::request_end;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (usize, &[u8])| {
    let (step, bytes) = input;
    let end = request_end(bytes, bytes.len().max(1));
    assert_eq!(request_end(bytes, step % 64 + 1), end, "in steps of {}", step % 64 + 1);
    let Ok(Some((head, end))) = end else {
        return;
    };
    assert!(head <= end && end <= bytes.len());
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut other = httparse::Request::new(&mut fields);
    if let Ok(httparse::Status::Complete(length)) = other.parse(bytes) {
        assert_eq!(length, head);
        let target = other.path.expect("a complete request");
        assert!(!target.bytes().any(|byte| byte <= b' ' || byte == 0x7f));
        let length =
            other.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
        let chunked =
            other.headers.iter().any(|field| field.name.eq_ignore_ascii_case("transfer-encoding"));
        match length {
            Some(length) if !chunked => {
                let length = std::str::from_utf8(length.value).expect("digits");
                assert_eq!(length.parse(), Ok(end - head));
            }
            _ if !chunked => assert_eq!(end, head),
            _ => assert!(bytes[head..end].ends_with(b"\r\n")),
        }
    }
});
