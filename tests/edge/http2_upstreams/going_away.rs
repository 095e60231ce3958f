//! `GOAWAY` and `REFUSED_STREAM`: what the upstream says that it has not seen is sent again, a
//! `POST` too, as long as all of its body so far is there.

use std::thread;
use std::time::{Duration, Instant};

use super::{answer, head, in_front_of};
use crate::support::http2_peer::{NO_ERROR, REFUSED_STREAM};
use crate::support::{Http2Upstream, Peer};

/// Sends `each` uploads of several sizes from each of some clients, several at once; all of them
/// must be answered.
#[track_caller]
fn all_uploads_are_answered(upstream: &Http2Upstream, each: usize) {
    let edge = in_front_of(upstream).start();
    thread::scope(|scope| {
        for client in 0..4 {
            let edge = &edge;
            scope.spawn(move || {
                let peer = Peer::connect(edge.port());
                for first in (0..each).step_by(5) {
                    let streams: Vec<(u32, Vec<u8>)> = (first..first + 5)
                        .map(|number| {
                            let size = [0, 1, 1000, 16_384, 65_536][number % 5];
                            let target = format!("/{client}/{number}");
                            let body = vec![number as u8; size];
                            let stream = peer.open(&head("POST", &target), false);
                            let _ = peer.data(stream, &body, true);
                            (stream, body)
                        })
                        .collect();
                    for (stream, body) in streams {
                        let (status, back, whole) = answer(&peer, stream);
                        assert!(
                            status == 200 && whole && back == body,
                            "client {client}, from {first}, {} bytes: {status}, {} bytes",
                            body.len(),
                            back.len()
                        );
                        peer.forget(stream);
                    }
                }
            });
        }
    });
}

#[test]
fn no_request_fails_when_connections_go_away() {
    const LAST: u32 = 39;
    let upstream = Http2Upstream::with(&[], |call| {
        if call.stream > LAST {
            // What is over the last one is not even looked at.
            return;
        }
        if call.stream == LAST {
            call.peer.go_away(LAST, NO_ERROR);
        }
        let (body, _) = call.read_body();
        call.answer(200, &body);
        if call.stream == LAST {
            thread::sleep(Duration::from_secs(2));
            call.peer.close();
        }
    });
    all_uploads_are_answered(&upstream, 100);
    assert!(upstream.connections() >= 400 / 20, "{} connections", upstream.connections());
}

#[test]
fn no_request_fails_when_streams_are_refused() {
    let upstream = Http2Upstream::with(&[], |call| {
        if call.number % 5 == 4 {
            return call.peer.reset(call.stream, REFUSED_STREAM);
        }
        let (body, _) = call.read_body();
        call.answer(200, &body);
    });
    all_uploads_are_answered(&upstream, 100);
}

#[test]
fn a_connection_that_goes_away_at_once_is_followed_by_another() {
    let upstream = Http2Upstream::with(&[], |call| match call.connection {
        0 => call.peer.go_away(0, NO_ERROR),
        _ => call.echo_target(),
    });
    let edge = in_front_of(&upstream).start();
    let response = edge.post("/api/x", "a body").send();
    assert_eq!((response.status, response.text().as_str()), (200, "/x"));
}

#[test]
fn an_upstream_that_takes_nothing_is_502_after_a_few_tries() {
    let refuses = Http2Upstream::with(&[], |call| call.peer.reset(call.stream, REFUSED_STREAM));
    let leaves = Http2Upstream::with(&[], |call| call.peer.go_away(0, NO_ERROR));
    // Connections that are about to be closed may be many in a row.
    for (upstream, most) in [(refuses, 20), (leaves, 120)] {
        let edge = in_front_of(&upstream).start();
        let started = Instant::now();
        assert!(matches!(edge.post("/api/x", "a body").send().status, 502 | 503));
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        assert!(upstream.count() <= most, "{} tries", upstream.count());
    }
}

#[test]
fn what_was_seen_is_not_sent_again() {
    // It may have done something with the request.
    let upstream = Http2Upstream::with(&[], |call| {
        call.read_body();
        call.peer.go_away(call.stream, NO_ERROR);
        call.peer.close();
    });
    let edge = in_front_of(&upstream).start();
    assert_eq!(edge.post("/api/x", "a body").send().status, 502);
    assert_eq!(upstream.count(), 1);
}
