//! HTTP/2 frame by frame: bodies that are not as long as they say, frames out of order, and floods.

use super::Bench;
use super::Expected::{self, Forwarded, NeverWhole, RefusedOrForwarded, RefusedSomehow};
use super::http2::Change::{self, Add, Set};
use crate::support::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PRIORITY,
    PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, block as literals, frame,
};

/// The frames of a row of a header block.
type Frames = fn(&[u8]) -> Vec<u8>;

fn head(block: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, 1, block)
}

fn data(body: &[u8]) -> Vec<u8> {
    frame(DATA, 0, 1, body)
}

fn last(body: &[u8]) -> Vec<u8> {
    frame(DATA, END_STREAM, 1, body)
}

fn trailers(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, 1, &literals(fields))
}

/// Judges rows whose header block is that of a good request.
#[track_caller]
fn judge_all(rows: &[(&str, Frames, Expected)]) {
    let bench = Bench::start();
    let judge = |(name, frames, expected): &(&str, Frames, Expected)| {
        bench.judge_frames(name, &frames(&bench.block(&[])), *expected)
    };
    let wrong: Vec<String> = rows.iter().filter_map(judge).collect();
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[test]
fn bodies_of_http2_have_one_length() {
    const LENGTH_5: &[Change] = &[Set(":method", "POST"), Add("content-length", "5")];
    const NO_LENGTH: &[Change] = &[Set(":method", "POST")];
    const ON_GET: &[Change] = &[];
    let rows: &[(&str, &[Change], Frames, Expected)] = &[
        (
            "as long as it says",
            LENGTH_5,
            |block| [head(block), last(b"hello")].concat(),
            Forwarded("hello"),
        ),
        (
            "no length",
            NO_LENGTH,
            |block| [head(block), last(b"hello")].concat(),
            Forwarded("hello"),
        ),
        ("on a GET", ON_GET, |block| [head(block), last(b"hello")].concat(), Forwarded("hello")),
        (
            "longer than it says",
            LENGTH_5,
            |block| [head(block), last(b"hello!")].concat(),
            NeverWhole,
        ),
        (
            "longer, in a second frame",
            LENGTH_5,
            |block| [head(block), data(b"hello"), last(b"!")].concat(),
            NeverWhole,
        ),
        (
            "longer by a request",
            LENGTH_5,
            |block| {
                [
                    head(block),
                    data(b"hello"),
                    last(b"GET /api/smuggled HTTP/1.1\r\nHost: h\r\n\r\n"),
                ]
                .concat()
            },
            NeverWhole,
        ),
        (
            "shorter than it says",
            LENGTH_5,
            |block| [head(block), last(b"hell")].concat(),
            NeverWhole,
        ),
        ("none where it says 5", LENGTH_5, |block| [head(block), last(b"")].concat(), NeverWhole),
        (
            "shorter, with trailers",
            LENGTH_5,
            |block| [head(block), data(b"hell"), trailers(&[(b"x-a", b"1")])].concat(),
            NeverWhole,
        ),
        (
            "a length of 0 with a body",
            &[Set(":method", "POST"), Add("content-length", "0")],
            |block| [head(block), last(b"GET / HTTP/1.1\r\n\r\n")].concat(),
            NeverWhole,
        ),
        (
            "the same length twice",
            &[Set(":method", "POST"), Add("content-length", "5"), Add("content-length", "5")],
            |block| [head(block), last(b"hello")].concat(),
            RefusedSomehow,
        ),
        (
            "two lengths",
            &[Set(":method", "POST"), Add("content-length", "5"), Add("content-length", "6")],
            |block| [head(block), last(b"hello")].concat(),
            RefusedSomehow,
        ),
        (
            "padding",
            LENGTH_5,
            |block| [head(block), frame(DATA, END_STREAM | PADDED, 1, b"\x03hello\0\0\0")].concat(),
            Forwarded("hello"),
        ),
        (
            "padding only",
            NO_LENGTH,
            |block| [head(block), frame(DATA, PADDED, 1, b"\x03\0\0\0"), last(b"hello")].concat(),
            Forwarded("hello"),
        ),
        (
            "padding that looks like a request",
            NO_LENGTH,
            |block| {
                [
                    head(block),
                    frame(DATA, END_STREAM | PADDED, 1, b"\x12helloGET / HTTP/1.1\r\n\r\n"),
                ]
                .concat()
            },
            Forwarded("hello"),
        ),
        (
            "more padding than there is",
            NO_LENGTH,
            |block| [head(block), frame(DATA, END_STREAM | PADDED, 1, b"\x09hello")].concat(),
            NeverWhole,
        ),
        (
            "a chunk as the body",
            NO_LENGTH,
            |block| [head(block), last(b"0\r\n\r\nGET /api/smuggled HTTP/1.1\r\n\r\n")].concat(),
            Forwarded("0\r\n\r\nGET /api/smuggled HTTP/1.1\r\n\r\n"),
        ),
        (
            "empty frames",
            NO_LENGTH,
            |block| {
                [head(block), data(b"").repeat(50), data(b"hello"), data(b""), last(b"")].concat()
            },
            Forwarded("hello"),
        ),
        (
            "trailers",
            NO_LENGTH,
            |block| [head(block), data(b"hello"), trailers(&[(b"x-a", b"1")])].concat(),
            RefusedOrForwarded("hello"),
        ),
        (
            "trailers with a pseudo field",
            NO_LENGTH,
            |block| {
                [head(block), data(b"hello"), trailers(&[(b":path", b"/api/smuggled")])].concat()
            },
            RefusedOrForwarded("hello"),
        ),
        (
            "trailers with a length",
            NO_LENGTH,
            |block| {
                [head(block), data(b"hello"), trailers(&[(b"content-length", b"300")])].concat()
            },
            RefusedOrForwarded("hello"),
        ),
        (
            "trailers with an encoding",
            NO_LENGTH,
            |block| {
                [head(block), data(b"hello"), trailers(&[(b"transfer-encoding", b"chunked")])]
                    .concat()
            },
            NeverWhole,
        ),
        (
            "trailers with an identity",
            NO_LENGTH,
            |block| {
                [head(block), data(b"hello"), trailers(&[(b"x-auth-subject", b"root")])].concat()
            },
            RefusedOrForwarded("hello"),
        ),
        (
            "trailers with a line",
            NO_LENGTH,
            |block| {
                [
                    head(block),
                    data(b"hello"),
                    trailers(&[(b"x-a", b"1\r\n\r\nGET / HTTP/1.1\r\n\r\n")]),
                ]
                .concat()
            },
            NeverWhole,
        ),
        (
            "trailers without an end",
            NO_LENGTH,
            |block| {
                [
                    head(block),
                    data(b"hello"),
                    frame(HEADERS, END_HEADERS, 1, &literals(&[(b"x-a", b"1")])),
                ]
                .concat()
            },
            NeverWhole,
        ),
        (
            "data behind the end",
            NO_LENGTH,
            |block| [head(block), last(b"hello"), data(b"GET / HTTP/1.1\r\n\r\n")].concat(),
            RefusedOrForwarded("hello"),
        ),
        (
            "a reset instead of an end",
            NO_LENGTH,
            |block| [head(block), data(b"hello"), frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])].concat(),
            NeverWhole,
        ),
        (
            "the end of the connection instead",
            NO_LENGTH,
            |block| [head(block), data(b"hello"), frame(GOAWAY, 0, 0, &[0; 8])].concat(),
            NeverWhole,
        ),
    ];
    let bench = Bench::start();
    let judge = |(name, changes, frames, expected): &(&str, &[Change], Frames, Expected)| {
        bench.judge_frames(name, &frames(&bench.block(changes)), *expected)
    };
    let wrong: Vec<String> = rows.iter().filter_map(judge).collect();
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[test]
fn frames_out_of_order_are_no_request() {
    let rows: &[(&str, Frames, Expected)] = &[
        (
            "in three frames",
            |block| {
                [
                    frame(HEADERS, END_STREAM, 1, &block[..9]),
                    frame(CONTINUATION, 0, 1, &block[9..20]),
                    frame(CONTINUATION, END_HEADERS, 1, &block[20..]),
                ]
                .concat()
            },
            Forwarded(""),
        ),
        (
            "another frame between",
            |block| {
                [
                    frame(HEADERS, END_STREAM, 1, &block[..9]),
                    frame(PING, 0, 0, &[0; 8]),
                    frame(CONTINUATION, END_HEADERS, 1, &block[9..]),
                ]
                .concat()
            },
            RefusedSomehow,
        ),
        (
            "another stream between",
            |block| {
                [
                    frame(HEADERS, END_STREAM, 1, &block[..9]),
                    frame(CONTINUATION, END_HEADERS, 5, &block[9..]),
                ]
                .concat()
            },
            RefusedSomehow,
        ),
        (
            "a continuation of nothing",
            |block| frame(CONTINUATION, END_HEADERS, 1, block),
            RefusedSomehow,
        ),
        ("data without a head", |_| last(b"hello"), RefusedSomehow),
        (
            "a head on stream 0",
            |block| frame(HEADERS, END_STREAM | END_HEADERS, 0, block),
            RefusedSomehow,
        ),
        (
            "a head on an even stream",
            |block| frame(HEADERS, END_STREAM | END_HEADERS, 2, block),
            RefusedSomehow,
        ),
        (
            "a push",
            |block| frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2], block].concat()),
            RefusedSomehow,
        ),
        (
            "a stream that depends on itself",
            |block| {
                [
                    frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 0]),
                    frame(HEADERS, END_STREAM | END_HEADERS, 1, block),
                ]
                .concat()
            },
            RefusedOrForwarded(""),
        ),
        (
            "a window of 2^31",
            |block| {
                [
                    frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
                    frame(HEADERS, END_STREAM | END_HEADERS, 1, block),
                ]
                .concat()
            },
            RefusedSomehow,
        ),
        (
            "settings of a wrong length",
            |block| {
                [frame(SETTINGS, 0, 0, &[0; 5]), frame(HEADERS, END_STREAM | END_HEADERS, 1, block)]
                    .concat()
            },
            RefusedSomehow,
        ),
        (
            "an index that is not there",
            |_| frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0xff, 0x80, 0x01]),
            RefusedSomehow,
        ),
        (
            "half a header block",
            |block| frame(HEADERS, END_STREAM | END_HEADERS, 1, &block[..block.len() - 3]),
            RefusedSomehow,
        ),
        (
            "a length of HPACK without an end",
            |_| {
                frame(
                    HEADERS,
                    END_STREAM | END_HEADERS,
                    1,
                    &[0x10, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
                )
            },
            RefusedSomehow,
        ),
        (
            "a frame of 20,000 bytes",
            |block| [head(block), last(&[b'x'; 20_000])].concat(),
            RefusedSomehow,
        ),
        (
            "a request of HTTP/1.1",
            |_| b"GET /api/smuggled HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
            RefusedSomehow,
        ),
        (
            "an unknown frame",
            |block| {
                [
                    frame(0xfa, 0xff, 1, b"GET / HTTP/1.1\r\n\r\n"),
                    frame(HEADERS, END_STREAM | END_HEADERS, 1, block),
                ]
                .concat()
            },
            RefusedOrForwarded(""),
        ),
        (
            "the preface again",
            |block| {
                [
                    frame(HEADERS, END_STREAM | END_HEADERS, 1, block),
                    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
                ]
                .concat()
            },
            RefusedOrForwarded(""),
        ),
    ];
    judge_all(rows);
}

#[test]
fn floods_end_somewhere_and_drown_nobody() {
    let rows: &[(&str, Frames, Expected)] = &[
        (
            "continuations without an end",
            |block| {
                [
                    frame(HEADERS, END_STREAM, 1, &block[..9]),
                    frame(CONTINUATION, 0, 1, &[0x10; 0]).repeat(20_000),
                ]
                .concat()
            },
            RefusedSomehow,
        ),
        (
            "continuations full of fields",
            |block| {
                let more = literals(&[(b"x-a", &[b'x'; 4000])]).repeat(4);
                [frame(HEADERS, END_STREAM, 1, block), frame(CONTINUATION, 0, 1, &more).repeat(100)]
                    .concat()
            },
            RefusedSomehow,
        ),
        (
            "a thousand fields",
            |block| {
                frame(
                    HEADERS,
                    END_STREAM | END_HEADERS,
                    1,
                    &[block, &literals(&[(b"x-a", b"1")]).repeat(1000)].concat(),
                )
            },
            RefusedSomehow,
        ),
        (
            "empty data",
            |block| [head(block), data(b"").repeat(10_000), last(b"hello")].concat(),
            RefusedOrForwarded("hello"),
        ),
        (
            "settings",
            |block| {
                [
                    frame(SETTINGS, 0, 0, &[]).repeat(5_000),
                    frame(HEADERS, END_STREAM | END_HEADERS, 1, block),
                ]
                .concat()
            },
            RefusedOrForwarded(""),
        ),
        (
            "pings",
            |block| {
                [
                    frame(PING, 0, 0, &[0; 8]).repeat(5_000),
                    frame(HEADERS, END_STREAM | END_HEADERS, 1, block),
                ]
                .concat()
            },
            RefusedOrForwarded(""),
        ),
    ];
    judge_all(rows);
}
