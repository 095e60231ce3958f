//! HTTP/2 frame by frame: what must not become HTTP/1.1 on its way to the upstream (RFC 9113 sections 8.2 and 8.3).

use std::sync::atomic::Ordering;

use super::Expected::{self, Forwarded, NeverWhole, RefusedOrForwarded, RefusedSomehow};
use super::{Bench, PATIENCE};
use crate::support::frames::{
    CONTINUATION, Connection, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, Stream,
    WINDOW_UPDATE, block as literals, frame,
};

/// How a row's fields differ from those of a good request.
#[derive(Debug, Clone, Copy)]
enum Change {
    /// One more, at the end.
    Add(&'static str, &'static str),
    /// One more, in front.
    Front(&'static str, &'static str),
    Set(&'static str, &'static str),
    Without(&'static str),
}

use Change::{Add, Front, Set, Without};

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

impl Bench {
    /// The header block of the next row; `/api/x` is a path of its own. A character up to U+00FF stands for that byte.
    fn block(&self, changes: &[Change]) -> Vec<u8> {
        let row = self.rows.fetch_add(1, Ordering::Relaxed) + 1;
        let mut fields = self.good(&format!("/api/row-{row}"));
        let bytes = |text: &str| -> Vec<u8> {
            text.replace("/api/x", &format!("/api/row-{row}")).chars().map(|letter| u8::try_from(u32::from(letter)).expect("a byte")).collect()
        };
        for change in changes {
            match change {
                Add(name, value) => fields.push((bytes(name), bytes(value))),
                Front(name, value) => fields.insert(0, (bytes(name), bytes(value))),
                Set(name, value) => fields.iter_mut().filter(|(field, _)| field == name.as_bytes()).for_each(|(_, field)| *field = bytes(value)),
                Without(name) => fields.retain(|(field, _)| field != name.as_bytes()),
            }
        }
        encode(&fields)
    }

    fn good(&self, path: &str) -> Fields {
        let authorization = format!("Bearer {}", self.token);
        [(":method", "GET"), (":scheme", "http"), (":authority", "h"), (":path", path), ("authorization", &authorization)]
            .map(|(name, value)| (name.into(), value.into()))
            .to_vec()
    }

    /// Sends frames of stream 1, a canary as stream 3, and another one elsewhere; what is wrong with what came of them.
    fn judge_frames(&self, name: &str, frames: &[u8], expected: Expected) -> Option<String> {
        let row = self.rows.load(Ordering::Relaxed);
        let mark = self.upstream.mark();
        let next = format!("/next-{row}");
        let started = std::time::Instant::now();
        let mut connection = Connection::open(self.edge.port(), PATIENCE);
        connection.send(frames);
        // A body that is under way has no end to wait for.
        if !matches!(expected, NeverWhole) {
            connection.read_until(1);
        }
        connection.send(&frame(HEADERS, END_STREAM | END_HEADERS, 3, &encode(&self.good(&format!("/api{next}")))));
        let answers = connection.read_until(3);
        let (first, canary, closed) = (answers.stream(1), answers.stream(3), answers.closed);
        if started.elapsed() > std::time::Duration::from_secs(1) {
            eprintln!("SLOW {:?} {name}", started.elapsed());
        }
        drop(connection);
        let (seen, next_seen) = match self.edge_is_sane(row).and_then(|()| self.seen(&mark, row)) {
            Ok(seen) => seen,
            Err(why) => return Some(format!("{name}: {why}")),
        };
        let text = |stream: &Stream| String::from_utf8_lossy(&stream.body).into_owned();
        let served = next_seen && canary.status == Some(200) && text(&canary) == next;
        let goes_on = served || (!next_seen && canary.status.is_none() && (closed || canary.reset));
        let refused = seen.is_empty() && first.status.is_none_or(|status| status >= 400) && (first.status.is_some() || first.reset || closed);
        let forwarded = |body: &str| {
            first.status == Some(200)
                && first.ended
                && seen.first().is_some_and(|request| request.whole && request.body == body && request.target == text(&first))
        };
        let right = goes_on
            && match expected {
                RefusedSomehow => refused,
                Forwarded(body) => forwarded(body),
                RefusedOrForwarded(body) => refused || forwarded(body),
                _ => first.status != Some(200) && seen.iter().all(|request| !request.whole || request.values("content-length") == ["0"]),
            };
        (!right)
            .then(|| format!("{name}: {first:?}, canary: {:?} {}, closed: {closed}, upstream: {seen:?}, expected {expected:?}", canary.status, text(&canary)))
    }

    #[track_caller]
    fn judge_fields(&self, rows: &[(&str, &[Change], Expected)]) {
        let judge = |(name, changes, expected): &(&str, &[Change], Expected)| {
            self.judge_frames(name, &frame(HEADERS, END_STREAM | END_HEADERS, 1, &self.block(changes)), *expected)
        };
        let wrong: Vec<String> = rows.iter().filter_map(judge).collect();
        assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    }
}

fn encode(fields: &Fields) -> Vec<u8> {
    let fields: Vec<(&[u8], &[u8])> = fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
    literals(&fields)
}

#[test]
fn pseudo_fields_make_one_request() {
    Bench::start().judge_fields(&[
        ("a good request", &[], Forwarded("")),
        ("no method", &[Without(":method")], RefusedSomehow),
        ("no scheme", &[Without(":scheme")], RefusedSomehow),
        ("no path", &[Without(":path")], RefusedSomehow),
        ("no authority", &[Without(":authority")], RefusedSomehow),
        ("Host for the authority", &[Without(":authority"), Add("host", "h")], Forwarded("")),
        ("Host like the authority", &[Add("host", "h")], Forwarded("")),
        ("Host unlike the authority", &[Add("host", "evil")], RefusedSomehow),
        ("Host with another port", &[Add("host", "h:81")], RefusedSomehow),
        ("an empty Host", &[Add("host", "")], RefusedSomehow),
        ("two Hosts", &[Add("host", "h"), Add("host", "h")], RefusedSomehow),
        ("two methods", &[Front(":method", "POST")], RefusedSomehow),
        ("two schemes", &[Front(":scheme", "https")], RefusedSomehow),
        ("two paths", &[Front(":path", "/api/smuggled")], RefusedSomehow),
        ("two authorities", &[Front(":authority", "evil")], RefusedSomehow),
        ("a pseudo field behind a field", &[Without(":path"), Add(":path", "/api/x")], RefusedSomehow),
        ("an unknown pseudo field", &[Front(":evil", "1")], RefusedSomehow),
        ("a status", &[Front(":status", "200")], RefusedSomehow),
        ("a protocol", &[Front(":protocol", "websocket")], RefusedSomehow),
        ("a pseudo field without a name", &[Front(":", "1")], RefusedSomehow),
        ("extended CONNECT", &[Set(":method", "CONNECT"), Front(":protocol", "websocket")], RefusedSomehow),
        ("CONNECT", &[Set(":method", "CONNECT"), Without(":path"), Without(":scheme")], RefusedSomehow),
        ("CONNECT with a path", &[Set(":method", "CONNECT")], RefusedSomehow),
        ("TRACE", &[Set(":method", "TRACE")], RefusedSomehow),
        ("an empty path", &[Set(":path", "")], RefusedSomehow),
        ("a relative path", &[Set(":path", "api/x")], RefusedSomehow),
        ("an asterisk", &[Set(":path", "*")], RefusedSomehow),
        ("a URL for a path", &[Set(":path", "http://evil/api/x")], RefusedSomehow),
        ("a blank in the path", &[Set(":path", "/api/x y")], RefusedSomehow),
        ("a request line in the path", &[Set(":path", "/api/x HTTP/1.1\r\nHost: evil\r\n\r\n")], RefusedSomehow),
        ("LF in the path", &[Set(":path", "/api/x\ny")], RefusedSomehow),
        ("CR in the path", &[Set(":path", "/api/x\ry")], RefusedSomehow),
        ("NUL in the path", &[Set(":path", "/api/x\0")], RefusedSomehow),
        ("a tab in the path", &[Set(":path", "/api/x\ty")], RefusedSomehow),
        ("0x7F in the path", &[Set(":path", "/api/x\x7f")], RefusedSomehow),
        ("a byte outside ASCII in the path", &[Set(":path", "/api/xé")], RefusedSomehow),
        ("a fragment in the path", &[Set(":path", "/api/x#y")], RefusedOrForwarded("")),
        ("a backslash in the path", &[Set(":path", "/api\\x")], RefusedSomehow),
        ("an escaped line in the path", &[Set(":path", "/api/x%0d%0aX-A:%201")], RefusedSomehow),
        ("a line in the query", &[Set(":path", "/api/x?y=\r\nX-A: 1")], RefusedSomehow),
        ("a blank in the method", &[Set(":method", "GET /api/smuggled HTTP/1.1")], RefusedSomehow),
        ("a line in the method", &[Set(":method", "GET / HTTP/1.1\r\nHost: evil\r\n\r\nGET")], RefusedSomehow),
        ("an empty method", &[Set(":method", "")], RefusedSomehow),
        ("a colon in the method", &[Set(":method", "GET:")], RefusedSomehow),
        ("a NUL in the method", &[Set(":method", "G\0ET")], RefusedSomehow),
        ("a scheme that is none", &[Set(":scheme", "ht tp")], RefusedSomehow),
        ("a scheme with a URL", &[Set(":scheme", "http://evil/?")], RefusedSomehow),
        ("a scheme with a line", &[Set(":scheme", "http\r\nX-A: 1")], RefusedSomehow),
        ("another scheme", &[Set(":scheme", "ftp")], RefusedOrForwarded("")),
        ("an empty scheme", &[Set(":scheme", "")], RefusedOrForwarded("")),
        ("a user in the authority", &[Set(":authority", "user@h")], RefusedSomehow),
        ("a path in the authority", &[Set(":authority", "h/evil")], RefusedSomehow),
        ("a blank in the authority", &[Set(":authority", "h evil")], RefusedSomehow),
        ("a line in the authority", &[Set(":authority", "h\r\nX-A: 1")], RefusedSomehow),
        ("a list of authorities", &[Set(":authority", "h, evil")], RefusedSomehow),
        ("a port that is none", &[Set(":authority", "h:x")], RefusedSomehow),
        ("an empty authority", &[Set(":authority", "")], RefusedSomehow),
        ("a backslash in the authority", &[Set(":authority", "h\\evil")], RefusedSomehow),
    ]);
}

#[test]
fn fields_of_http2_make_sound_fields_of_http1() {
    Bench::start().judge_fields(&[
        ("a capital letter in a name", &[Add("X-A", "1")], RefusedSomehow),
        ("a colon in a name", &[Add("x:a", "1")], RefusedSomehow),
        ("a blank in a name", &[Add("x a", "1")], RefusedSomehow),
        ("a blank behind a name", &[Add("transfer-encoding ", "chunked")], RefusedSomehow),
        ("a whole field in a name", &[Add("x-a: 1\r\ntransfer-encoding", "chunked")], RefusedSomehow),
        ("LF in a name", &[Add("x\na", "1")], RefusedSomehow),
        ("NUL in a name", &[Add("x\0a", "1")], RefusedSomehow),
        ("a byte outside ASCII in a name", &[Add("xÿ", "1")], RefusedSomehow),
        ("no name", &[Add("", "1")], RefusedSomehow),
        ("CR LF in a value", &[Add("x-a", "1\r\nx-b: 2")], RefusedSomehow),
        ("a request in a value", &[Add("x-a", "1\r\n\r\nGET /api/smuggled HTTP/1.1\r\nHost: h\r\n\r\n")], RefusedSomehow),
        ("LF in a value", &[Add("x-a", "1\nx-b: 2")], RefusedSomehow),
        ("CR in a value", &[Add("x-a", "1\rx-b: 2")], RefusedSomehow),
        ("NUL in a value", &[Add("x-a", "1\x002")], RefusedSomehow),
        ("0x7F in a value", &[Add("x-a", "1\x7f")], RefusedOrForwarded("")),
        ("blanks around a value", &[Add("x-a", " 1 ")], RefusedOrForwarded("")),
        ("a tab in a value", &[Add("x-a", "1\t2")], RefusedOrForwarded("")),
        ("a byte outside ASCII in a value", &[Add("x-a", "é")], RefusedOrForwarded("")),
        ("Connection", &[Add("connection", "close")], RefusedSomehow),
        ("Connection: Authorization", &[Add("connection", "authorization")], RefusedSomehow),
        ("Transfer-Encoding", &[Add("transfer-encoding", "chunked")], RefusedSomehow),
        ("Transfer-Encoding: identity", &[Add("transfer-encoding", "identity")], RefusedSomehow),
        ("Upgrade", &[Add("upgrade", "websocket")], RefusedSomehow),
        ("Keep-Alive", &[Add("keep-alive", "timeout=5")], RefusedSomehow),
        ("Proxy-Connection", &[Add("proxy-connection", "close")], RefusedSomehow),
        ("TE", &[Add("te", "gzip")], RefusedSomehow),
        ("TE: trailers", &[Add("te", "trailers")], RefusedOrForwarded("")),
        ("HTTP2-Settings", &[Add("http2-settings", "AAMAAABkAAQCAAAAAAIAAAAA")], RefusedOrForwarded("")),
        ("Transfer_Encoding", &[Add("transfer_encoding", "chunked")], RefusedOrForwarded("")),
        ("Content_Length", &[Add("content_length", "5")], RefusedOrForwarded("")),
        ("a length without a body", &[Add("content-length", "5")], RefusedSomehow),
        ("a length of 0", &[Add("content-length", "0")], Forwarded("")),
        ("two lengths of 0", &[Add("content-length", "0"), Add("content-length", "0")], RefusedSomehow),
        ("a length with a plus sign", &[Add("content-length", "+0")], RefusedSomehow),
        ("an empty length", &[Add("content-length", "")], RefusedSomehow),
        ("a list of lengths", &[Add("content-length", "0, 0")], RefusedSomehow),
        ("a length beyond 64 bits", &[Add("content-length", "18446744073709551616")], RefusedSomehow),
        ("the subject", &[Add("x-auth-subject", "root")], Forwarded("")),
        ("the subject with underscores", &[Add("x_auth_subject", "root")], Forwarded("")),
        ("X-Forwarded-For", &[Add("x-forwarded-for", "6.6.6.6")], Forwarded("")),
        ("X_Forwarded_Host", &[Add("x_forwarded_host", "evil")], Forwarded("")),
        ("X-Original-URL", &[Add("x-original-url", "/admin")], Forwarded("")),
        ("two tokens", &[Add("authorization", "Bearer evil")], RefusedSomehow),
        ("Expect", &[Add("expect", "100-continue")], RefusedOrForwarded("")),
    ]);
}

#[test]
fn crumbs_of_a_cookie_are_joined() {
    let bench = Bench::start();
    let start = bench.upstream.mark();
    let crumbs = [Add("cookie", "a=1"), Add("x-a", "1"), Add("cookie", "b=2"), Add("cookie", "c=3; d=4")];
    assert_eq!(bench.judge_frames("crumbs", &frame(HEADERS, END_STREAM | END_HEADERS, 1, &bench.block(&crumbs)), Forwarded("")), None);
    let seen = bench.upstream.since(&start).unwrap();
    assert_eq!(seen[0].values("cookie"), ["a=1; b=2; c=3; d=4"]);
}

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

#[test]
fn bodies_of_http2_have_one_length() {
    const LENGTH_5: &[Change] = &[Set(":method", "POST"), Add("content-length", "5")];
    const NO_LENGTH: &[Change] = &[Set(":method", "POST")];
    const ON_GET: &[Change] = &[];
    let rows: &[(&str, &[Change], Frames, Expected)] = &[
        ("as long as it says", LENGTH_5, |block| [head(block), last(b"hello")].concat(), Forwarded("hello")),
        ("no length", NO_LENGTH, |block| [head(block), last(b"hello")].concat(), Forwarded("hello")),
        ("on a GET", ON_GET, |block| [head(block), last(b"hello")].concat(), Forwarded("hello")),
        ("longer than it says", LENGTH_5, |block| [head(block), last(b"hello!")].concat(), NeverWhole),
        ("longer, in a second frame", LENGTH_5, |block| [head(block), data(b"hello"), last(b"!")].concat(), NeverWhole),
        ("longer by a request", LENGTH_5, |block| [head(block), data(b"hello"), last(b"GET /api/smuggled HTTP/1.1\r\nHost: h\r\n\r\n")].concat(), NeverWhole),
        ("shorter than it says", LENGTH_5, |block| [head(block), last(b"hell")].concat(), NeverWhole),
        ("none where it says 5", LENGTH_5, |block| [head(block), last(b"")].concat(), NeverWhole),
        ("shorter, with trailers", LENGTH_5, |block| [head(block), data(b"hell"), trailers(&[(b"x-a", b"1")])].concat(), NeverWhole),
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
        ("padding", LENGTH_5, |block| [head(block), frame(DATA, END_STREAM | PADDED, 1, b"\x03hello\0\0\0")].concat(), Forwarded("hello")),
        ("padding only", NO_LENGTH, |block| [head(block), frame(DATA, PADDED, 1, b"\x03\0\0\0"), last(b"hello")].concat(), Forwarded("hello")),
        (
            "padding that looks like a request",
            NO_LENGTH,
            |block| [head(block), frame(DATA, END_STREAM | PADDED, 1, b"\x12helloGET / HTTP/1.1\r\n\r\n")].concat(),
            Forwarded("hello"),
        ),
        ("more padding than there is", NO_LENGTH, |block| [head(block), frame(DATA, END_STREAM | PADDED, 1, b"\x09hello")].concat(), NeverWhole),
        (
            "a chunk as the body",
            NO_LENGTH,
            |block| [head(block), last(b"0\r\n\r\nGET /api/smuggled HTTP/1.1\r\n\r\n")].concat(),
            Forwarded("0\r\n\r\nGET /api/smuggled HTTP/1.1\r\n\r\n"),
        ),
        ("empty frames", NO_LENGTH, |block| [head(block), data(b"").repeat(50), data(b"hello"), data(b""), last(b"")].concat(), Forwarded("hello")),
        ("trailers", NO_LENGTH, |block| [head(block), data(b"hello"), trailers(&[(b"x-a", b"1")])].concat(), RefusedOrForwarded("hello")),
        (
            "trailers with a pseudo field",
            NO_LENGTH,
            |block| [head(block), data(b"hello"), trailers(&[(b":path", b"/api/smuggled")])].concat(),
            RefusedOrForwarded("hello"),
        ),
        (
            "trailers with a length",
            NO_LENGTH,
            |block| [head(block), data(b"hello"), trailers(&[(b"content-length", b"300")])].concat(),
            RefusedOrForwarded("hello"),
        ),
        ("trailers with an encoding", NO_LENGTH, |block| [head(block), data(b"hello"), trailers(&[(b"transfer-encoding", b"chunked")])].concat(), NeverWhole),
        (
            "trailers with an identity",
            NO_LENGTH,
            |block| [head(block), data(b"hello"), trailers(&[(b"x-auth-subject", b"root")])].concat(),
            RefusedOrForwarded("hello"),
        ),
        (
            "trailers with a line",
            NO_LENGTH,
            |block| [head(block), data(b"hello"), trailers(&[(b"x-a", b"1\r\n\r\nGET / HTTP/1.1\r\n\r\n")])].concat(),
            NeverWhole,
        ),
        (
            "trailers without an end",
            NO_LENGTH,
            |block| [head(block), data(b"hello"), frame(HEADERS, END_HEADERS, 1, &literals(&[(b"x-a", b"1")]))].concat(),
            NeverWhole,
        ),
        ("data behind the end", NO_LENGTH, |block| [head(block), last(b"hello"), data(b"GET / HTTP/1.1\r\n\r\n")].concat(), RefusedOrForwarded("hello")),
        ("a reset instead of an end", NO_LENGTH, |block| [head(block), data(b"hello"), frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])].concat(), NeverWhole),
        ("the end of the connection instead", NO_LENGTH, |block| [head(block), data(b"hello"), frame(GOAWAY, 0, 0, &[0; 8])].concat(), NeverWhole),
    ];
    let bench = Bench::start();
    let judge = |(name, changes, frames, expected): &(&str, &[Change], Frames, Expected)| bench.judge_frames(name, &frames(&bench.block(changes)), *expected);
    let wrong: Vec<String> = rows.iter().filter_map(judge).collect();
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[test]
fn frames_out_of_order_are_no_request() {
    const NONE: &[Change] = &[];
    let rows: &[(&str, Frames, Expected)] = &[
        (
            "in three frames",
            |block| {
                [frame(HEADERS, END_STREAM, 1, &block[..9]), frame(CONTINUATION, 0, 1, &block[9..20]), frame(CONTINUATION, END_HEADERS, 1, &block[20..])]
                    .concat()
            },
            Forwarded(""),
        ),
        (
            "another frame between",
            |block| [frame(HEADERS, END_STREAM, 1, &block[..9]), frame(PING, 0, 0, &[0; 8]), frame(CONTINUATION, END_HEADERS, 1, &block[9..])].concat(),
            RefusedSomehow,
        ),
        (
            "another stream between",
            |block| [frame(HEADERS, END_STREAM, 1, &block[..9]), frame(CONTINUATION, END_HEADERS, 5, &block[9..])].concat(),
            RefusedSomehow,
        ),
        ("a continuation of nothing", |block| frame(CONTINUATION, END_HEADERS, 1, block), RefusedSomehow),
        ("data without a head", |_| last(b"hello"), RefusedSomehow),
        ("a head on stream 0", |block| frame(HEADERS, END_STREAM | END_HEADERS, 0, block), RefusedSomehow),
        ("a head on an even stream", |block| frame(HEADERS, END_STREAM | END_HEADERS, 2, block), RefusedSomehow),
        ("a push", |block| frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2], block].concat()), RefusedSomehow),
        (
            "a stream that depends on itself",
            |block| [frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 0]), frame(HEADERS, END_STREAM | END_HEADERS, 1, block)].concat(),
            RefusedOrForwarded(""),
        ),
        (
            "a window of 2^31",
            |block| [frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]), frame(HEADERS, END_STREAM | END_HEADERS, 1, block)].concat(),
            RefusedSomehow,
        ),
        ("settings of a wrong length", |block| [frame(SETTINGS, 0, 0, &[0; 5]), frame(HEADERS, END_STREAM | END_HEADERS, 1, block)].concat(), RefusedSomehow),
        ("an index that is not there", |_| frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0xff, 0x80, 0x01]), RefusedSomehow),
        ("half a header block", |block| frame(HEADERS, END_STREAM | END_HEADERS, 1, &block[..block.len() - 3]), RefusedSomehow),
        (
            "a length of HPACK without an end",
            |_| frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0x10, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
            RefusedSomehow,
        ),
        ("a frame of 20,000 bytes", |block| [head(block), last(&[b'x'; 20_000])].concat(), RefusedSomehow),
        ("a request of HTTP/1.1", |_| b"GET /api/smuggled HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), RefusedSomehow),
        (
            "an unknown frame",
            |block| [frame(0xfa, 0xff, 1, b"GET / HTTP/1.1\r\n\r\n"), frame(HEADERS, END_STREAM | END_HEADERS, 1, block)].concat(),
            RefusedOrForwarded(""),
        ),
        (
            "the preface again",
            |block| [frame(HEADERS, END_STREAM | END_HEADERS, 1, block), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()].concat(),
            RefusedOrForwarded(""),
        ),
    ];
    let bench = Bench::start();
    let judge = |(name, frames, expected): &(&str, Frames, Expected)| bench.judge_frames(name, &frames(&bench.block(NONE)), *expected);
    let wrong: Vec<String> = rows.iter().filter_map(judge).collect();
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[test]
fn floods_end_somewhere_and_drown_nobody() {
    let rows: &[(&str, Frames, Expected)] = &[
        (
            "continuations without an end",
            |block| [frame(HEADERS, END_STREAM, 1, &block[..9]), frame(CONTINUATION, 0, 1, &[0x10; 0]).repeat(20_000)].concat(),
            RefusedSomehow,
        ),
        (
            "continuations full of fields",
            |block| {
                let more = literals(&[(b"x-a", &[b'x'; 4000])]).repeat(4);
                [frame(HEADERS, END_STREAM, 1, block), frame(CONTINUATION, 0, 1, &more).repeat(100)].concat()
            },
            RefusedSomehow,
        ),
        (
            "a thousand fields",
            |block| frame(HEADERS, END_STREAM | END_HEADERS, 1, &[block, &literals(&[(b"x-a", b"1")]).repeat(1000)].concat()),
            RefusedSomehow,
        ),
        ("empty data", |block| [head(block), data(b"").repeat(10_000), last(b"hello")].concat(), RefusedOrForwarded("hello")),
        ("settings", |block| [frame(SETTINGS, 0, 0, &[]).repeat(5_000), frame(HEADERS, END_STREAM | END_HEADERS, 1, block)].concat(), RefusedOrForwarded("")),
        ("pings", |block| [frame(PING, 0, 0, &[0; 8]).repeat(5_000), frame(HEADERS, END_STREAM | END_HEADERS, 1, block)].concat(), RefusedOrForwarded("")),
    ];
    let bench = Bench::start();
    let judge = |(name, frames, expected): &(&str, Frames, Expected)| bench.judge_frames(name, &frames(&bench.block(&[])), *expected);
    let wrong: Vec<String> = rows.iter().filter_map(judge).collect();
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}
