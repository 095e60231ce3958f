//! Bodies in both directions at once, of any size, over every pair of protocols.

use std::io::Write;
use std::thread;

use super::{head, status};
use crate::support::{Edge, Http2Upstream, Peer, Settings, Upstream};

const PIECE: usize = 64 * 1024;

/// How many MiB go up and come back: more than all buffers between hold. `ECHO_MIB` in the
/// environment for more.
fn pieces() -> usize {
    let size = std::env::var("ECHO_MIB").ok().and_then(|size| size.parse().ok());
    size.unwrap_or(16) * 1024 * 1024 / PIECE
}

fn piece(number: usize) -> Vec<u8> {
    (0..PIECE).map(|at| (number ^ at ^ at >> 8) as u8).collect()
}

/// Whether what comes back is what went up, piece by piece.
#[derive(Default)]
struct Check {
    expected: Vec<u8>,
    got: usize,
}

impl Check {
    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let at = self.got % PIECE;
            if at == 0 {
                self.expected = piece(self.got / PIECE);
            }
            let length = bytes.len().min(PIECE - at);
            assert!(bytes[..length] == self.expected[at..at + length], "byte {}", self.got);
            self.got += length;
            bytes = &bytes[length..];
        }
    }
}

fn http1_client(edge: &Edge) {
    let mut client = edge.connect();
    let length = pieces() * PIECE;
    client.send(format!("POST /api/x HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n"));
    let mut writer = client.writer();
    thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..pieces() {
                writer.write_all(&piece(number)).unwrap();
            }
        });
        let response = client.head();
        let mut check = Check::default();
        assert!(client.read_body(&response, "POST", &mut |bytes| check.take(bytes)));
        assert_eq!(check.got, length);
    });
}

fn http2_client(edge: &Edge) {
    let peer = Peer::connect(edge.port());
    let stream = peer.open(&head("POST", "/x"), false);
    thread::scope(|scope| {
        let peer = &peer;
        scope.spawn(move || {
            for number in 0..pieces() {
                peer.data(stream, &piece(number), number + 1 == pieces()).unwrap();
            }
        });
        assert_eq!(status(peer, stream), 200);
        let mut check = Check::default();
        while let Some(bytes) = peer.take(stream) {
            check.take(&bytes);
        }
        assert_eq!((check.got, peer.stream(stream).ended), (pieces() * PIECE, true));
    });
}

fn edge_to(port: u16, version: &str) -> Edge {
    Edge::configured(Settings::open_to(port))
        .backend(&format!("http_version = \"{version}\""))
        .endpoint(&format!("max_body_size = {}", pieces() * PIECE))
        .quiet()
        .start()
}

#[test]
fn an_http1_upstream_gets_all_of_its_echo_through() {
    let upstream = Upstream::with(|exchange| {
        exchange.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        exchange.echo_body();
        exchange.write(b"0\r\n\r\n");
    });
    let edge = edge_to(upstream.port(), "1.1");
    http1_client(&edge);
    http2_client(&edge);
}

#[test]
fn an_http2_upstream_gets_all_of_its_echo_through() {
    let upstream = Http2Upstream::with(&[], |call| call.echo_body());
    let edge = edge_to(upstream.port(), "2");
    http1_client(&edge);
    http2_client(&edge);
    assert_eq!(upstream.connections(), 1);
}
