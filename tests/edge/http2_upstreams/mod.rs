//! Upstreams that speak HTTP/2: many streams on few connections, none of which is another's
//! business.

mod broken;
mod echo;
mod going_away;
mod memory;
mod streams;

use crate::support::edge::EdgeBuilder;
use crate::support::hpack::Field;
use crate::support::http2_peer::fields;
use crate::support::{Edge, Http2Upstream, Peer, Settings};

/// An edge in front of an upstream of HTTP/2 with prior knowledge.
fn in_front_of(upstream: &Http2Upstream) -> EdgeBuilder {
    over_http2(upstream.port())
}

fn over_http2(port: u16) -> EdgeBuilder {
    Edge::configured(Settings::open_to(port)).backend("http_version = \"2\"").quiet()
}

fn head(method: &str, target: &str) -> Vec<Field> {
    fields(&[
        (":method", method),
        (":scheme", "http"),
        (":authority", "h"),
        (":path", &format!("/api{target}")),
    ])
}

/// The status of the answer on a stream; 0: there is none.
fn status(peer: &Peer, stream: u32) -> u16 {
    let head = peer.nth_head(stream, 0).unwrap_or_default();
    let status = head.first().map(|(_, status)| String::from_utf8_lossy(status).into_owned());
    status.and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// The status and the body of an answer, and whether it came to its end.
fn answer(peer: &Peer, stream: u32) -> (u16, Vec<u8>, bool) {
    let status = status(peer, stream);
    let body = peer.take_all(stream);
    (status, body, peer.stream(stream).ended)
}
