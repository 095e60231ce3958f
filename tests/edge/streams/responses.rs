//! Responses of HTTP: server-sent events, and downloads where the step says so.

use std::thread;

use super::{
    SECOND, assert_logged, assert_timely, bearer, end, exact, metric, open, soon, unix, upstream,
};
use crate::support::http2_peer::{CANCEL, Peer, fields};
use crate::support::{Edge, Http2Upstream, Issuer, Settings};

fn get(peer: &Peer, path: &str, token: &str) -> u32 {
    let authorization = format!("Bearer {token}");
    let head = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "h"),
        (":path", path),
        ("authorization", &authorization),
    ];
    peer.open(&fields(&head), true)
}

#[test]
fn events_end_with_their_token_and_visibly() {
    let (issuer, upstream) = (Issuer::start(), upstream());
    let edge = exact(&issuer, &upstream, "");
    let due = soon();
    let token = issuer.token().claim("exp", due).sign();
    let peer = Peer::connect(edge.port());
    let stream = get(&peer, "/api/sse", &token);
    let later = get(&peer, "/api/sse", &issuer.token().sign());
    let mut client = open(&edge, "/api/sse", &bearer(&token), 200);
    let (bytes, ended) = end(&mut client);
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("data: hello") && !text.contains("\r\n0\r\n"), "{text:?}");
    assert_timely(ended, due as f64);
    let over = peer.until_over(stream);
    assert_timely(unix(), due as f64);
    assert_eq!(
        (over.reset, over.ended, &*over.body),
        (Some(CANCEL), false, &b"data: hello\n\n"[..])
    );
    assert_logged(&edge, "status=200");
    assert!(peer.stream(later).reset.is_none() && !peer.is_closed());
    let counted = "harmony_streams_ended_total{pipeline=\"api\",cause=\"expired\"}";
    assert_eq!(metric(&edge, counted), Some(2.0));
}

#[test]
fn events_of_an_upstream_over_http_2_end_on_both_sides() {
    let issuer = Issuer::start();
    let upstream = Http2Upstream::with(&[], |call| {
        call.head(200, &[("content-type", "text/event-stream")], false);
        let _ = call.data(b"data: hello\n\n", false);
    });
    let keys = format!("jwks_url = \"{}\"", issuer.url());
    let settings = Settings::with_keys_to(&keys, upstream.port());
    let edge =
        Edge::configured(settings).backend("http_version = \"2\"").jwt("leeway_secs = 0").start();
    let due = soon();
    let token = issuer.token().claim("exp", due).sign();
    let peer = Peer::connect(edge.port());
    let stream = get(&peer, "/api/sse", &token);
    let mut client = open(&edge, "/api/sse", &bearer(&token), 200);
    let (bytes, ended) = end(&mut client);
    assert!(!bytes.ends_with(b"0\r\n\r\n"), "{bytes:?}");
    assert_timely(ended, due as f64);
    assert_eq!(peer.until_over(stream).reset, Some(CANCEL));
    let upstream = upstream.peers().remove(0);
    let reset = upstream.wait(|state| {
        let all = state.streams.values().all(|stream| stream.reset == Some(CANCEL));
        all.then_some(state.streams.len())
    });
    assert_eq!(reset, Some(2));
}

#[test]
fn a_client_that_takes_no_events_ends_too() {
    let issuer = Issuer::start();
    let upstream = crate::support::Upstream::with(|exchange| {
        exchange.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
              Transfer-Encoding: chunked\r\n\r\n",
        );
        let mut writer = exchange.writer();
        let event = [&b"10000\r\n"[..], &[b'x'; 0x10000], b"\r\n"].concat();
        while std::io::Write::write_all(&mut writer, &event).is_ok() {}
        exchange.close();
    });
    let edge = exact(&issuer, &upstream, "");
    let due = soon();
    let token = issuer.token().claim("exp", due).sign();
    let client = open(&edge, "/api/sse", &bearer(&token), 200);
    let peer = Peer::connect(edge.port());
    let stream = get(&peer, "/api/sse", &token);
    assert_logged(&edge, "protocol=HTTP/1.1");
    assert_timely(unix(), due as f64);
    assert_eq!(peer.until_over(stream).reset, Some(CANCEL));
    assert_timely(unix(), due as f64);
    drop(client);
}

#[test]
fn a_download_ends_where_the_step_says_so() {
    let (issuer, upstream) = (Issuer::start(), upstream());
    let (ends, goes_on) =
        (exact(&issuer, &upstream, "end_downloads = true"), exact(&issuer, &upstream, ""));
    let due = soon();
    let token = issuer.token().claim("exp", due).sign();
    thread::scope(|scope| {
        scope.spawn(|| {
            let response = goes_on.get("/api/slow").bearer(&token).send();
            assert_eq!((response.complete, response.text()), (true, "abcd".to_owned()));
        });
        scope.spawn(|| {
            let mut client = open(&ends, "/api/slow", &bearer(&token), 200);
            let (bytes, ended) = end(&mut client);
            assert_eq!(bytes, b"ab");
            assert_timely(ended, due as f64);
        });
        scope.spawn(|| {
            let peer = Peer::connect(ends.port());
            let stream = get(&peer, "/api/slow", &token);
            let over = peer.until_over(stream);
            assert_eq!((over.reset, &*over.body), (Some(CANCEL), &b"ab"[..]));
            assert_timely(unix(), due as f64);
        });
    });
    // What is over before ends nowhere.
    let good = issuer.token().sign();
    assert_eq!(ends.get("/api/slow").bearer(&good).send().text(), "abcd");
    thread::sleep(SECOND / 10);
    assert_eq!(metric(&ends, "harmony_open_streams{pipeline=\"api\"}"), Some(0.0));
}
