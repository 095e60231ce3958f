//! Authentication covers every method, upgrades and HTTP/2.

use super::CHALLENGE;
use crate::support::{Edge, Issuer, Upstream};

const METHODS: [&str; 9] =
    ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "PROPFIND", "BREW"];

#[test]
fn every_method_needs_a_token_over_both_protocols() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let (good, expired) = (issuer.token().sign(), issuer.token().expired().sign());
    for method in METHODS {
        for http2 in [false, true] {
            for body in [None, Some("a body")] {
                let row = format!("{method}, HTTP/2: {http2}, body: {body:?}");
                let request = || {
                    let request = edge.request(method, "/api/x");
                    let request = if http2 { request.http2() } else { request };
                    body.map_or(request.clone(), |body| request.body(body))
                };
                let (missing, rejected) = (request().send(), request().bearer(&expired).send());
                assert_eq!((missing.status, rejected.status), (401, 401), "{row}");
                assert_eq!(missing.fields("www-authenticate"), [CHALLENGE], "{row}");
                if method == "HEAD" {
                    assert_eq!(
                        (missing.body.len(), rejected.body.len()),
                        (0, 0),
                        "{row}: HEAD has no body"
                    );
                }
                assert_eq!(upstream.count(), 0, "{row}: nothing reaches the upstream");
                assert_eq!(request().bearer(&good).send().status, 200, "{row}: with a good token");
                let received = upstream.only();
                assert_eq!(
                    (received.method(), received.body.as_slice()),
                    (method, body.unwrap_or_default().as_bytes()),
                    "{row}"
                );
                upstream.clear();
            }
        }
    }
}

#[test]
fn a_cors_preflight_is_no_way_in() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let preflight = edge
        .request("OPTIONS", "/api/x")
        .header("Origin", "https://app.example.com")
        .header("Access-Control-Request-Method", "GET");
    assert_eq!(
        preflight.header("Access-Control-Request-Headers", "authorization").send().status,
        401
    );
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn an_upgrade_needs_a_token() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    for upgrade in ["websocket", "h2c", "TLS/1.0", "anything"] {
        let request = edge
            .get("/api/x")
            .header("Connection", "Upgrade")
            .header("Upgrade", upgrade)
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(request.clone().send().status, 401, "{upgrade} without a token");
        assert_eq!(
            request.bearer(&issuer.token().expired().sign()).send().status,
            401,
            "{upgrade} with an expired token"
        );
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn several_requests_on_one_http2_connection_are_judged_one_by_one() {
    // What `Request` cannot say: one connection, many streams at once, with and without a token.
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let token = format!("Bearer {}", issuer.token().sign());
    let fields: Vec<Option<&str>> =
        (0..20).map(|number| (number % 2 == 0).then_some(token.as_str())).collect();
    let statuses = crate::support::http2::statuses(edge.port(), "/api/x", &fields);
    let expected: Vec<u16> =
        fields.iter().map(|field| if field.is_some() { 200 } else { 401 }).collect();
    assert_eq!(statuses, expected);
    assert_eq!(upstream.count(), 10);
}
