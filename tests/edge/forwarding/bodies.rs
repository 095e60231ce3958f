//! Bodies: large ones, chunked ones, and those that are too large.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};

use crate::support::{Edge, Framing, Upstream, eventually};

/// 100 MB, made of pieces that are all different.
const PIECE: usize = 50_000;
const PIECES: u64 = 2_000;
const TOTAL: u64 = PIECE as u64 * PIECES;

/// The memory, in MiB, that a body of 100 MB takes at most, beside what the edge takes by itself.
const MEMORY: u64 = 30;

fn piece(number: u64) -> Vec<u8> {
    (0..PIECE as u64)
        .map(|index| (index.wrapping_mul(31) ^ number.wrapping_mul(0x9e37_79b9)) as u8)
        .collect()
}

fn hash_of_all() -> Vec<u8> {
    let mut hash = Context::new(&SHA256);
    (0..PIECES).for_each(|number| hash.update(&piece(number)));
    hash.finish().as_ref().to_vec()
}

#[test]
fn a_hundred_megabytes_down_arrive_byte_for_byte_in_little_memory() {
    let upstream = Upstream::with(|exchange| {
        exchange.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {TOTAL}\r\n\r\n").as_bytes());
        (0..PIECES).for_each(|number| exchange.write(&piece(number)));
    });
    let edge = Edge::open(&upstream).quiet().start();
    let before = edge.resident_mib();
    let mut client = edge.connect();
    client.send("GET /api/large HTTP/1.1\r\nHost: h\r\n\r\n");
    let head = client.head();
    let (mut hash, mut length, mut most) = (Context::new(&SHA256), 0, 0);
    let complete = client.read_body(&head, "GET", &mut |bytes| {
        hash.update(bytes);
        if length % 1_000_000 < 64 * 1024 {
            most = edge.resident_mib().max(most);
        }
        length += bytes.len() as u64;
    });
    assert_eq!((complete, length), (true, TOTAL));
    assert_eq!(hash.finish().as_ref(), hash_of_all());
    assert!(most < before + MEMORY, "{most} MiB, {before} before");
}

/// An upstream that answers with the length and the hash of what it got.
fn hashing() -> Upstream {
    Upstream::with(|exchange| {
        let (mut hash, mut length) = (Context::new(&SHA256), 0);
        exchange.read_body_into(&mut |bytes| {
            hash.update(bytes);
            length += bytes.len() as u64;
        });
        exchange.answer(200, &[], received(length, hash.finish().as_ref()).as_bytes());
    })
}

fn received(length: u64, hash: &[u8]) -> String {
    format!("{length} bytes, {hash:02x?}")
}

#[test]
fn a_hundred_megabytes_up_arrive_byte_for_byte_in_little_memory() {
    let upstream = hashing();
    let edge = Edge::open(&upstream).endpoint(&format!("max_body_size = {TOTAL}")).quiet().start();
    let before = edge.resident_mib();
    for chunked in [false, true] {
        let mut client = edge.connect();
        let framing = if chunked {
            "Transfer-Encoding: chunked".to_owned()
        } else {
            format!("Content-Length: {TOTAL}")
        };
        client.send(format!("POST /api/large HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n"));
        let mut most = 0;
        for number in 0..PIECES {
            if chunked {
                client.send(format!("{PIECE:x}\r\n")).send(piece(number)).send("\r\n");
            } else {
                client.send(piece(number));
            }
            if number % 50 == 0 {
                most = edge.resident_mib().max(most);
            }
        }
        if chunked {
            client.send("0\r\n\r\n");
        }
        assert_eq!(client.response().text(), received(TOTAL, &hash_of_all()), "chunked: {chunked}");
        assert!(most < before + MEMORY, "{most} MiB, {before} before, chunked: {chunked}");
    }
}

#[test]
fn a_slow_reader_does_not_fill_the_edges_memory() {
    let upstream = Upstream::with(|exchange| {
        exchange.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {TOTAL}\r\n\r\n").as_bytes());
        (0..PIECES).for_each(|number| exchange.write(&piece(number)));
    });
    let edge = Edge::open(&upstream).quiet().start();
    let before = edge.resident_mib();
    let mut client = edge.connect();
    client.send("GET /api/large HTTP/1.1\r\nHost: h\r\n\r\n");
    client.head();
    let mut most = 0;
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(50));
        most = edge.resident_mib().max(most);
    }
    assert!(most < before + MEMORY, "{most} MiB, {before} before while nobody reads");
}

#[test]
fn a_body_over_the_limit_is_413() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).endpoint("max_body_size = 1000").start();
    for http2 in [false, true] {
        let post = |length: usize| {
            let request = edge.post("/api/x", "x".repeat(length));
            if http2 { request.http2() } else { request }
        };
        assert_eq!(post(1000).send().status, 200, "exactly the limit");
        assert_eq!(post(1000).chunked().send().status, 200, "exactly the limit, chunked");
        upstream.clear();
        let refused = post(1001).header("X-Length", "1001").send();
        assert_eq!(refused.status, 413, "HTTP/2: {http2}");
        assert_eq!(refused.json()["error"], "Payload Too Large", "HTTP/2: {http2}");
    }
    let told = edge
        .connect()
        .send("POST /api/told HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n")
        .response();
    assert_eq!(told.status, 413);
    assert!(
        upstream.requests().iter().all(|request| request.target() != "/told"),
        "a length that says too much is refused before the upstream hears of it"
    );
}

#[test]
fn a_chunked_body_over_the_limit_never_becomes_whole() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).endpoint("max_body_size = 100000").start();
    for length in [100_001, 1_000_000] {
        upstream.clear();
        let mut client = edge.connect();
        client.send(edge.post("/api/x", "x".repeat(length)).chunked().bytes());
        let (responses, closed) = client.drain("POST");
        assert_eq!(responses.first().map(|response| response.status), Some(413), "{length}");
        assert!(closed, "{length}: what follows such a body cannot be trusted");
        eventually("the end at the upstream", Duration::from_secs(20), || {
            upstream.requests().iter().all(|request| request.ended).then_some(())
        });
        assert!(upstream.requests().iter().all(|request| !request.complete), "{length}");
    }
}

#[test]
fn ten_mebibytes_are_the_limit_where_none_is_named() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).quiet().start();
    let told = |length: usize| {
        edge.connect()
            .patience(Duration::from_secs(2))
            .send(format!("POST /api/x HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n"))
            .try_response("POST")
    };
    assert_eq!(told(10 * 1024 * 1024 + 1).unwrap().unwrap().status, 413);
    assert!(told(10 * 1024 * 1024).is_err(), "waits for the body");
}

#[test]
fn a_body_keeps_its_bytes_and_one_frame() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).start();
    let body: Vec<u8> = (0..50_000u32).map(|index| (index % 251) as u8).collect();
    for (row, request) in [
        ("a length", edge.post("/api/x", body.clone())),
        ("chunks", edge.post("/api/x", body.clone()).chunked()),
        ("HTTP/2", edge.post("/api/x", body.clone()).http2()),
        ("GET", edge.get("/api/x").body(body.clone())),
    ] {
        upstream.clear();
        assert_eq!(request.send().status, 200, "{row}");
        let seen = upstream.only();
        assert_eq!((seen.body == body, seen.complete), (true, true), "{row}");
        assert!(
            matches!(seen.head.framing(), Framing::Length(50_000) | Framing::Chunked),
            "{row}: {:?}",
            seen.head
        );
    }
}

#[test]
fn an_echo_asks_for_a_body_that_waits_to_be_asked_for() {
    let upstream = Upstream::start();
    let echo = "[pipelines.echo]\nnetworks = [\"public\"]\nendpoints = [\"echo\"]\n\
                [endpoints.echo]\nservice = \"echo\"\npath_prefix = \"/echo\"";
    let edge = Edge::open(&upstream).and(echo).start();
    let mut client = TcpStream::connect(("127.0.0.1", edge.port())).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    client
        .write_all(
            b"POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\
              Content-Length: 5\r\nConnection: close\r\n\r\n",
        )
        .unwrap();
    let mut first = [0; 25];
    client.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"hello").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"body\": \"hello\""),
        "{answer}"
    );
}
