//! What a reload takes away stops working at once, although it was accepted, and remembered, a
//! moment ago.

use std::fs;
use std::sync::Arc;

use serde_json::json;

use super::{ALICE, BILLING, BOB, REPORTS, edge_of, reload, step};
use crate::support::keys::{RsaKey, Signer};
use crate::support::request::Request;
use crate::support::token::Token;
use crate::support::{Edge, Settings, Upstream, secrets};

/// `removed` and `kept` are accepted, twice each, over both protocols; after `change` and a reload
/// only `kept` is, also on a connection from before.
#[track_caller]
fn assert_removed(edge: &Edge, removed: (&str, &str), kept: (&str, &str), change: impl FnOnce()) {
    let with = |(name, value): (&str, &str)| edge.get("/api/x").header(name, value);
    let status = |request: Request| request.send().status;
    for credential in [removed, kept, removed, kept] {
        assert_eq!(
            [status(with(credential)), status(with(credential).http2())],
            [200, 200],
            "before the reload"
        );
    }
    let mut connection = edge.connect();
    connection.send(with(removed).bytes());
    assert_eq!(connection.response().status, 200, "before the reload");

    change();
    reload(edge);

    connection.send(with(removed).bytes());
    assert_eq!(connection.response().status, 401, "the very next request, on the same connection");
    assert_eq!(
        [status(with(removed)), status(with(removed).http2())],
        [401, 401],
        "what was removed"
    );
    assert_eq!([status(with(kept)), status(with(kept).http2())], [200, 200], "what was kept");
}

#[test]
fn a_removed_user_is_out() {
    let upstream = Upstream::start();
    let users = |names: &[String]| format!("users = [{}]", names.join(", "));
    let (both, one) = (users(&[ALICE.entry(), BOB.entry()]), users(&[BOB.entry()]));
    let edge =
        edge_of(&upstream, &["password"], &step("password", "basic-auth", "", &both)).start();
    let (alice, bob) = (ALICE.credential(), BOB.credential());
    assert_removed(&edge, ("Authorization", &alice), ("Authorization", &bob), || {
        edge.rewrite(|text| text.replace(&both, &one))
    });
}

#[test]
fn a_changed_password_ends_the_old_one() {
    let upstream = Upstream::start();
    let users = format!("users = [{}, {}]", ALICE.entry(), BOB.entry());
    let edge =
        edge_of(&upstream, &["password"], &step("password", "basic-auth", "", &users)).start();
    let (alice, bob) = (ALICE.credential(), BOB.credential());
    assert_removed(&edge, ("Authorization", &alice), ("Authorization", &bob), || {
        edge.rewrite(|text| text.replace(ALICE.hash, BOB.hash))
    });
    let changed = super::basic(ALICE.name, BOB.password);
    assert_eq!(
        edge.get("/api/x").header("Authorization", changed).send().status,
        200,
        "the new password"
    );
}

#[test]
fn a_user_who_left_the_htpasswd_file_is_out() {
    let upstream = Upstream::start();
    let line = |user: &super::User| format!("{}:{}\n", user.name, user.hash);
    for user in [&ALICE, &BOB] {
        secrets::remember(user.hash);
    }
    let edge = edge_of(
        &upstream,
        &["password"],
        &step("password", "basic-auth", "", "htpasswd_path = \"htpasswd\""),
    );
    let edge = edge.file("htpasswd", &(line(&ALICE) + &line(&BOB))).start();
    let (alice, bob) = (ALICE.credential(), BOB.credential());
    assert_removed(&edge, ("Authorization", &alice), ("Authorization", &bob), || {
        fs::write(edge.directory().join("htpasswd"), line(&BOB)).unwrap()
    });
}

#[test]
fn a_removed_api_key_is_out() {
    let upstream = Upstream::start();
    let keys = |entries: &[String]| format!("keys = [{}]", entries.join(", "));
    let (both, one) = (keys(&[BILLING.entry(""), REPORTS.entry("")]), keys(&[REPORTS.entry("")]));
    let edge = edge_of(&upstream, &["key"], &step("key", "api-key", "", &both)).start();
    assert_removed(&edge, ("X-API-Key", BILLING.key()), ("X-API-Key", REPORTS.key()), || {
        edge.rewrite(|text| text.replace(&both, &one))
    });
}

#[test]
fn a_key_that_expires_by_the_reload_is_out() {
    let upstream = Upstream::start();
    let entry = |end: &str| BILLING.entry(&format!(", expires_at = \"{end}\""));
    let (later, past) = (entry("2100-01-01T00:00:00Z"), entry("2020-01-01T00:00:00Z"));
    let keys = format!("keys = [{later}, {}]", REPORTS.entry(""));
    let edge = edge_of(&upstream, &["key"], &step("key", "api-key", "", &keys)).start();
    assert_removed(&edge, ("X-API-Key", BILLING.key()), ("X-API-Key", REPORTS.key()), || {
        edge.rewrite(|text| text.replace(&later, &past))
    });
}

#[test]
fn a_key_that_left_the_key_set_in_a_file_is_out() {
    let upstream = Upstream::start();
    let (one, two) = (RsaKey::number(0), RsaKey::number(1));
    let bearer = |key: &Arc<RsaKey>, kid: &str| {
        format!("Bearer {}", Token::new("RS256", Signer::Rs256(Arc::clone(key))).kid(kid).sign())
    };
    let (removed, kept) = (bearer(&one, "k1"), bearer(&two, "k2"));
    let both = json!({ "keys": [one.jwk("k1"), two.jwk("k2")] }).to_string();
    let edge = Edge::configured(Settings::with_keys("jwks_path = \"keys.json\"", &upstream))
        .file("keys.json", &both)
        .start();
    let rest = json!({ "keys": [two.jwk("k2")] }).to_string();
    assert_removed(&edge, ("Authorization", &removed), ("Authorization", &kept), || {
        fs::write(edge.directory().join("keys.json"), rest).unwrap()
    });
}
