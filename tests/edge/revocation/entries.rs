//! Every kind of entry, made and ended through the Management API.

use std::time::Duration;

use serde_json::{Value, json};

use super::{delete, page, revoke, revoked, revoked_as, status};
use crate::support::authority::{Authority, Pair};
use crate::support::keys::base64url;
use crate::support::poll::becomes_true;
use crate::support::settings::Route;
use crate::support::tls::Offer;
use crate::support::token::{ISSUER, Token, now};
use crate::support::{Edge, Issuer, Upstream};
use crate::tls::Listening;

/// Every second request of a client finds the token in the cache.
#[track_caller]
fn passes(edge: &Edge, token: &str) {
    for _ in 0..3 {
        assert_eq!(status(edge, token), 200);
    }
}

#[track_caller]
fn is_revoked(edge: &Edge, token: &str) {
    for _ in 0..3 {
        let answer = edge.get("/api/x").bearer(token).send();
        assert_eq!(answer.status, 401);
        assert_eq!(
            answer.fields("www-authenticate"),
            ["Bearer realm=\"harmony\", error=\"invalid_token\""],
            "as for any other token that does not pass"
        );
    }
}

#[test]
fn each_kind_ends_what_it_names_and_nothing_else() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let token = |name: &str, value: &str| issuer.token().claim(name, value);
    for (name, named, other) in [
        ("jti", token("jti", "t-1"), token("jti", "t-2")),
        ("sid", token("sid", "s-1"), token("sid", "s-2")),
        ("sub", token("sub", "carol"), token("sub", "dave")),
        ("client_id", token("client_id", "app"), token("client_id", "other")),
        ("client_id", token("azp", "spa"), token("azp", "other")),
    ] {
        let value = match name {
            "jti" => "t-1",
            "sid" => "s-1",
            "sub" => "carol",
            _ if named.claims_text().contains("spa") => "spa",
            _ => "app",
        };
        let (named, other) = (named.sign(), other.sign());
        passes(&edge, &named);
        let id = revoked(&edge, name, value);
        is_revoked(&edge, &named);
        passes(&edge, &other);
        let elsewhere = json!({ "issuer": "https://other.example", name: value });
        assert_ne!(revoked_as(&edge, elsewhere), id);
        assert_eq!(delete(&edge, &id), 204, "{name}");
        passes(&edge, &named);
        assert_eq!(delete(&edge, &id), 404, "{name}");
    }
    assert!(becomes_true(Duration::from_secs(20), || edge.log().contains("reason=revoked")));
}

#[test]
fn before_is_inclusive_and_a_token_without_a_time_is_old() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let at = |seconds: i64| issuer.token().claim("iat", now() - 100 + seconds);
    let tokens = [at(-1), at(0), at(1)].map(|token| token.sign());
    let fraction = issuer.token().claim("iat", json!((now() - 100) as f64 + 0.9)).sign();
    let timeless = issuer.token().without("iat").sign();
    for entry in [json!({ "issuer": ISSUER, "sub": "alice" }), json!({ "issuer": ISSUER })] {
        let mut entry = entry;
        entry["before"] = json!(now() - 100);
        let id = revoked_as(&edge, entry);
        assert_eq!(tokens.each_ref().map(|token| status(&edge, token)), [401, 401, 200]);
        assert_eq!([&fraction, &timeless].map(|token| status(&edge, token)), [401, 401]);
        assert_eq!(delete(&edge, &id), 204);
        assert_eq!(status(&edge, &tokens[0]), 200);
    }
    // Without `before`: what was issued until now, even by a clock that is ahead.
    let ahead = issuer.token().claim("iat", now() + 20).without("nbf").sign();
    passes(&edge, &ahead);
    revoked(&edge, "sub", "alice");
    assert_eq!(tokens.each_ref().map(|token| status(&edge, token)), [401, 401, 401]);
    is_revoked(&edge, &ahead);
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(status(&edge, &issuer.token().sign()), 200, "a new token");
    is_revoked(&edge, &ahead);
}

#[test]
fn an_entry_ends_when_it_says() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let token = issuer.token().claim("jti", "t").sign();
    let until = now() + 2;
    revoked_as(&edge, json!({ "issuer": ISSUER, "jti": "t", "until": until }));
    is_revoked(&edge, &token);
    assert!(becomes_true(Duration::from_secs(20), || status(&edge, &token) == 200));
    assert!(now() >= until);
}

#[test]
fn several_at_once_and_the_list_page_by_page() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).start();
    let entries: Vec<Value> =
        (0..25).map(|number| json!({ "issuer": ISSUER, "jti": number.to_string() })).collect();
    let answer = revoke(&edge, &json!({ "revocations": entries }));
    assert_eq!(answer.status, 201);
    let ids: Vec<String> = serde_json::from_value(answer.json()["ids"].clone()).unwrap();
    assert_eq!(ids.len(), 25);
    assert_eq!(revoked_as(&edge, entries[7].clone()), ids[7], "in the order given, and the same");
    let mut found = Vec::new();
    let mut query = "?limit=10".to_owned();
    loop {
        let page = page(&edge, &query);
        assert_eq!((&page["total"], &page["max"]), (&json!(25), &json!(100_000)));
        for entry in page["revocations"].as_array().unwrap() {
            assert_eq!(entry["issuer"], ISSUER);
            assert!(entry["expires_at"].as_i64().unwrap() > now() + 29 * 86_400);
            found.push(entry["id"].as_str().unwrap().to_owned());
        }
        let Some(next) = page["next"].as_str() else { break };
        query = format!("?limit=10&after={next}");
    }
    let mut expected = ids.clone();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(page(&edge, "")["revocations"].as_array().map(Vec::len), Some(25));
    for query in ["?limit=0", "?limit=1001", "?limit=x", "?after=x", "?page=2"] {
        let refused = edge.manage(&format!("/admin/revocations{query}")).send();
        assert_eq!(refused.status, 400, "{query}");
    }
}

#[test]
fn what_is_no_entry_is_refused_and_changes_nothing() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).start();
    for entry in [
        json!({}),
        json!({ "jti": "x" }),
        json!({ "sub": "x", "before": 7 }),
        json!({ "issuer": "" }),
        json!({ "issuer": 7 }),
        json!({ "issuer": "i", "jti": "x", "sub": "y" }),
        json!({ "issuer": "i", "key": "k" }),
        json!({ "key": "" }),
        json!({ "certificate": "ab" }),
        json!({ "certificate": "x".repeat(64) }),
        json!({ "key": "k", "before": 7 }),
        json!({ "issuer": "i", "jti": "x", "until": 7 }),
        json!({ "issuer": "i", "jti": "x", "unknown": 7 }),
        json!({ "revocations": [] }),
        json!({ "revocations": [{ "key": "k" }, { "jti": "x" }] }),
        json!([]),
    ] {
        let refused = revoke(&edge, &entry);
        assert_eq!(refused.status, 400, "{entry}");
        assert!(refused.json()["message"].is_string());
    }
    assert_eq!(page(&edge, "")["total"], 0);
    let plain = edge.steer("POST", "/admin/revocations").body("{\"key\": \"k\"}").send();
    assert_eq!(plain.status, 415);
    for (method, path, expected) in [
        ("PUT", "/admin/revocations", 405),
        ("DELETE", "/admin/revocations", 405),
        ("DELETE", "/admin/revocations/", 404),
        ("DELETE", "/admin/revocations/x", 404),
        ("DELETE", "/admin/revocations/00000000000000000000000000000000", 404),
        ("GET", "/admin/revocations/00000000000000000000000000000000", 405),
    ] {
        assert_eq!(edge.steer(method, path).send().status, expected, "{method} {path}");
    }
}

#[test]
fn who_asked_is_logged_and_no_answer_is_kept() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).start();
    let id = revoked_as(&edge, json!({ "key": "robot" }));
    delete(&edge, &id);
    for words in [
        format!(
            "management: POST /admin/revocations from 127.0.0.1: 201: revoked key \"robot\" ({id})"
        ),
        format!("management: DELETE /admin/revocations/{id} from 127.0.0.1: 204"),
    ] {
        assert!(becomes_true(Duration::from_secs(20), || edge.log().contains(&words)), "{words}");
    }
    let answer = revoke(&edge, &json!({ "key": "robot" }));
    assert_eq!(answer.field("cache-control"), Some("no-store"));
}

#[test]
fn an_api_key_by_its_id() {
    let upstream = Upstream::start();
    let digest = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let step = format!(
        "[middleware.key]\ntype = \"api-key\"\nconfig = {{ keys = [{{ id = \"robot\", hash = \
         \"{digest}\" }}] }}\n"
    );
    let route = Route::to("api", &upstream).prefix("/api").steps(&["key"]);
    let edge =
        Edge::configured(crate::support::Settings::bare().and(&route.text()).and(&step)).start();
    let get = || edge.get("/api/x").header("X-API-Key", "test").send().status;
    assert_eq!(get(), 200);
    let other = revoked_as(&edge, json!({ "key": "other" }));
    assert_eq!(get(), 200);
    let id = revoked_as(&edge, json!({ "key": "robot" }));
    assert_eq!(get(), 401);
    let kept = page(&edge, "");
    assert!(kept["revocations"].as_array().unwrap().iter().all(|it| it["expires_at"].is_null()));
    assert_eq!((delete(&edge, &id), delete(&edge, &other)), (204, 204));
    assert_eq!(get(), 200);
}

#[test]
fn a_certificate_by_its_fingerprint() {
    let clients = Authority::new("clients");
    let listening = Listening::with()
        .network("client_ca_path = \"clients.pem\"")
        .file("clients.pem", &clients.pem())
        .pipeline("middleware = [\"m\"]")
        .and("[middleware.m]\ntype = \"mutual-tls\"\n")
        .start();
    let (alice, bob) = (clients.client("alice"), clients.client("bob"));
    let der = &alice.chain()[0];
    let digest = ring::digest::digest(&ring::digest::SHA256, der);
    let fingerprint: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let get = |pair| {
        let offer = Offer::with_certificate(&listening.authority, pair);
        offer.get(listening.port(), "/s").expect("an answer").status
    };
    let mut open =
        Offer::with_certificate(&listening.authority, &alice).shake(listening.port(), "localhost");
    assert_eq!(open.get("/s").expect("an answer").status, 200);
    let upper = fingerprint.to_uppercase();
    let id = revoked_as(&listening.edge, json!({ "certificate": upper }));
    assert_eq!(open.get("/s").expect("an answer").status, 401, "on a connection that was there");
    assert_eq!((get(&alice), get(&bob)), (401, 200));
    assert_eq!(page(&listening.edge, "")["revocations"][0]["certificate"], fingerprint);
    assert_eq!(delete(&listening.edge, &id), 204);
    assert_eq!(get(&alice), 200);
}

#[test]
fn a_certificate_that_a_token_is_bound_to() {
    let issuer = Issuer::start();
    let step = format!(
        "[middleware.jwt]\ntype = \"jwt-auth\"\n[middleware.jwt.config]\njwks_url = \"{}\"\n\
         issuer = \"{ISSUER}\"\naudience = \"harmony-api\"\n",
        issuer.url()
    );
    let listening = Listening::with()
        .network("client_certificate = \"request\"")
        .pipeline("middleware = [\"jwt\"]")
        .and(&step)
        .start();
    let clients = Authority::new("clients");
    let get = |pair: &Pair| {
        let digest = ring::digest::digest(&ring::digest::SHA256, &pair.chain()[0]);
        let cnf = json!({ "x5t#S256": base64url(digest) });
        let authorization = format!("Bearer {}", issuer.token().claim("cnf", cnf).sign());
        let offer = Offer::with_certificate(&listening.authority, pair);
        let mut client = offer.shake(listening.port(), "localhost");
        let answer = client.request("/s", &[("Authorization", &authorization)]);
        (answer.expect("an answer").status, digest)
    };
    let (alice, bob) = (clients.client("alice"), clients.client("bob"));
    let (status, digest) = get(&alice);
    let fingerprint: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((status, get(&bob).0), (200, 200));
    let id = revoked_as(&listening.edge, json!({ "certificate": fingerprint }));
    assert_eq!((get(&alice).0, get(&bob).0), (401, 200));
    assert_eq!(delete(&listening.edge, &id), 204);
    assert_eq!(get(&alice).0, 200);
}

#[test]
fn a_password_has_no_entry_and_an_issuers_end_reaches_no_other_step() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let token: Token = issuer.token().claim("sub", "robot");
    revoked_as(&edge, json!({ "key": "robot" }));
    revoked_as(&edge, json!({ "issuer": "https://other.example" }));
    assert_eq!(status(&edge, &token.sign()), 200, "a subject is not a key's id");
}
