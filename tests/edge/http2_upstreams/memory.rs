//! What a stream takes that nobody reads.

use std::time::Duration;

use super::{head, in_front_of};
use crate::support::http2_peer::INITIAL_WINDOW_SIZE;
use crate::support::poll::becomes_true;
use crate::support::{Edge, Http2Upstream, Peer};

const STREAMS: usize = 1000;
/// A connection of a client takes 100.
const EACH: usize = 50;
const KIB_PER_STREAM: u64 = 64;
static BODY: [u8; 256 * 1024] = [b'x'; 256 * 1024];

/// Opens the streams, and says by how much the process has grown when nothing moves any more.
fn growth(edge: &Edge, upstream: &Http2Upstream, open: impl Fn(&Peer)) -> (u64, Vec<Peer>) {
    // What the first requests take is no stream's.
    let warm = Peer::connect(edge.port());
    for _ in 0..200 {
        let stream = warm.open(&head("GET", "/warm"), true);
        assert!(warm.until_over(stream).ended);
    }
    let before = edge.resident_kib();
    let served = upstream.count();
    let peers: Vec<Peer> = (0..STREAMS / EACH)
        .map(|_| {
            let peer = Peer::connect_with(edge.port(), &[(INITIAL_WINDOW_SIZE, 0)]);
            (0..EACH).for_each(|_| open(&peer));
            peer
        })
        .collect();
    let all = || upstream.count() == served + STREAMS;
    assert!(becomes_true(Duration::from_secs(60), all), "{} of them", upstream.count() - served);
    let mut last = 0;
    becomes_true(Duration::from_secs(20), || {
        std::thread::sleep(Duration::from_millis(500));
        let now = edge.resident_kib();
        std::mem::replace(&mut last, now) == now
    });
    (last.saturating_sub(before), peers)
}

#[test]
#[ignore = "a debug build takes 71 KiB for each; a release build 61"]
fn answers_that_nobody_reads() {
    let upstream = Http2Upstream::with(&[], |call| {
        if call.target() == "/warm" {
            return call.answer(200, b"");
        }
        call.head(200, &[], false);
        let _ = call.data(&BODY, true);
    });
    let edge = in_front_of(&upstream).start();
    let (grown, peers) = growth(&edge, &upstream, |peer| {
        peer.open(&head("GET", "/x"), true);
    });
    println!("{} KiB per answer", grown / STREAMS as u64);
    assert!(grown < KIB_PER_STREAM * STREAMS as u64, "{grown} KiB");
    drop(peers);
    assert_eq!(edge.get("/api/warm").send().status, 200);
}

#[test]
fn requests_that_nobody_reads() {
    let upstream = Http2Upstream::with(&[(INITIAL_WINDOW_SIZE, 0)], |call| {
        if call.target() == "/warm" {
            return call.answer(200, b"");
        }
        // Until the client leaves.
        call.peer.wait_for(Duration::from_secs(120), |state| {
            (state.closed || state.stream(call.stream).reset.is_some()).then_some(())
        });
    });
    let edge = in_front_of(&upstream).start();
    let (grown, peers) = growth(&edge, &upstream, |peer| {
        let stream = peer.open(&head("POST", "/x"), false);
        let (peer, body) = (peer.clone(), &BODY);
        std::thread::spawn(move || peer.data(stream, body, true));
    });
    println!("{} KiB per request", grown / STREAMS as u64);
    assert!(grown < KIB_PER_STREAM * STREAMS as u64, "{grown} KiB");
    peers.iter().for_each(Peer::close);
    assert_eq!(edge.get("/api/warm").send().status, 200);
}
