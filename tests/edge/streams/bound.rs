//! Streams that a token with a proof let in (RFC 9449): they end as those of any other token do.

use serde_json::json;

use super::{SECOND, assert_closes, ended, exact, is_open, metric, open, soon, unix, upstream};
use crate::introspection::Tokens;
use crate::revocation::revoked_as;
use crate::streams::UPGRADE;
use crate::support::proof::Sender;
use crate::support::token::ISSUER;
use crate::support::{Client, Edge, Issuer};

/// A WebSocket that this token let in, with a proof of its sender's.
fn websocket(edge: &Edge, sender: &Sender, token: &str) -> Client {
    let proof = sender.proof("http://h/api/ws", token).sign();
    let fields = format!("{UPGRADE}Authorization: DPoP {token}\r\nDPoP: {proof}\r\n");
    open(edge, "/api/ws", &fields, 101)
}

#[test]
fn they_end_with_the_token_and_with_a_revocation_of_it() {
    let (issuer, upstream, sender) = (Issuer::start(), upstream(), Sender::new());
    for dpop in ["require", "allow"] {
        let edge = Edge::with_jwt(&issuer, &upstream)
            .jwt(&format!("leeway_secs = 0\ndpop = \"{dpop}\""))
            .start();
        let token = || issuer.token().claim("cnf", sender.cnf());
        let open = |token: &str| websocket(&edge, &sender, token);
        let due = soon() + 1;
        let mut expires = open(&token().claim("exp", due).sign());
        let mut by_id = open(&token().claim("jti", "j-1").sign());
        let mut by_subject = open(&token().claim("sub", "carol").sign());
        let other = open(&token().claim("jti", "j-2").sign());
        assert_closes(&mut expires, due as f64);
        for (client, entry) in [
            (&mut by_id, json!({ "issuer": ISSUER, "jti": "j-1" })),
            (&mut by_subject, json!({ "issuer": ISSUER, "sub": "carol" })),
        ] {
            let since = unix();
            revoked_as(&edge, entry);
            assert_closes(client, since);
        }
        assert_eq!((ended(&edge, "expired"), ended(&edge, "revoked")), (Some(1.0), Some(2.0)));
        assert!(is_open(other));
    }
}

#[test]
fn their_issuer_is_asked_again_without_a_proof() {
    let (tokens, upstream, sender) = (Tokens::start(), upstream(), Sender::new());
    let edge = tokens.edge("cache_secs = 1\ndpop = \"require\"", &upstream).start();
    let mut answer = tokens.answer();
    answer["cnf"] = sender.cnf();
    tokens.know("opaque-one", answer.clone());
    tokens.know("opaque-two", answer);
    let mut client = websocket(&edge, &sender, "opaque-one");
    let other = websocket(&edge, &sender, "opaque-two");
    std::thread::sleep(5 * SECOND / 2);
    assert_eq!(metric(&edge, "harmony_open_streams{pipeline=\"api\"}"), Some(2.0));
    let since = unix();
    tokens.know("opaque-one", json!({ "active": false }));
    assert_eq!(client.raw_exactly(4), super::CLOSE);
    assert!(unix() < since + 2.5, "{}", unix() - since);
    assert!(is_open(other));
}

#[test]
fn a_reload_that_asks_for_no_proofs_any_more_ends_none() {
    let (issuer, upstream, sender) = (Issuer::start(), upstream(), Sender::new());
    let edge = exact(&issuer, &upstream, "");
    super::reload(&edge, |text| {
        text.replace("leeway_secs = 0", "leeway_secs = 0\ndpop = \"require\"")
    });
    let token = issuer.token().claim("cnf", sender.cnf()).sign();
    let client = websocket(&edge, &sender, &token);
    super::reload(&edge, |text| text.replace("dpop = \"require\"", "dpop = \"off\""));
    assert!(is_open(client));
    assert_eq!(edge.get("/api/x").bearer(&token).send().status, 401);
}
