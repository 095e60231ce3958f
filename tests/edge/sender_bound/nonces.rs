//! Nonces that a proof has to hold (RFC 9449 section 8).

use super::{challenge, edge, token, url};
use crate::support::proof::Sender;
use crate::support::{Issuer, Response, Upstream};

fn nonce(response: &Response) -> String {
    response.head.field("dpop-nonce").expect("a nonce").to_owned()
}

#[test]
fn a_client_is_told_a_nonce_and_passes_with_it() {
    let (issuer, upstream, sender) = (Issuer::start(), Upstream::start(), Sender::new());
    let edge = edge("require", &issuer, &upstream).jwt("dpop_nonce = true").start();
    let token = token(&issuer, &sender);
    let get = |nonce: Option<&str>, http2: bool| {
        let proof = sender.proof(&url(&edge, "/api/x"), &token);
        let proof = match nonce {
            Some(nonce) => proof.claim("nonce", nonce),
            None => proof,
        };
        let request = edge.get("/api/x").dpop(&token, &proof.sign());
        if http2 { request.http2() } else { request }.send()
    };
    for http2 in [false, true] {
        let first = get(None, http2);
        assert_eq!(first.status, 401);
        assert_eq!(first.fields("www-authenticate"), [challenge("use_dpop_nonce")]);
        let told = nonce(&first);
        for _ in 0..3 {
            let passed = get(Some(&told), http2);
            assert_eq!(passed.status, 200);
            assert_eq!(passed.head.field("dpop-nonce").map(str::len), Some(told.len()));
        }
        for wrong in ["", "x", &told[1..], &told.to_uppercase()] {
            let refused = get(Some(wrong), http2);
            assert_eq!(refused.fields("www-authenticate"), [challenge("use_dpop_nonce")]);
            assert!(refused.head.has("dpop-nonce"));
        }
    }
    assert!(!edge.get("/api/x").send().head.has("dpop-nonce"), "nobody has asked for one");
}

#[test]
fn a_fleet_shares_its_nonces_and_strangers_do_not() {
    let (issuer, upstream, sender) = (Issuer::start(), Upstream::start(), Sender::new());
    let token = token(&issuer, &sender);
    let fleet = || {
        let edge = edge("allow", &issuer, &upstream).jwt("dpop_nonce = true");
        let edge = edge.jwt("dpop_nonce_secret = \"${NONCES}\"");
        edge.env("NONCES", "a secret of 32 bytes, and some more").start()
    };
    let (one, two) = (fleet(), fleet());
    let own = edge("allow", &issuer, &upstream).jwt("dpop_nonce = true").start();
    let proof = sender.proof(&url(&one, "/api/x"), &token).sign();
    let told = nonce(&one.get("/api/x").dpop(&token, &proof).send());
    for (edge, expected) in [(&one, 200), (&two, 200), (&own, 401)] {
        let proof = sender.proof(&url(edge, "/api/x"), &token).claim("nonce", told.as_str());
        assert_eq!(edge.get("/api/x").dpop(&token, &proof.sign()).send().status, expected);
    }
}
