//! Security events by push: RFC 8935, RFC 8417, CAEP 1.0 and RISC 1.0.

use std::time::Duration;

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::{page, revoke, status};
use crate::support::keys::{RsaKey, Signer};
use crate::support::poll::becomes_true;
use crate::support::token::{ISSUER, Token, now};
use crate::support::{Edge, Issuer, Program, Response, Settings, Upstream};

const SET: &str = "application/secevent+jwt";
const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/";
const RISC: &str = "https://schemas.openid.net/secevent/risc/event-type/";
const TRANSMITTER: &str = "https://ssf.example.com";

fn settings(issuer: &Issuer, transmitter: &Issuer, upstream: &Upstream, options: &str) -> Settings {
    let tables = format!(
        "[pipelines.events]\nnetworks = [\"public\"]\nendpoints = [\"events\"]\n\
         [endpoints.events]\nservice = \"security-events\"\n[endpoints.events.options]\n\
         path_prefix = \"/events\"\nissuer = \"{TRANSMITTER}\"\njwks_url = \"{}\"\n\
         audience = \"https://edge.example.com\"\nissuers = [\"{ISSUER}\"]\n{options}\n",
        transmitter.url()
    );
    Settings::with_jwt(issuer, upstream).and(&tables)
}

fn set(transmitter: &Issuer, events: Value) -> Token {
    transmitter
        .token()
        .header("typ", "secevent+jwt")
        .claim("iss", TRANSMITTER)
        .claim("aud", "https://edge.example.com")
        .claim("jti", "e-1")
        .claim("events", events)
        .claim("sub_id", alice())
        .without("sub")
        .without("exp")
        .without("nbf")
}

fn alice() -> Value {
    json!({ "format": "iss_sub", "iss": ISSUER, "sub": "alice" })
}

fn revoked_session() -> Value {
    json!({ format!("{CAEP}session-revoked"): {} })
}

fn post(edge: &Edge, token: &str) -> Response {
    edge.post("/events", token).header("Content-Type", SET).send()
}

struct House {
    issuer: Issuer,
    transmitter: Issuer,
    edge: Edge,
    _upstream: Upstream,
}

impl House {
    fn with(options: &str) -> Self {
        let (issuer, transmitter) = (Issuer::start(), Issuer::with_key("t1", 1));
        let upstream = Upstream::start();
        let edge = Edge::configured(settings(&issuer, &transmitter, &upstream, options)).start();
        Self { issuer, transmitter, edge, _upstream: upstream }
    }

    fn clear(&self) {
        for entry in page(&self.edge, "")["revocations"].as_array().unwrap() {
            assert_eq!(super::delete(&self.edge, entry["id"].as_str().unwrap()), 204);
        }
    }
}

#[test]
fn events_that_end_something() {
    let house = House::with("");
    let edge = &house.edge;
    let token = |sub: &str| house.issuer.token().claim("sub", sub).claim("sid", "s-1").sign();
    let (alices, bobs) = (token("alice"), token("bob"));
    let change = |change_type: &str| json!({ "change_type": change_type });
    let rows = [
        ("session-revoked", json!({ format!("{CAEP}session-revoked"): {} }), 401),
        (
            "credential revoked",
            json!({ format!("{CAEP}credential-change"): change("revoke") }),
            401,
        ),
        (
            "credential deleted",
            json!({ format!("{CAEP}credential-change"): change("delete") }),
            401,
        ),
        (
            "credential updated",
            json!({ format!("{CAEP}credential-change"): change("update") }),
            401,
        ),
        (
            "credential created",
            json!({ format!("{CAEP}credential-change"): change("create") }),
            200,
        ),
        ("account-disabled", json!({ format!("{RISC}account-disabled"): {} }), 401),
        ("sessions-revoked", json!({ format!("{RISC}sessions-revoked"): {} }), 401),
        ("unknown", json!({ "https://example.com/x": {} }), 200),
        (
            "verification",
            json!({ "https://schemas.openid.net/secevent/ssf/event-type/verification": {} }),
            200,
        ),
    ];
    for (row, events, expected) in rows {
        assert_eq!(status(edge, &alices), 200, "{row}");
        let answer = post(edge, &set(&house.transmitter, events).sign());
        assert_eq!((answer.status, answer.body.len()), (202, 0), "{row}: {}", answer.text());
        assert_eq!((status(edge, &alices), status(edge, &bobs)), (expected, 200), "{row}");
        house.clear();
    }
    let words = format!("endpoint events: \"{TRANSMITTER}\" revoked sub \"alice\" of \"{ISSUER}\"");
    assert!(becomes_true(Duration::from_secs(20), || edge.log().contains(&words)), "{words}");
}

#[test]
fn subjects_and_times() {
    let house = House::with("");
    let edge = &house.edge;
    let at = |seconds: i64| house.issuer.token().claim("iat", now() + seconds).claim("sid", "s-1");
    let (old, new) = (at(-100).sign(), at(-10).sign());
    let session = json!({ "format": "opaque", "id": "s-1" });
    let event = |payload: Value| json!({ format!("{CAEP}session-revoked"): payload });
    let with = |events: Value| set(&house.transmitter, events);
    for (row, token, expected) in [
        ("iat", with(event(json!({}))), [401, 401]),
        ("event_timestamp", with(event(json!({ "event_timestamp": now() - 50 }))), [401, 200]),
        ("toe", with(event(json!({}))).claim("toe", now() - 50), [401, 200]),
        (
            "opaque",
            with(event(json!({}))).claim("sub_id", json!({ "format": "opaque", "id": "alice" })),
            [401, 401],
        ),
        (
            "complex, with a session",
            with(event(json!({ "event_timestamp": now() - 50 }))).claim(
                "sub_id",
                json!({ "format": "complex", "user": alice(), "session": session }),
            ),
            [401, 200],
        ),
        ("in the event", with(event(json!({ "subject": alice() }))).without("sub_id"), [401, 401]),
        (
            "of an issuer that it may not revoke",
            with(event(json!({}))).claim(
                "sub_id",
                json!({ "format": "iss_sub", "iss": "https://other.example", "sub": "alice" }),
            ),
            [200, 200],
        ),
        (
            "another session",
            with(event(json!({}))).claim(
                "sub_id",
                json!({ "format": "complex", "session": { "format": "opaque", "id": "s-2" } }),
            ),
            [200, 200],
        ),
    ] {
        let answer = post(edge, &token.sign());
        assert_eq!(answer.status, 202, "{row}: {}", answer.text());
        assert_eq!([status(edge, &old), status(edge, &new)], expected, "{row}");
        house.clear();
    }
}

#[test]
fn refusals_have_the_codes_of_rfc_8935() {
    let house = House::with("");
    let edge = &house.edge;
    let good = || set(&house.transmitter, revoked_session());
    let rows = [
        ("another issuer", good().claim("iss", "https://x"), "invalid_issuer"),
        ("another audience", good().claim("aud", "x"), "invalid_audience"),
        ("no audience", good().without("aud"), "invalid_audience"),
        ("another key", good().signed_by(Signer::Rs256(RsaKey::number(0))), "invalid_key"),
        ("an unknown key", good().kid("t9"), "invalid_key"),
        ("another type", good().header("typ", "JWT"), "invalid_request"),
        ("no type", good().without_header("typ"), "invalid_request"),
        ("no events", good().without("events"), "invalid_request"),
        ("empty events", good().claim("events", json!({})), "invalid_request"),
        ("no subject", good().without("sub_id"), "invalid_request"),
        (
            "a subject that finds nothing",
            good().claim("sub_id", json!({ "format": "email", "email": "a@example.com" })),
            "invalid_request",
        ),
        ("no id", good().without("jti"), "invalid_request"),
        ("no time", good().without("iat"), "invalid_request"),
        ("expired", good().claim("exp", now() - 600), "invalid_request"),
        ("of the future", good().claim("iat", now() + 600), "invalid_request"),
    ];
    for (row, token, code) in rows {
        let answer = post(edge, &token.sign());
        assert_eq!(answer.status, 400, "{row}");
        let body = answer.json();
        assert_eq!(body["err"], code, "{row}: {body}");
        assert!(body["description"].is_string(), "{row}");
        assert_eq!(answer.field("content-type"), Some("application/json"), "{row}");
        assert_eq!(answer.field("content-language"), Some("en"), "{row}");
        assert_eq!(answer.field("cache-control"), Some("no-store"), "{row}");
    }
    let token = good().sign();
    for media_type in ["application/jwt", "text/plain", "application/x-www-form-urlencoded"] {
        let answer = edge.post("/events", token.as_str()).header("Content-Type", media_type).send();
        assert_eq!((answer.status, &answer.json()["err"]), (400, &json!("invalid_request")));
    }
    assert_eq!(post(edge, "garbage").json()["err"], "invalid_request");
    assert_eq!(edge.get("/events").send().status, 405);
    assert_eq!(page(edge, "")["total"], 0);
    for _ in 0..2 {
        assert_eq!(post(edge, &token).status, 202, "delivered twice is delivered");
    }
    assert_eq!(page(edge, "")["total"], 1);
}

#[test]
fn a_transmitter_with_many_unknown_subjects_is_not_shut_out() {
    let house = House::with("");
    let edge = &house.edge;
    let email = json!({ "format": "email", "email": "a@example.com" });
    let unknown = set(&house.transmitter, revoked_session()).claim("sub_id", email).sign();
    for _ in 0..61 {
        assert_eq!(post(edge, &unknown).status, 400);
    }
    assert_eq!(post(edge, &set(&house.transmitter, revoked_session()).sign()).status, 202);
    assert_eq!(page(edge, "")["total"], 1);
}

#[test]
fn a_transmitter_may_have_to_authenticate() {
    let hash = digest(&SHA256, b"a token of the transmitter");
    let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let house = House::with(&format!("token_hash = \"{hex}\""));
    let edge = &house.edge;
    let token = set(&house.transmitter, revoked_session()).sign();
    let with = |value: Option<&str>| {
        let request = edge.post("/events", token.as_str()).header("Content-Type", SET);
        match value {
            Some(value) => request.header("Authorization", value).send(),
            None => request.send(),
        }
    };
    for value in [None, Some("Bearer x"), Some("Basic a token of the transmitter"), Some("")] {
        let answer = with(value);
        assert_eq!(answer.status, 400, "{value:?}");
        assert_eq!(answer.json()["err"], "authentication_failed", "{value:?}");
    }
    assert_eq!(page(edge, "")["total"], 0);
    assert_eq!(with(Some("Bearer a token of the transmitter")).status, 202);
}

#[test]
fn failed_posts_are_limited_and_without_room_it_is_503() {
    let house = House::with("\n[revocations]\nmax_revocations = 1");
    let edge = &house.edge;
    assert_eq!(revoke(edge, &json!({ "key": "x" })).status, 201);
    let token = set(&house.transmitter, revoked_session()).sign();
    let answer = post(edge, &token);
    assert_eq!(answer.status, 503);
    assert!(answer.field("retry-after").is_some());
    for _ in 0..60 {
        assert_eq!(post(edge, "a.b.c").status, 400);
    }
    assert_eq!(post(edge, &token).status, 429);
}

#[test]
fn options_that_make_no_sense() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let check = |from: &str, to: &str| {
        let text = settings(&issuer, &issuer, &upstream, "").text().replace(from, to);
        Program::check(&text.replace("{port}", "1").replace("{mport}", "2")).run()
    };
    check("", "").assert_ok("as it is");
    let refused = |from: &str, to: &str, words: &[&str]| {
        let ran = check(from, to);
        assert_eq!(ran.status, Some(1), "{from} -> {to}: {}", ran.stderr);
        ran.error_with(words);
    };
    refused(&format!("issuer = \"{TRANSMITTER}\"\n"), "", &["endpoints.events", "issuer"]);
    refused("audience = \"https://edge.example.com\"\n", "", &["endpoints.events", "audience"]);
    let with = |line: &str| format!("path_prefix = \"/events\"\n{line}\n");
    refused("path_prefix = \"/events\"\n", &with("token_hash = \"x\""), &["token_hash"]);
    refused("path_prefix = \"/events\"\n", &with("max_body_size = 7"), &["max_body_size"]);
    refused("path_prefix = \"/events\"\n", &with("nonsense = 7"), &["nonsense"]);
}
