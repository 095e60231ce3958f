//! Whose tokens are taken, and where tokens go: to the configured cloud alone.

use serde_json::json;

use super::{await_log, edge, info, post};
use crate::support::keys::{RsaKey, Signer};
use crate::support::{Cloud, Edge, Issuer, Upstream};

/// What the published client sends by default, and what its message says to do about it.
#[test]
fn the_published_clients_default_address() {
    let upstream = Upstream::start();
    let take = |edge: &Edge| {
        let body = json!({ "machine_token": "mt_published", "expires_at": "2099-01-01T00:00:00Z",
            "gateway_id": "g", "api_base_url": "http://app.runbeam.io/api" });
        post(edge, "/admin/token", &body).send()
    };
    // Nothing is asked of it: polling is off, and nothing is due.
    let on = "[runbeam]\nenabled = true\npoll_interval_secs = 0\n";
    let other = Edge::open(&upstream).and(on).start();
    let answer = take(&other);
    assert_eq!(answer.status, 422, "{}", answer.text());
    let told = answer.json()["message"].as_str().unwrap().to_owned();
    let said = "set runbeam.cloud_api_base_url to ";
    assert!(told.contains("from http://app.runbeam.io/api,") && told.contains(said), "{told}");
    let followed = told.split(said).nth(1).unwrap().split(' ').next().unwrap();
    assert_eq!(followed, "https://app.runbeam.io/api");
    let same = format!("{on}cloud_api_base_url = \"{followed}\"\n");
    let edge = Edge::open(&upstream).and(&same).start();
    let answer = take(&edge);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(info(&edge)["state"], "authorized");
}

#[test]
fn a_token_of_another_issuer_is_401_and_nobody_is_asked() {
    let (cloud, other, trap, upstream) =
        (Cloud::start(), Cloud::start(), Issuer::start(), Upstream::start());
    let edge = edge(&cloud, &upstream).start();
    let port = cloud.url().rsplit(':').next().unwrap().to_owned();
    let trap_url = trap.url();
    for (what, token) in [
        ("another cloud, whose token is good", other.user_token()),
        ("another host", cloud.user_token().claim("iss", "https://evil.example")),
        (
            "the configured one as a prefix",
            cloud.user_token().claim("iss", format!("{}.evil.example", cloud.url())),
        ),
        (
            "the configured one as a user name",
            cloud.user_token().claim("iss", format!("http://127.0.0.1:{port}@evil.example")),
        ),
        ("another scheme", cloud.user_token().claim("iss", format!("https://127.0.0.1:{port}"))),
        ("another port", cloud.user_token().claim("iss", "http://127.0.0.1:1")),
        (
            "another name of the same host",
            cloud.user_token().claim("iss", format!("http://localhost:{port}")),
        ),
        ("a list", cloud.user_token().claim("iss", json!([cloud.url()]))),
        ("none", cloud.user_token().without("iss")),
        ("a key of its own", cloud.user_token().signed_by(Signer::Rs256(RsaKey::number(2)))),
        (
            "a key named in the token",
            cloud
                .user_token()
                .header("jku", trap_url.as_str())
                .signed_by(Signer::Rs256(RsaKey::number(2))),
        ),
        ("expired", cloud.user_token().claim("exp", 1_700_000_000)),
    ] {
        let answer = post(&edge, "/admin/authorize", &json!({ "gateway_code": "g" }))
            .bearer(&token.sign())
            .send();
        assert_eq!(answer.status, 401, "{what}: {}", answer.text());
    }
    for token in ["nonsense", "a.b.c", "|x", "1|"] {
        assert_eq!(
            post(&edge, "/admin/authorize", &json!({ "gateway_code": "g" }))
                .bearer(token)
                .send()
                .status,
            401,
            "{token}"
        );
    }
    assert!(other.requests().is_empty() && trap.fetches() == 0, "nobody else was asked");
    assert!(cloud.requests_to("/harmony/").is_empty(), "and the cloud only for its keys");
    assert_eq!(info(&edge)["state"], "unauthorized");
}

#[test]
fn hs256_needs_the_secret() {
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    let secret = "0123456789abcdef0123456789abcdef-a-shared-secret";
    crate::support::secrets::remember(secret);
    let token = |secret: &str| {
        cloud
            .user_token()
            .header("alg", "HS256")
            .signed_by(Signer::Hs256(secret.as_bytes().to_vec()))
            .sign()
    };
    let ask = |edge: &Edge, token: &str| {
        post(edge, "/admin/authorize", &json!({ "gateway_code": "g" })).bearer(token).send().status
    };
    let without = edge(&cloud, &upstream).start();
    assert_eq!(ask(&without, &token(secret)), 401);
    assert_eq!(
        ask(&without, &token("base64:your-secret-key-goes-here-0123")),
        401,
        "the well-known default"
    );
    await_log(&without, "RUNBEAM_JWT_SECRET");
    let with = edge(&cloud, &upstream).env("RUNBEAM_JWT_SECRET", secret).start();
    assert_eq!(ask(&with, &token(secret)), 201);
    assert_eq!(ask(&with, &token("0123456789abcdef0123456789abcdef-another-one")), 401);
}

#[test]
fn a_token_of_another_cloud_is_422_and_nothing_is_stored() {
    let (cloud, other, upstream) = (Cloud::start(), Cloud::start(), Upstream::start());
    let edge = edge(&cloud, &upstream).start();
    for base in [
        other.url(),
        format!("{}.evil.example", cloud.url()),
        "https://app.runbeam.io/api".to_owned(),
        "nonsense".to_owned(),
    ] {
        let body = json!({ "machine_token": "mt_evil", "expires_at": "2099-01-01T00:00:00Z",
            "gateway_id": "g", "gateway_code": "g", "api_base_url": base });
        let answer = post(&edge, "/admin/token", &body).send();
        assert_eq!(answer.status, 422, "{base}");
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        for part in [&*cloud.url(), "cloud_api_base_url", "runbeam config:set api-url"] {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert!(base == "nonsense" || message.contains(&base), "{base}: {message}");
    }
    assert_eq!(info(&edge)["state"], "unauthorized");
    assert!(!edge.directory().join("home/.runbeam/edge-1/auth.json").exists());
    assert!(other.requests().is_empty() && cloud.requests().is_empty());
}
