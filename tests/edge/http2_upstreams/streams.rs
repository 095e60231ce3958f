//! Streams beside each other: how many there are, and that the end of one is no other's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::{answer, head, in_front_of};
use crate::support::http2_peer::{
    CANCEL, INITIAL_WINDOW_SIZE, INTERNAL_ERROR, MAX_CONCURRENT_STREAMS,
};
use crate::support::{Http2Upstream, Peer};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_reset_of_a_stream_disturbs_no_other() {
    const CLIENTS: usize = 4;
    const EACH: usize = 2500;
    // Every tenth: by the upstream before its head, behind it, or by the client.
    let upstream = Http2Upstream::with(&[], |call| {
        match call.target().rsplit('/').next().and_then(|word| word.parse::<usize>().ok()) {
            Some(number) if number % 30 == 9 => call.peer.reset(call.stream, INTERNAL_ERROR),
            Some(number) if number % 30 == 19 => {
                call.head(200, &[], false);
                let _ = call.data(b"a beginning", false);
                call.peer.reset(call.stream, INTERNAL_ERROR);
            }
            _ => call.echo_target(),
        }
        call.peer.forget(call.stream);
    });
    let edge = in_front_of(&upstream).backend("max_retries = 0").start();
    let client = |client: usize| {
        let peer = Peer::connect(edge.port());
        let target = |number: usize| format!("/{client}/{number}");
        for first in (0..EACH).step_by(25) {
            let streams: Vec<u32> = (first..first + 25)
                .map(|number| peer.open(&head("GET", &target(number)), true))
                .collect();
            for (number, stream) in (first..).zip(streams) {
                if number % 30 == 29 {
                    peer.reset(stream, CANCEL);
                    continue;
                }
                let (status, body, whole) = answer(&peer, stream);
                let row = format!("{}: {status}, {whole}", target(number));
                match number % 30 {
                    9 => assert!(status == 502 && whole, "{row}"),
                    19 => assert!(status == 502 || !whole, "{row}"),
                    _ => {
                        assert!(status == 200 && whole, "{row}");
                        assert_eq!(String::from_utf8_lossy(&body), target(number));
                    }
                }
                peer.forget(stream);
            }
        }
    };
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            scope.spawn(move || client(number));
        }
    });
    assert!(upstream.connections() <= CLIENTS, "{} connections", upstream.connections());
}

#[test]
fn no_more_streams_than_the_upstream_allows() {
    for most in [1, 10] {
        let open = Arc::<Mutex<HashMap<usize, (usize, usize)>>>::default();
        let upstream = Http2Upstream::with(&[(MAX_CONCURRENT_STREAMS, most)], {
            let open = Arc::clone(&open);
            move |call| {
                let change = |by: isize| {
                    let mut open = open.lock().unwrap();
                    let (now, peak) = open.entry(call.connection).or_default();
                    *now = now.saturating_add_signed(by);
                    *peak = (*peak).max(*now);
                };
                change(1);
                call.read_body();
                thread::sleep(SECOND / 20);
                change(-1);
                call.answer(200, b"ok");
            }
        });
        let edge = in_front_of(&upstream).start();
        let peer = Peer::connect(edge.port());
        // One first, so that the upstream's settings are known.
        let first = peer.open(&head("GET", "/first"), true);
        assert_eq!(answer(&peer, first).0, 200);
        let streams: Vec<u32> =
            (0..40).map(|number| peer.open(&head("GET", &format!("/{number}")), true)).collect();
        for stream in streams {
            assert_eq!(answer(&peer, stream), (200, b"ok".to_vec(), true), "at most {most}");
        }
        let peaks = open.lock().unwrap().clone();
        assert!(
            peaks.values().all(|(_, peak)| *peak <= most as usize),
            "at most {most}: {peaks:?} of {}",
            upstream.count()
        );
    }
}

#[test]
fn settings_may_change_on_the_way() {
    let upstream = Http2Upstream::with(&[], |call| {
        // Half of it is under way: less room for every stream, and then as much as is needed.
        call.head(200, &[], false);
        let first = call.peer.take(call.stream).unwrap_or_default();
        call.peer.settings(&[(INITIAL_WINDOW_SIZE, 1000), (MAX_CONCURRENT_STREAMS, 1)]);
        let rest = call.peer.take_all(call.stream);
        let _ = call.data(&[first, rest].concat(), true);
    });
    let edge = in_front_of(&upstream).start();
    let peer = Peer::connect(edge.port());
    let body: Vec<u8> = (0..300_000usize).map(|at| (at ^ at >> 8) as u8).collect();
    for _ in 0..3 {
        let stream = peer.open(&head("POST", "/x"), false);
        peer.data(stream, &body, true).unwrap();
        let (status, back, whole) = answer(&peer, stream);
        assert!(status == 200 && whole && back == body, "{status}, {} bytes", back.len());
    }
}

#[test]
fn pings_are_answered_on_both_sides() {
    let upstream = Http2Upstream::start();
    let edge = in_front_of(&upstream).start();
    let peer = Peer::connect(edge.port());
    let stream = peer.open(&head("GET", "/x"), true);
    assert_eq!(answer(&peer, stream).0, 200);
    for peer in [&peer, &upstream.peers()[0]] {
        peer.ping();
        assert!(peer.wait(|state| (state.pongs == 1).then_some(())).is_some());
    }
}

#[test]
fn nobody_authenticates_a_connection_that_others_share() {
    let upstream = Http2Upstream::with(&[], |call| match call.target().as_str() {
        "/asks" => {
            call.head(401, &[("www-authenticate", "Negotiate")], true);
        }
        _ => call.echo_target(),
    });
    let edge = in_front_of(&upstream).start();
    assert_eq!(edge.get("/api/asks").send().status, 401, "a challenge is one request's");
    for scheme in ["NTLM TlRMTVNT", "Negotiate YII="] {
        let response = edge.get("/api/x").header("Authorization", scheme).send();
        assert_eq!(response.status, 502, "{scheme}");
    }
    assert_eq!(edge.get("/api/x").header("Authorization", "Basic eDp5").send().status, 200);
    assert_eq!(upstream.count(), 2, "the others went no further");
}
