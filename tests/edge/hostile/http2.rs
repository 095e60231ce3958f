//! Fields of HTTP/2 that must not become HTTP/1.1 on their way to the upstream (RFC 9113 sections
//! 8.2 and 8.3). Its frames are in [`super::frames`].

use std::sync::atomic::Ordering;

use super::Expected::{self, Forwarded, NeverWhole, RefusedOrForwarded, RefusedSomehow};
use super::{Bench, PATIENCE};
use crate::support::frames::{
    Connection, END_HEADERS, END_STREAM, HEADERS, Stream, block as literals, frame,
};

/// How a row's fields differ from those of a good request.
#[derive(Debug, Clone, Copy)]
pub enum Change {
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
    /// The header block of the next row; `/api/x` is a path of its own. A character up to U+00FF
    /// stands for that byte.
    pub fn block(&self, changes: &[Change]) -> Vec<u8> {
        let row = self.rows.fetch_add(1, Ordering::Relaxed) + 1;
        let mut fields = self.good(&format!("/api/row-{row}"));
        let bytes = |text: &str| -> Vec<u8> {
            text.replace("/api/x", &format!("/api/row-{row}"))
                .chars()
                .map(|letter| u8::try_from(u32::from(letter)).expect("a byte"))
                .collect()
        };
        for change in changes {
            match change {
                Add(name, value) => fields.push((bytes(name), bytes(value))),
                Front(name, value) => fields.insert(0, (bytes(name), bytes(value))),
                Set(name, value) => fields
                    .iter_mut()
                    .filter(|(field, _)| field == name.as_bytes())
                    .for_each(|(_, field)| *field = bytes(value)),
                Without(name) => fields.retain(|(field, _)| field != name.as_bytes()),
            }
        }
        encode(&fields)
    }

    fn good(&self, path: &str) -> Fields {
        let authorization = format!("Bearer {}", self.token);
        [
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "h"),
            (":path", path),
            ("authorization", &authorization),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .to_vec()
    }

    /// Sends frames of stream 1, a canary as stream 3, and another one elsewhere; what is wrong
    /// with what came of them.
    pub fn judge_frames(&self, name: &str, frames: &[u8], expected: Expected) -> Option<String> {
        let row = self.rows.load(Ordering::Relaxed);
        let mark = self.upstream.mark();
        let next = format!("/next-{row}");
        let mut connection = Connection::open(self.edge.port(), PATIENCE);
        connection.send(frames);
        // A body that is under way has no end to wait for.
        if !matches!(expected, NeverWhole) {
            connection.read_until(1);
        }
        connection.send(&frame(
            HEADERS,
            END_STREAM | END_HEADERS,
            3,
            &encode(&self.good(&format!("/api{next}"))),
        ));
        let answers = connection.read_until(3);
        let (first, canary, closed) = (answers.stream(1), answers.stream(3), answers.closed);
        drop(connection);
        let (seen, next_seen) = match self.edge_is_sane(row).and_then(|()| self.seen(&mark, row)) {
            Ok(seen) => seen,
            Err(why) => return Some(format!("{name}: {why}")),
        };
        let text = |stream: &Stream| String::from_utf8_lossy(&stream.body).into_owned();
        let served = next_seen && canary.status == Some(200) && text(&canary) == next;
        let goes_on = served || (!next_seen && canary.status.is_none() && (closed || canary.reset));
        let refused = seen.is_empty()
            && first.status.is_none_or(|status| status >= 400)
            && (first.status.is_some() || first.reset || closed);
        let forwarded = |body: &str| {
            first.status == Some(200)
                && first.ended
                && seen.first().is_some_and(|request| {
                    request.whole && request.body == body && request.target == text(&first)
                })
        };
        let right = goes_on
            && match expected {
                RefusedSomehow => refused,
                Forwarded(body) => forwarded(body),
                RefusedOrForwarded(body) => refused || forwarded(body),
                _ => {
                    first.status != Some(200)
                        && seen.iter().all(|request| {
                            !request.whole || request.values("content-length") == ["0"]
                        })
                }
            };
        (!right).then(|| {
            format!(
                "{name}: {first:?}, canary: {:?} {}, closed: {closed}, upstream: \
                 {seen:?}, expected {expected:?}",
                canary.status,
                text(&canary)
            )
        })
    }

    #[track_caller]
    fn judge_fields(&self, rows: &[(&str, &[Change], Expected)]) {
        let judge = |(name, changes, expected): &(&str, &[Change], Expected)| {
            self.judge_frames(
                name,
                &frame(HEADERS, END_STREAM | END_HEADERS, 1, &self.block(changes)),
                *expected,
            )
        };
        let wrong: Vec<String> = rows.iter().filter_map(judge).collect();
        assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    }
}

fn encode(fields: &Fields) -> Vec<u8> {
    let fields: Vec<(&[u8], &[u8])> =
        fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
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
        (
            "a pseudo field behind a field",
            &[Without(":path"), Add(":path", "/api/x")],
            RefusedSomehow,
        ),
        ("an unknown pseudo field", &[Front(":evil", "1")], RefusedSomehow),
        ("a status", &[Front(":status", "200")], RefusedSomehow),
        ("a protocol", &[Front(":protocol", "websocket")], RefusedSomehow),
        ("a pseudo field without a name", &[Front(":", "1")], RefusedSomehow),
        (
            "extended CONNECT",
            &[Set(":method", "CONNECT"), Front(":protocol", "websocket")],
            RefusedSomehow,
        ),
        (
            "CONNECT",
            &[Set(":method", "CONNECT"), Without(":path"), Without(":scheme")],
            RefusedSomehow,
        ),
        ("CONNECT with a path", &[Set(":method", "CONNECT")], RefusedSomehow),
        ("TRACE", &[Set(":method", "TRACE")], RefusedSomehow),
        ("an empty path", &[Set(":path", "")], RefusedSomehow),
        ("a relative path", &[Set(":path", "api/x")], RefusedSomehow),
        ("an asterisk", &[Set(":path", "*")], RefusedSomehow),
        ("a URL for a path", &[Set(":path", "http://evil/api/x")], RefusedSomehow),
        ("a blank in the path", &[Set(":path", "/api/x y")], RefusedSomehow),
        (
            "a request line in the path",
            &[Set(":path", "/api/x HTTP/1.1\r\nHost: evil\r\n\r\n")],
            RefusedSomehow,
        ),
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
        (
            "a line in the method",
            &[Set(":method", "GET / HTTP/1.1\r\nHost: evil\r\n\r\nGET")],
            RefusedSomehow,
        ),
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
        (
            "a whole field in a name",
            &[Add("x-a: 1\r\ntransfer-encoding", "chunked")],
            RefusedSomehow,
        ),
        ("LF in a name", &[Add("x\na", "1")], RefusedSomehow),
        ("NUL in a name", &[Add("x\0a", "1")], RefusedSomehow),
        ("a byte outside ASCII in a name", &[Add("xÿ", "1")], RefusedSomehow),
        ("no name", &[Add("", "1")], RefusedSomehow),
        ("CR LF in a value", &[Add("x-a", "1\r\nx-b: 2")], RefusedSomehow),
        (
            "a request in a value",
            &[Add("x-a", "1\r\n\r\nGET /api/smuggled HTTP/1.1\r\nHost: h\r\n\r\n")],
            RefusedSomehow,
        ),
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
        (
            "HTTP2-Settings",
            &[Add("http2-settings", "AAMAAABkAAQCAAAAAAIAAAAA")],
            RefusedOrForwarded(""),
        ),
        ("Transfer_Encoding", &[Add("transfer_encoding", "chunked")], RefusedOrForwarded("")),
        ("Content_Length", &[Add("content_length", "5")], RefusedOrForwarded("")),
        ("a length without a body", &[Add("content-length", "5")], RefusedSomehow),
        ("a length of 0", &[Add("content-length", "0")], Forwarded("")),
        (
            "two lengths of 0",
            &[Add("content-length", "0"), Add("content-length", "0")],
            RefusedSomehow,
        ),
        ("a length with a plus sign", &[Add("content-length", "+0")], RefusedSomehow),
        ("an empty length", &[Add("content-length", "")], RefusedSomehow),
        ("a list of lengths", &[Add("content-length", "0, 0")], RefusedSomehow),
        (
            "a length beyond 64 bits",
            &[Add("content-length", "18446744073709551616")],
            RefusedSomehow,
        ),
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
    let crumbs =
        [Add("cookie", "a=1"), Add("x-a", "1"), Add("cookie", "b=2"), Add("cookie", "c=3; d=4")];
    assert_eq!(
        bench.judge_frames(
            "crumbs",
            &frame(HEADERS, END_STREAM | END_HEADERS, 1, &bench.block(&crumbs)),
            Forwarded("")
        ),
        None
    );
    let seen = bench.upstream.since(&start).unwrap();
    assert_eq!(seen[0].values("cookie"), ["a=1; b=2; c=3; d=4"]);
}

#[test]
fn a_cookie_is_one_field_however_many_crumbs_it_has() {
    let bench = Bench::start();
    let crumbs: Vec<String> = (0..150).map(|at| format!("c{at:03}=xxxxxxxxxxxxxxx")).collect();
    for (others, expected) in [(0, Forwarded("")), (98, Forwarded("")), (99, RefusedSomehow)] {
        let start = bench.upstream.mark();
        let row = bench.rows.fetch_add(1, Ordering::Relaxed) + 1;
        let mut fields = bench.good(&format!("/api/row-{row}"));
        for (at, crumb) in crumbs.iter().enumerate() {
            if at < others {
                fields.push((format!("x-{at}").into(), "1".into()));
            }
            fields.push(("cookie".into(), crumb.clone().into()));
        }
        let head = frame(HEADERS, END_STREAM | END_HEADERS, 1, &encode(&fields));
        assert_eq!(bench.judge_frames(&format!("{others} others"), &head, expected), None);
        let seen = bench.upstream.since(&start).unwrap();
        let row = seen.iter().find(|request| request.target == format!("/row-{row}"));
        if matches!(expected, Forwarded(_)) {
            assert_eq!(row.expect("the row").values("cookie"), [crumbs.join("; ")]);
        }
    }
}

#[test]
fn a_request_without_a_body_says_so_as_http1_does() {
    let bench = Bench::start();
    for (method, length) in [
        ("POST", &["0"][..]),
        ("PUT", &["0"]),
        ("PATCH", &["0"]),
        ("GET", &[]),
        ("DELETE", &[]),
        ("PROPFIND", &[]),
    ] {
        let start = bench.upstream.mark();
        let block = bench.block(&[Set(":method", method)]);
        let head = frame(HEADERS, END_STREAM | END_HEADERS, 1, &block);
        assert_eq!(bench.judge_frames(method, &head, Forwarded("")), None);
        let seen = bench.upstream.since(&start).unwrap();
        let row = seen.iter().find(|request| request.target.starts_with("/row-")).expect("the row");
        assert_eq!(row.values("content-length"), length, "{method}");
        assert!(row.values("transfer-encoding").is_empty(), "{method}");
    }
}
