//! What ends a credential: its time, a revocation, a reload that takes it out, and with several
//! groups whichever is first.

use std::thread;

use serde_json::json;

use super::{
    PATIENCE, SECOND, UPGRADE, assert_closes, bearer, ended, exact, is_open, reload, soon, unix,
    upstream, websocket,
};
use crate::chain::{ALICE, BILLING, BOB, REPORTS, edge_of, step};
use crate::revocation::revoked_as;
use crate::support::poll::becomes_true;
use crate::support::token::ISSUER;
use crate::support::{Client, Edge, Issuer};

fn key(key: &str) -> String {
    format!("X-API-Key: {key}\r\n")
}

fn keys(entries: &[String]) -> String {
    step("key", "api-key", "", &format!("keys = [{}]", entries.join(", ")))
}

#[test]
fn an_api_key_that_expires() {
    let upstream = upstream();
    let due = soon() + 1;
    let entries = [BILLING.entry(&format!(", expires_at = {due}")), REPORTS.entry("")];
    let edge = edge_of(&upstream, &["key"], &keys(&entries)).start();
    let mut client = websocket(&edge, &key(BILLING.key()));
    let other = websocket(&edge, &key(REPORTS.key()));
    assert_closes(&mut client, due as f64);
    assert!(is_open(other));
}

#[test]
fn an_api_key_that_a_reload_takes_out_and_no_other() {
    let upstream = upstream();
    let (billing, reports) = (BILLING.entry(""), REPORTS.entry(""));
    let edge = edge_of(&upstream, &["key"], &keys(&[billing.clone(), reports.clone()])).start();
    let open = |of: &'static str| websocket(&edge, &key(of));
    let (mut taken, mut stays) = (open(BILLING.key()), open(REPORTS.key()));
    reload(&edge, |text| text + "# nothing\n");
    reload(&edge, |text| text.replace("[proxy]", "[proxy]\nresolve_secs = 77"));
    let since = unix();
    reload(&edge, |text| text.replace(&format!("{billing}, "), ""));
    assert_closes(&mut taken, since);
    assert_eq!(ended(&edge, "removed"), Some(1.0));
    // The same id, and another key.
    let since = unix();
    let other = format!("{{ id = \"reports\", hash = \"sha256:{}\" }}", "1".repeat(64));
    reload(&edge, |text| text.replace(&reports, &other));
    assert_closes(&mut stays, since);
}

#[test]
fn a_key_lives_on_under_another_name_and_shorter_as_a_reload_says() {
    let upstream = upstream();
    let entry = BILLING.entry("");
    let edge = edge_of(&upstream, &["key"], &keys(std::slice::from_ref(&entry))).start();
    let mut client = websocket(&edge, &key(BILLING.key()));
    // Another step of the pipeline has it, then another pipeline.
    reload(&edge, |text| {
        text.replace("middleware.key", "middleware.k2").replace("[\"key\"]", "[\"k2\"]")
    });
    reload(&edge, |text| text.replace("pipelines.api", "pipelines.other"));
    let due = soon() + 1;
    let shorter = BILLING.entry(&format!(", expires_at = {due}"));
    reload(&edge, |text| {
        text.replace("pipelines.other", "pipelines.api").replace(&entry, &shorter)
    });
    assert_closes(&mut client, due as f64);
}

#[test]
fn what_ends_before_the_stream_begins_ends_it_too() {
    let upstream = upstream();
    let (billing, reports) = (BILLING.entry(""), REPORTS.entry(""));
    let edge = edge_of(&upstream, &["key"], &keys(&[billing.clone(), reports])).start();
    let handshake = |key: &str| {
        let mut client = edge.connect().patience(PATIENCE);
        let fields = format!("{UPGRADE}X-API-Key: {key}\r\n");
        client.send(format!("GET /api/late HTTP/1.1\r\nHost: h\r\n{fields}\r\n"));
        client
    };
    let (mut taken, mut stays) = (handshake(BILLING.key()), handshake(REPORTS.key()));
    assert!(becomes_true(20 * SECOND, || upstream.count() == 2));
    reload(&edge, |text| text.replace(&format!("{billing}, "), ""));
    for client in [&mut taken, &mut stays] {
        assert_eq!(client.head().status, 101);
    }
    let since = unix() - 0.1;
    assert_closes(&mut taken, since);
    assert!(is_open(stays));
}

#[test]
fn a_user_who_has_gone_or_has_another_password() {
    let upstream = upstream();
    let users = |users: &[String]| {
        step("user", "basic-auth", "", &format!("users = [{}]", users.join(", ")))
    };
    let (alice, bob) = (ALICE.entry(), BOB.entry());
    let edge = edge_of(&upstream, &["user"], &users(&[alice.clone(), bob.clone()])).start();
    let open = |credential: String| websocket(&edge, &format!("Authorization: {credential}\r\n"));
    let (mut gone, mut changed) = (open(ALICE.credential()), open(BOB.credential()));
    let since = unix();
    reload(&edge, |text| text.replace(&format!("{alice}, "), ""));
    assert_closes(&mut gone, since);
    let since = unix();
    reload(&edge, |text| text.replace(BOB.hash, ALICE.hash));
    assert_closes(&mut changed, since);
    assert_eq!(ended(&edge, "removed"), Some(2.0));
}

#[test]
fn a_revocation_ends_what_it_names_and_nothing_else() {
    let (issuer, upstream) = (Issuer::start(), upstream());
    let edge = exact(&issuer, &upstream, "");
    let open = |id: &str| websocket(&edge, &bearer(&issuer.token().claim("jti", id).sign()));
    let (mut revoked, mut subject, other) = (open("j-1"), open("j-2"), open("j-3"));
    for (client, jti) in [(&mut revoked, "j-1"), (&mut subject, "j-2")] {
        let since = unix();
        revoked_as(&edge, json!({ "issuer": ISSUER, "jti": jti }));
        assert_closes(client, since);
    }
    assert_eq!(ended(&edge, "revoked"), Some(2.0));
    assert!(is_open(other));
}

#[test]
fn the_first_group_that_ends_ends_it() {
    let (issuer, upstream) = (Issuer::start(), upstream());
    let entry = BILLING.entry("");
    let tables = |flags: &str| {
        let jwt = format!(
            "jwks_url = \"{}\"\nissuer = \"https://auth.example.com\"\naudience = \
             \"harmony-api\"\nleeway_secs = 0",
            issuer.url()
        );
        step("jwt", "jwt-auth", flags, &jwt) + &keys(std::slice::from_ref(&entry))
    };
    let edge = edge_of(&upstream, &["jwt", "key"], &tables("")).start();
    let both = |edge: &Edge, token: &str| {
        websocket(edge, &format!("{}{}", bearer(token), key(BILLING.key())))
    };
    let due = soon() + 1;
    let token = issuer.token().claim("exp", due).sign();
    let (mut by_token, mut by_key) = (both(&edge, &token), both(&edge, &issuer.token().sign()));
    assert_closes(&mut by_token, due as f64);
    let since = unix();
    reload(&edge, |text| text.replace(&entry, &REPORTS.entry("")));
    assert_closes(&mut by_key, since);

    // A step that says "never" is no part of it.
    let edge = edge_of(&upstream, &["jwt", "key"], &tables("stream_end = \"never\"")).start();
    let mut client = both(&edge, &issuer.token().exp(1).sign());
    thread::sleep(2 * SECOND);
    let since = unix();
    reload(&edge, |text| text.replace(&entry, &REPORTS.entry("")));
    assert_closes(&mut client, since);
}

#[test]
fn a_reload_alone_ends_no_token() {
    let (issuer, upstream) = (Issuer::start(), upstream());
    let edge = exact(&issuer, &upstream, "");
    let client = websocket(&edge, &bearer(&issuer.token().sign()));
    reload(&edge, |text| text.replace("leeway_secs = 0", "leeway_secs = 1"));
    reload(&edge, |text| text.replace("leeway_secs = 1", "required_scopes = [\"x\"]"));
    assert!(is_open(client), "scopes are looked at when a request begins");
    let mut client = websocket_with_scope(&edge, &issuer);
    let since = unix();
    reload(&edge, |text| text.replace("https://auth.example.com", "https://other.example.com"));
    assert_closes(&mut client, since);
}

fn websocket_with_scope(edge: &Edge, issuer: &Issuer) -> Client {
    websocket(edge, &bearer(&issuer.token().claim("scope", "x").sign()))
}
