//! Calls of gRPC: `UNAUTHENTICATED` in trailers.

use std::thread;

use super::{SECOND, assert_logged, assert_timely, metric, soon, unix};
use crate::support::http2_peer::{Peer, Stream, field, fields};
use crate::support::{Edge, Http2Upstream, Issuer, Settings};

/// A server that sends its head and a message for `/watch`, nothing at all for `/upload`,
/// and answers `/echo`.
fn server() -> Http2Upstream {
    Http2Upstream::with(&[], |call| {
        let head = [("content-type", "application/grpc")];
        if call.target().starts_with("/watch") {
            call.head(200, &head, false);
            let _ = call.data(b"\0\0\0\0\x02hi", false);
        } else if call.target().starts_with("/echo") {
            call.read_body();
            thread::sleep(SECOND);
            call.head(200, &head, false);
            let _ = call.data(b"\0\0\0\0\x02hi", false);
            call.peer.head(call.stream, &fields(&[("grpc-status", "0")]), true);
        }
    })
}

fn edge(issuer: &Issuer, server: &Http2Upstream, flags: &str) -> Edge {
    let keys = format!("jwks_url = \"{}\"", issuer.url());
    Edge::configured(Settings::with_keys_to(&keys, server.port()))
        .backend("http_version = \"2\"")
        .jwt("leeway_secs = 0")
        .jwt_flags(flags)
        .start()
}

fn call(peer: &Peer, path: &str, token: &str, ends: bool) -> u32 {
    let authorization = format!("Bearer {token}");
    let head = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "h"),
        (":path", path),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("authorization", &authorization),
    ];
    let stream = peer.open(&fields(&head), false);
    peer.data(stream, b"\0\0\0\0\x02hi", ends).expect("an open stream");
    stream
}

/// The last fields that came.
fn last<'a>(stream: &'a Stream, name: &str) -> Option<&'a [u8]> {
    stream.heads.last().and_then(|fields| field(fields, name))
}

#[test]
fn a_stream_of_messages_ends_with_trailers() {
    let (issuer, server) = (Issuer::start(), server());
    let edge = edge(&issuer, &server, "");
    let due = soon();
    let token = issuer.token().claim("exp", due).sign();
    let peer = Peer::connect(edge.port());
    // One way, and both.
    let streams = [true, false].map(|ends| call(&peer, "/api/watch", &token, ends));
    let lives_on = call(&peer, "/api/watch", &issuer.token().sign(), true);
    for stream in streams {
        let over = peer.until_over(stream);
        assert_timely(unix(), due as f64);
        assert_eq!((over.heads.len(), &*over.body), (2, &b"\0\0\0\0\x02hi"[..]));
        assert_eq!((last(&over, "grpc-status"), over.ended), (Some(&b"16"[..]), true));
    }
    assert!(!peer.stream(lives_on).ended && peer.stream(lives_on).reset.is_none());
    assert_logged(&edge, "grpc_status=16");
    let counted = "harmony_streams_ended_total{pipeline=\"api\",cause=\"expired\"}";
    assert_eq!(metric(&edge, counted), Some(2.0));
}

#[test]
fn a_call_that_was_not_answered_yet_ends_too() {
    let (issuer, server) = (Issuer::start(), server());
    let edge = edge(&issuer, &server, "");
    let due = soon();
    let token = issuer.token().claim("exp", due).sign();
    let peer = Peer::connect(edge.port());
    for stream in [true, false].map(|ends| call(&peer, "/api/upload", &token, ends)) {
        let over = peer.until_over(stream);
        assert_timely(unix(), due as f64);
        assert_eq!((over.heads.len(), over.ended), (1, true), "trailers only");
        assert_eq!(last(&over, "grpc-status"), Some(&b"16"[..]));
    }
    assert_logged(&edge, "status=401");
}

#[test]
fn a_call_that_ends_by_itself_is_none() {
    let (issuer, server) = (Issuer::start(), server());
    let edge = edge(&issuer, &server, "");
    let peer = Peer::connect(edge.port());
    let token = issuer.token().sign();
    let over = peer.until_over(call(&peer, "/api/echo", &token, true));
    assert_eq!(last(&over, "grpc-status"), Some(&b"0"[..]));
    let gauge = "harmony_open_streams{pipeline=\"api\"}";
    assert_eq!(metric(&edge, gauge), Some(0.0));
    assert!(!edge.log().contains("credential_ended"));
}

#[test]
fn calls_outlive_their_credential_where_the_step_says_so() {
    let (issuer, server) = (Issuer::start(), server());
    let edge = edge(&issuer, &server, "stream_end = \"never\"");
    let peer = Peer::connect(edge.port());
    let stream = call(&peer, "/api/watch", &issuer.token().exp(1).sign(), true);
    thread::sleep(3 * SECOND);
    assert!(!peer.stream(stream).ended && peer.stream(stream).reset.is_none());
}
