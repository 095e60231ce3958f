//! The seeds' chain: a token first, and a key for those who have none.

use super::{
    ALICE, API_KEY, BASIC, BEARER, BILLING, assert_absent, edge_of, forms, identity_of, secret,
    step,
};
use crate::bearer::assert_generic_denial;
use crate::support::edge::EdgeBuilder;
use crate::support::token::{AUDIENCE, ISSUER};
use crate::support::{Edge, Issuer, Upstream};

/// The same challenge when a token was refused.
const INVALID: &str = r#"Bearer realm="harmony", error="invalid_token""#;
const REPEATED: &str = r#"Bearer realm="harmony", error="invalid_request""#;

const UNKNOWN_KEY: &str = "hk_nobodyknowsthiskeynobodyknows";

/// `/api` with the step `jwt`, which has these flags, and then `key`.
fn token_then_key(issuer: &Issuer, upstream: &Upstream, flags: &str) -> EdgeBuilder {
    edge_of(upstream, &["jwt", "key"], &(jwt(issuer, flags) + &key("")))
}

fn jwt(issuer: &Issuer, flags: &str) -> String {
    step(
        "jwt",
        "jwt-auth",
        flags,
        &format!(
            "jwks_url = \"{}\"\nissuer = \"{ISSUER}\"\naudience = \"{AUDIENCE}\"",
            issuer.url()
        ),
    )
}

fn key(flags: &str) -> String {
    step("key", "api-key", flags, &format!("keys = [{}]", BILLING.entry("")))
}

/// What a request has to lead to.
enum Outcome<'a> {
    As(&'a str, &'a str),
    Denied(u16, &'a [&'a str]),
}
use Outcome::{As, Denied};

/// What it is, its fields, and what it leads to.
type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], Outcome<'a>);

/// Every row in every form.
#[track_caller]
fn assert_outcomes(edge: &Edge, upstream: &Upstream, rows: &[Row<'_>]) {
    for (row, fields, outcome) in rows {
        for form in forms(edge) {
            match outcome {
                As(method, subject) => {
                    let received = form.assert_passes(row, fields, upstream, (method, subject));
                    assert_absent(row, &received, BILLING.key());
                }
                Denied(status, challenges) => {
                    form.assert_denied(row, fields, *status, challenges);
                    assert_eq!(upstream.count(), 0, "{row}: nothing reaches the upstream");
                }
            }
        }
    }
}

#[test]
fn a_token_or_else_a_key() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = token_then_key(&issuer, &upstream, "optional = true").start();
    let (good, bad) = (
        format!("Bearer {}", issuer.token().sign()),
        format!("Bearer {}", issuer.token().expired().sign()),
    );
    let (good, bad) = (("Authorization", good.as_str()), ("Authorization", bad.as_str()));
    let (key, unknown) = (("X-API-Key", BILLING.key()), ("X-API-Key", secret(UNKNOWN_KEY)));
    let password = ALICE.credential();
    assert_outcomes(
        &edge,
        &upstream,
        &[
            ("nothing", &[], Denied(401, &[BEARER, API_KEY])),
            ("a good token", &[good], As("jwt", "alice")),
            ("a good key", &[key], As("api-key", "billing")),
            ("both", &[good, key], As("jwt", "alice")),
            ("a bad token", &[bad], Denied(401, &[INVALID, API_KEY])),
            (
                "a bad token never falls back to a key",
                &[bad, key],
                Denied(401, &[INVALID, API_KEY]),
            ),
            (
                "an empty token never falls back either",
                &[("Authorization", "Bearer"), key],
                Denied(401, &[INVALID, API_KEY]),
            ),
            ("an unknown key", &[unknown], Denied(401, &[INVALID, API_KEY])),
            ("a bad token and an unknown key", &[bad, unknown], Denied(401, &[INVALID, API_KEY])),
            ("a good token, whatever the key", &[good, unknown], As("jwt", "alice")),
            (
                "another scheme and a key",
                &[("Authorization", &password), key],
                As("api-key", "billing"),
            ),
            ("two tokens", &[good, good], Denied(400, &[REPEATED, API_KEY])),
            ("two keys", &[key, key], Denied(400, &[REPEATED, API_KEY])),
            ("a good token and two keys", &[good, key, key], Denied(400, &[REPEATED, API_KEY])),
            ("two tokens and a good key", &[good, bad, key], Denied(400, &[REPEATED, API_KEY])),
        ],
    );
}

#[test]
fn with_fallback_on_failed_a_key_makes_up_for_a_bad_token() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge =
        token_then_key(&issuer, &upstream, "optional = true\nfallback_on = \"failed\"").start();
    let (good, bad) = (
        format!("Bearer {}", issuer.token().sign()),
        format!("Bearer {}", issuer.token().expired().sign()),
    );
    let (good, bad) = (("Authorization", good.as_str()), ("Authorization", bad.as_str()));
    let (key, unknown) = (("X-API-Key", BILLING.key()), ("X-API-Key", secret(UNKNOWN_KEY)));
    assert_outcomes(
        &edge,
        &upstream,
        &[
            ("nothing", &[], Denied(401, &[BEARER, API_KEY])),
            ("a good token", &[good], As("jwt", "alice")),
            ("a good key", &[key], As("api-key", "billing")),
            ("both", &[good, key], As("jwt", "alice")),
            ("a bad token", &[bad], Denied(401, &[INVALID, API_KEY])),
            ("a bad token and a good key", &[bad, key], As("api-key", "billing")),
            ("a bad token and an unknown key", &[bad, unknown], Denied(401, &[INVALID, API_KEY])),
            ("two tokens and a good key", &[good, bad, key], Denied(400, &[REPEATED, API_KEY])),
        ],
    );
}

#[test]
fn where_all_steps_are_optional_a_bad_credential_is_no_anonymous_one() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let tables =
        jwt(&issuer, "optional = true\nfallback_on = \"failed\"") + &key("optional = true");
    let edge = edge_of(&upstream, &["jwt", "key"], &tables).start();
    let bad = issuer.token().expired().sign();
    assert_eq!(
        edge.get("/api/x").header("X-Auth-Subject", "root").send().status,
        200,
        "nothing presented"
    );
    assert_eq!(identity_of(&upstream.only()), (None, None), "anonymous");
    upstream.clear();
    for (row, request) in [
        ("a bad token", edge.get("/api/x").bearer(&bad)),
        ("an unknown key", edge.get("/api/x").header("X-API-Key", secret(UNKNOWN_KEY))),
        ("both", edge.get("/api/x").bearer(&bad).header("X-API-Key", UNKNOWN_KEY)),
    ] {
        assert_eq!(request.send().status, 401, "{row}");
    }
    assert_eq!(upstream.count(), 0);
}

#[test]
fn three_kinds_have_three_challenges() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let password =
        step("password", "basic-auth", "optional = true", &format!("users = [{}]", ALICE.entry()));
    let tables = jwt(&issuer, "optional = true") + &password + &key("");
    let edge = edge_of(&upstream, &["jwt", "password", "key"], &tables).start();
    let (good, right, wrong) = (
        format!("Bearer {}", issuer.token().sign()),
        ALICE.credential(),
        super::basic("alice", "wrong-wrong-wrong-wrong-wrong"),
    );
    let key = ("X-API-Key", BILLING.key());
    assert_outcomes(
        &edge,
        &upstream,
        &[
            ("nothing", &[], Denied(401, &[BEARER, BASIC, API_KEY])),
            ("a token", &[("Authorization", &good), key], As("jwt", "alice")),
            ("a password", &[("Authorization", &right), key], As("basic", "alice")),
            ("a key", &[key], As("api-key", "billing")),
        ],
    );
    let refused = edge.get("/api/x").header("Authorization", wrong).header(key.0, key.1).send();
    assert_eq!(refused.status, 401, "a wrong password never falls back to a key");
    assert_generic_denial("a wrong password", &refused);
}

#[test]
fn a_key_and_a_token_where_both_are_required() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = token_then_key(&issuer, &upstream, "").start();
    let good = format!("Bearer {}", issuer.token().sign());
    let (good, key) = (("Authorization", good.as_str()), ("X-API-Key", BILLING.key()));
    assert_outcomes(
        &edge,
        &upstream,
        &[
            ("nothing", &[], Denied(401, &[BEARER])),
            ("a token alone", &[good], Denied(401, &[API_KEY])),
            ("a key alone", &[key], Denied(401, &[BEARER])),
            ("both: the first one's identity is sent on", &[good, key], As("jwt", "alice")),
        ],
    );
}

#[test]
fn a_token_without_a_usable_key_set_is_503_whatever_the_key() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    issuer.answer(crate::support::issuer::Answer::Status(500));
    let edge = token_then_key(&issuer, &upstream, "optional = true").start();
    let response =
        edge.get("/api/x").bearer(&issuer.token().sign()).header("X-API-Key", BILLING.key()).send();
    assert_eq!(response.status, 503);
    assert!(response.field("retry-after").is_some(), "Retry-After");
    assert_eq!(upstream.count(), 0);
    assert_eq!(
        edge.get("/api/x").header("X-API-Key", BILLING.key()).send().status,
        200,
        "a key alone needs no key set"
    );
}
