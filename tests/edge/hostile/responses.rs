//! Upstreams that answer what is no response, or more than one: no client may ever get a part of
//! another's answer, and nothing broken may look whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::recorder::{Recorder, Reply, own_answer};
use super::{Bench, PATIENCE};
use crate::support::Framing;
use crate::support::poll::becomes_true;

/// What the client must get.
#[derive(Debug, Clone, Copy)]
enum Told {
    /// 502, or an answer that is cut off before its end with the connection closed.
    Broken,
    /// The status and this body, whole.
    Whole(u16, &'static str),
    /// One of the two.
    BrokenOrWhole(u16, &'static str),
}

use Told::{Broken, BrokenOrWhole, Whole};

/// `{S}` stands for a whole response that nobody asked for.
const STOLEN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen";

const ANSWERS: &[(&str, &str, Told)] = &[
    ("a good one", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Whole(200, "hello")),
    (
        "in chunks",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        Whole(200, "hello"),
    ),
    // Frames. A blank before the colon is for us to remove (RFC 9112 section 5.1).
    (
        "length and chunks",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n\
         0\r\n\r\n",
        BrokenOrWhole(200, "hello"),
    ),
    (
        "chunks and length",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 100\r\n\r\n5\r\n\
         hello\r\n0\r\n\r\n",
        BrokenOrWhole(200, "hello"),
    ),
    (
        "two lengths",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        Broken,
    ),
    (
        "two lengths, then another answer",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 50\r\n\r\n{S}",
        Broken,
    ),
    (
        "the same length twice",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        BrokenOrWhole(200, "hello"),
    ),
    ("a list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello!", Broken),
    (
        "a list of equal lengths",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
        BrokenOrWhole(200, "hello"),
    ),
    ("a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello", Broken),
    (
        "a length with a plus sign",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        BrokenOrWhole(200, "hello"),
    ),
    ("a length in hexadecimal", "HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\nhello", Broken),
    ("a length in words", "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello", Broken),
    (
        "a length beyond 64 bits",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nhello",
        Broken,
    ),
    (
        "a length of 2^64 - 1",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\nhello",
        Broken,
    ),
    (
        "an empty length",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nhello",
        BrokenOrWhole(200, "hello"),
    ),
    (
        "gzip, chunked",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        BrokenOrWhole(200, "hello"),
    ),
    (
        "chunked, identity",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        BrokenOrWhole(200, "5\r\nhello\r\n0\r\n\r\n"),
    ),
    (
        "an unknown encoding",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: x\r\nContent-Length: 5\r\n\r\nhello",
        BrokenOrWhole(200, "hello"),
    ),
    (
        "chunked with a blank before the colon",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        BrokenOrWhole(200, "hello"),
    ),
    (
        "length with a blank before the colon",
        "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello{S}",
        BrokenOrWhole(200, "hello"),
    ),
    ("less than the length", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello", Broken),
    ("no frame", "HTTP/1.1 200 OK\r\n\r\nhello", Whole(200, "hello")),
    // Chunks.
    (
        "a chunk size that is none",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
        Broken,
    ),
    (
        "a chunk size with 0x",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
        Broken,
    ),
    (
        "a negative chunk size",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
        Broken,
    ),
    (
        "a chunk size of 17 digits",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\
         \r\n",
        Broken,
    ),
    (
        "more than the chunk size",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n",
        Broken,
    ),
    (
        "no last chunk",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        Broken,
    ),
    (
        "no last line",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        BrokenOrWhole(200, "hello"),
    ),
    (
        "LF in chunks",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n",
        Broken,
    ),
    (
        "a trailer of framing",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\
         Content-Length: 1\r\nSet-Cookie: a=b\r\n\r\n",
        Whole(200, "hello"),
    ),
    // More than was asked for.
    (
        "bytes behind the body",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhellostolen",
        BrokenOrWhole(200, "hello"),
    ),
    (
        "another answer behind it",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello{S}",
        BrokenOrWhole(200, "hello"),
    ),
    (
        "another answer behind chunks",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n{S}",
        BrokenOrWhole(200, "hello"),
    ),
    ("another answer behind 204", "HTTP/1.1 204 No Content\r\n\r\n{S}", BrokenOrWhole(204, "")),
    (
        "a body behind 204",
        "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
        BrokenOrWhole(204, ""),
    ),
    (
        "chunks behind 204",
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        BrokenOrWhole(204, ""),
    ),
    ("another answer behind 304", "HTTP/1.1 304 Not Modified\r\n\r\n{S}", BrokenOrWhole(304, "")),
    (
        "a body behind 304",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello",
        BrokenOrWhole(304, ""),
    ),
    (
        "another answer behind a length of 0",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n{S}",
        BrokenOrWhole(200, ""),
    ),
    // Interim responses.
    (
        "100",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        Whole(200, "hello"),
    ),
    (
        "103",
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\
         \r\nhello",
        Whole(200, "hello"),
    ),
    (
        "100 with a length",
        "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\
         Content-Length: 5\r\n\r\nhello",
        BrokenOrWhole(200, "hello"),
    ),
    (
        "199",
        "HTTP/1.1 199 X\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        BrokenOrWhole(200, "hello"),
    ),
    ("only 100", "HTTP/1.1 100 Continue\r\n\r\n", Broken),
    (
        "101 that nobody asked for",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\
         stolen",
        Broken,
    ),
    ("101, then another answer", "HTTP/1.1 101 Switching Protocols\r\n\r\n{S}", Broken),
    // Heads.
    ("nothing", "", Broken),
    ("HTTP/0.9", "<html>hello</html>", Broken),
    ("garbage", "this is not HTTP at all\r\n\r\n", Broken),
    ("another protocol", "SSH-2.0-OpenSSH_9.6\r\n", Broken),
    ("half a head", "HTTP/1.1 200 OK\r\nContent-Le", Broken),
    ("a head without an end", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", Broken),
    ("a status in letters", "HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n", Broken),
    ("a status of two digits", "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", Broken),
    ("a status of four digits", "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", Broken),
    ("status 0", "HTTP/1.1 000 OK\r\nContent-Length: 5\r\n\r\nhello", Broken),
    ("status 999", "HTTP/1.1 999 X\r\nContent-Length: 5\r\n\r\nhello", BrokenOrWhole(999, "hello")),
    ("HTTP/2.0", "HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", Broken),
    ("HTTP/1.2", "HTTP/1.2 200 OK\r\nContent-Length: 5\r\n\r\nhello", BrokenOrWhole(200, "hello")),
    ("HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", Whole(200, "hello")),
    ("frames of HTTP/2", "\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0", Broken),
    ("a NUL in a field", "HTTP/1.1 200 OK\r\nX-A: \0\r\nContent-Length: 5\r\n\r\nhello", Broken),
    ("a NUL in a name", "HTTP/1.1 200 OK\r\nX\0A: 1\r\nContent-Length: 5\r\n\r\nhello", Broken),
    (
        "a CR in a field",
        "HTTP/1.1 200 OK\r\nX-A: 1\rSet-Cookie: a=b\r\nContent-Length: 5\r\n\r\nhello",
        Broken,
    ),
    (
        "a field in LF",
        "HTTP/1.1 200 OK\r\nX-A: 1\nX-B: 2\r\nContent-Length: 5\r\n\r\nhello",
        BrokenOrWhole(200, "hello"),
    ),
    ("all of it in LF", "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", BrokenOrWhole(200, "hello")),
    (
        "a folded field",
        "HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\nContent-Length: 5\r\n\r\nhello",
        BrokenOrWhole(200, "hello"),
    ),
    (
        "a folded length",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n 5\r\n\r\nhello",
        BrokenOrWhole(200, "hello"),
    ),
    (
        "a name that is none",
        "HTTP/1.1 200 OK\r\nX A: 1\r\nContent-Length: 5\r\n\r\nhello",
        BrokenOrWhole(200, "hello"),
    ),
    (
        "no name",
        "HTTP/1.1 200 OK\r\n: 1\r\nContent-Length: 5\r\n\r\nhello",
        BrokenOrWhole(200, "hello"),
    ),
    (
        "no colon",
        "HTTP/1.1 200 OK\r\nX-A\r\nContent-Length: 5\r\n\r\nhello",
        BrokenOrWhole(200, "hello"),
    ),
    (
        "bytes outside ASCII",
        "HTTP/1.1 200 OK\r\nX-A: ä\r\nContent-Length: 5\r\n\r\nhello",
        BrokenOrWhole(200, "hello"),
    ),
    // What the upstream says of the connection.
    (
        "Connection: Content-Length",
        "HTTP/1.1 200 OK\r\nConnection: Content-Length\r\nContent-Length: 5\r\n\r\nhello{S}",
        BrokenOrWhole(200, "hello"),
    ),
    (
        "Connection: Transfer-Encoding",
        "HTTP/1.1 200 OK\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nhello\r\n0\r\n\r\n{S}",
        BrokenOrWhole(200, "hello"),
    ),
    (
        "Connection: close, but more",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello{S}",
        BrokenOrWhole(200, "hello"),
    ),
];

/// Answers what the row says to the row's request, and as it should to the canaries.
fn bench(answers: Vec<Vec<u8>>, close: bool) -> Bench {
    Bench::in_front_of(Recorder::with(move |request| {
        let row = request.target.strip_prefix("/row-").and_then(|row| row.parse::<usize>().ok());
        match row.and_then(|row| answers.get(row - 1)) {
            Some(answer) if close => Reply::Close(answer.clone()),
            Some(answer) => Reply::Keep(answer.clone()),
            None => Reply::Keep(own_answer(request)),
        }
    }))
}

impl Bench {
    /// What is wrong with what the client of the next row gets; `None` when nothing is.
    fn told(&self, name: &str, told: Told, http2: bool) -> Option<String> {
        let bytes = self.fill("GET /api/x HTTP/1.1\r\n{H}\r\n");
        let row = self.rows.load(Ordering::Relaxed);
        let (status, text, complete, next) = if http2 {
            let response =
                self.edge.get(&format!("/api/row-{row}")).bearer(&self.token).http2().try_send();
            response.map_or((0, String::new(), false, None), |response| {
                (response.status, response.text(), response.complete, None)
            })
        } else {
            let mut client = self.edge.connect().patience(PATIENCE);
            client.send(
                [bytes, self.canary(&format!("next-{row}"), "Connection: close\r\n")].concat(),
            );
            let (responses, closed) = super::drain(&mut client, "GET");
            if !closed
                || responses.len() > 2
                || responses.iter().any(|response| response.head.framing() == Framing::Ambiguous)
            {
                return Some(format!(
                    "{name}: {:?}, closed: {closed}",
                    responses.iter().map(|response| &response.head).collect::<Vec<_>>()
                ));
            }
            let next = responses.get(1).map(|response| (response.status, response.text()));
            responses.first().map_or((0, String::new(), false, None), |response| {
                (response.status, response.text(), response.complete, next)
            })
        };
        let report = || {
            Some(format!(
                "{name} (HTTP/2: {http2}): {status} {text:?}, whole: {complete}, then {next:?}, \
                 expected {told:?}"
            ))
        };
        let own = text.is_empty()
            || text.starts_with("hello")
            || text.starts_with("5\r\nhello")
            || status == 502;
        if text.contains("stolen")
            || !own
            || next
                .as_ref()
                .is_some_and(|(status, text)| *status != 200 || *text != format!("/next-{row}"))
        {
            return report();
        }
        if status == 502 && !text.contains("\"error\":\"Bad Gateway\"") {
            return report();
        }
        let broken = status == 502 || !complete;
        let right = match told {
            Broken => broken,
            Whole(expected, body) => complete && status == expected && text == body,
            BrokenOrWhole(expected, body) => broken || (status == expected && text == body),
        };
        // Whatever the upstream's connection still holds is nobody's answer.
        let sane = (0..3).try_for_each(|number| self.edge_is_sane(row * 10 + number));
        match sane {
            Ok(()) if right => None,
            Ok(()) => report(),
            Err(why) => Some(format!("{name} (HTTP/2: {http2}): {why}")),
        }
    }
}

/// The bytes of an answer: a character up to U+00FF stands for that byte.
fn bytes(answer: &str) -> Vec<u8> {
    answer
        .replace("{S}", STOLEN)
        .chars()
        .map(|letter| u8::try_from(u32::from(letter)).expect("a byte"))
        .collect()
}

#[test]
fn an_answer_that_ends_with_its_connection_is_whole_or_known_to_be_broken() {
    let bench =
        bench(ANSWERS.iter().chain(ANSWERS).map(|(_, answer, _)| bytes(answer)).collect(), true);
    let rows =
        [false, true].into_iter().flat_map(|http2| ANSWERS.iter().map(move |row| (row, http2)));
    let wrong: Vec<String> =
        rows.filter_map(|((name, _, told), http2)| bench.told(name, *told, http2)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The same answers from an upstream that keeps its connection: the edge has to know by itself that
/// it is of no more use.
#[test]
fn no_client_gets_a_part_of_anothers_answer() {
    // Those that wait for more would wait for the time-out.
    let kept: Vec<_> = ANSWERS
        .iter()
        .filter(|(_, answer, _)| {
            answer.contains("{S}") || answer.contains("stolen") || answer.ends_with("0\r\n\r\n")
        })
        .collect();
    assert!(kept.len() >= 20);
    let bench = bench(kept.iter().map(|(_, answer, _)| bytes(answer)).collect(), false);
    let wrong: Vec<String> =
        kept.iter().filter_map(|(name, _, told)| bench.told(name, *told, false)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn an_answer_of_any_size_ends_somewhere() {
    let field = |bytes: usize| {
        format!("HTTP/1.1 200 OK\r\nX-A: {}\r\nContent-Length: 5\r\n\r\nhello", "a".repeat(bytes))
            .into_bytes()
    };
    let fields = |count: usize| {
        format!("HTTP/1.1 200 OK\r\n{}Content-Length: 5\r\n\r\nhello", "X-A: 1\r\n".repeat(count))
            .into_bytes()
    };
    let interim = |count: usize| {
        format!(
            "{}HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(count)
        )
        .into_bytes()
    };
    let extension = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;{}\r\nhello\r\n0\r\n\r\n",
        "a".repeat(100_000)
    )
    .into_bytes();
    let rows = [
        ("a field of 60 KB", field(60_000), BrokenOrWhole(200, "hello")),
        ("a field of 65 KB", field(65 * 1024), BrokenOrWhole(200, "hello")),
        // What is read in one go is taken, which may be 2 MB and more.
        ("a field of 20 MB", field(20_000_000), Broken),
        ("200 fields", fields(200), BrokenOrWhole(200, "hello")),
        ("10,000 fields", fields(10_000), Broken),
        ("100 interim responses", interim(100), BrokenOrWhole(200, "hello")),
        ("1,000 interim responses", interim(1_000), BrokenOrWhole(200, "hello")),
        ("an extension of 100 KB", extension, Broken),
    ];
    let bench = bench(rows.iter().map(|(_, answer, _)| answer.clone()).collect(), true);
    let wrong: Vec<String> =
        rows.iter().filter_map(|(name, _, told)| bench.told(name, *told, false)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn an_answer_that_comes_when_nobody_asks_is_nobodys() {
    let written = Arc::new(AtomicUsize::new(0));
    let upstream = crate::support::Upstream::with({
        let written = Arc::clone(&written);
        move |exchange| {
            exchange.answer(200, &[], b"mine");
            // By then the connection is idle, for another client to use.
            exchange.pause(Duration::from_millis(30));
            exchange.write(STOLEN.as_bytes());
            written.fetch_add(1, Ordering::SeqCst);
        }
    });
    let edge = crate::support::Edge::open(&upstream).start();
    for number in 0..10 {
        assert_eq!(edge.get("/api/x").send().text(), "mine", "request {number}");
        assert!(becomes_true(PATIENCE, || written.load(Ordering::SeqCst) > number));
    }
}
