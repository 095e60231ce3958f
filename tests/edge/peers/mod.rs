//! Real servers and clients around the edge, as they are installed: what they send is not always
//! what the RFCs would lead one to expect.

mod apache;
mod autobahn;
mod chromium;
mod clients;
mod nginx;
mod node;
mod python;
pub mod running;

pub use running::Running;

use crate::support::edge::EdgeBuilder;
use crate::support::request::Request;
use crate::support::{Edge, Settings};

/// An edge whose `/api` is `port`, over this version of HTTP.
fn edge_to(port: u16, version: &str) -> EdgeBuilder {
    Edge::configured(Settings::open_to(port))
        .backend(&format!("http_version = \"{version}\""))
        .quiet()
}

/// A body in which a shift shows.
fn body(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at.wrapping_mul(31) ^ at >> 8) as u8).collect()
}

/// Some servers know no other bodies.
fn with_length(request: Request, size: usize) -> Request {
    request.header("Content-Length", size.to_string())
}

/// What every server that answers with what it got must get right, over both versions to the edge.
#[track_caller]
fn echoes(edge: &Edge, target: &str) {
    for http2 in [false, true] {
        for size in [0, 1, 65_536, 1024 * 1024] {
            let sent = body(size);
            let request = edge.post(target, sent.clone());
            let request = if http2 { with_length(request.http2(), size) } else { request };
            let response = request.send();
            let row = format!("{size} bytes, HTTP/2: {http2}");
            assert!(response.complete && response.status == 200, "{row}: {response:?}");
            assert!(response.body == sent, "{row}: {} bytes", response.body.len());
        }
        let request = edge.request("HEAD", target);
        let response = if http2 { request.http2() } else { request }.send();
        assert!(response.body.is_empty() && response.complete, "HTTP/2: {http2}: {response:?}");
    }
}
