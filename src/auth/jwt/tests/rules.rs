//! Where the line runs: what just passes, and what just does not.

use std::time::Duration;

use jose::{TokenError, clock};
use serde_json::{Value, json};

use super::{SECRET, chain, claims_with, hs256_chain, reason, sign_hs256};
use crate::auth::chain::Chain;
use crate::auth::outcome::Reason;
use crate::auth::testing::{self, AUDIENCE, ISSUER, Signer, bearer, claims, settings};
use crate::auth::{AuthRequest, Trace};
use crate::config::{KeySource, RequiredClaim};

#[tokio::test]
async fn what_is_allowed_passes() {
    let good = Signer::generate();
    let chain = chain(&good, |_| {});
    let ok = claims().to_string();
    for (name, value) in [
        ("typ", json!("JWT")),
        ("typ", json!("jwt")),
        ("typ", json!("at+jwt")),
        ("typ", json!("AT+JWT")),
        ("typ", json!("application/at+jwt")),
        ("jku", json!("https://evil.example/")),
        ("jwk", Signer::generate().jwk("k")),
        ("x5c", json!([])),
        ("unknown", json!({"a": [1, 2.5, null]})),
    ] {
        let mut header = json!({ "alg": "RS256", "kid": "k" });
        header[name] = value;
        assert_eq!(
            reason(&chain, &good.sign(&header.to_string(), &ok)).await,
            None,
            "{header}"
        );
    }
    for changes in [
        json!({ "exp": 253_402_300_799_u64 }),
        json!({ "exp": 253_402_300_799.9 }),
        json!({ "nbf": 0, "iat": 0.5 }),
        json!({ "nbf": -0.0 }),
        json!({ "nbf": null, "iat": null, "sub": null }),
        json!({ "aud": ["other", AUDIENCE] }),
        json!({ "sub": "" }),
        json!({ "sub": "CN=Alice Smith,O=Example" }),
        json!({ "nested": [{ "a": {} }, { "a": {} }] }),
    ] {
        let token = good.sign(
            r#" { "kid" : "k", "alg" : "RS256" } "#,
            &claims_with(changes.clone()),
        );
        assert_eq!(reason(&chain, &token).await, None, "{changes}");
    }
}

#[tokio::test]
async fn leeway_is_exact_both_ways() {
    let good = Signer::generate();
    let chain = chain(&good, |_| {});
    let now = 1_800_000_000.0;
    let cases = [
        (json!({ "exp": now - 55.0 }), None),
        (json!({ "exp": now - 59.9 }), None),
        (
            json!({ "exp": now - 60.0 }),
            Some(Reason::Token(TokenError::Expired)),
        ),
        (
            json!({ "exp": now - 65.0 }),
            Some(Reason::Token(TokenError::Expired)),
        ),
        (json!({ "nbf": now + 55.0 }), None),
        (json!({ "nbf": now + 60.0 }), None),
        (
            json!({ "nbf": now + 60.5 }),
            Some(Reason::Token(TokenError::NotYetValid)),
        ),
        (
            json!({ "nbf": now + 65.0 }),
            Some(Reason::Token(TokenError::NotYetValid)),
        ),
        (json!({ "iat": now + 55.0 }), None),
        (
            json!({ "iat": now + 65.0 }),
            Some(Reason::Token(TokenError::NotYetValid)),
        ),
        (
            json!({ "iat": 1e300 }),
            Some(Reason::Token(TokenError::NotYetValid)),
        ),
    ];
    for (changes, expected) in cases {
        let mut claims = json!({ "iss": ISSUER, "aud": AUDIENCE, "exp": now + 600.0 });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let token = good.sign(r#"{"alg":"RS256","kid":"k"}"#, &claims.to_string());
        let found = chain
            .admit_at(&AuthRequest::of(&bearer(&token)), now, &mut Trace::off())
            .await
            .map(|admission| admission.identity().cloned());
        assert_eq!(
            found.as_ref().err().map(|denial| denial.reason()),
            expected,
            "{changes}"
        );
        if let (Ok(Some(identity)), Some(exp)) = (found, changes.get("exp")) {
            assert_eq!(identity.valid_until(), exp.as_f64().map(|exp| exp + 60.0));
        }
        let broken_clock = chain
            .admit_at(
                &AuthRequest::of(&bearer(&token)),
                f64::INFINITY,
                &mut Trace::off(),
            )
            .await;
        assert_eq!(
            broken_clock.unwrap_err().reason(),
            Reason::Token(TokenError::Expired)
        );
    }
}

#[tokio::test]
async fn required_claims_and_scopes() {
    let good = Signer::generate();
    let required = |name: &str, values: Value| RequiredClaim {
        name: name.to_owned(),
        values: values.as_array().unwrap().clone(),
    };
    let chain = chain(&good, |settings| {
        settings.rules.required_claims = vec![
            required("tenant", json!([])),
            required("level", json!([1, "one"])),
        ];
        settings.rules.required_scopes = vec!["read".to_owned(), "write".to_owned()];
    });
    let cases = [
        (
            json!({ "tenant": "a", "level": 1, "scope": "read write" }),
            None,
        ),
        (
            json!({ "tenant": false, "level": 1.0, "scope": "x write read" }),
            None,
        ),
        (
            json!({ "tenant": "a", "level": ["two", "one"], "scp": ["read", "write"] }),
            None,
        ),
        (
            json!({ "tenant": "a", "level": "one", "scp": "write", "scope": ["read"] }),
            None,
        ),
        (
            json!({ "level": 1, "scope": "read write" }),
            Some(Reason::Token(TokenError::ClaimMissing)),
        ),
        (
            json!({ "tenant": "a", "scope": "read write" }),
            Some(Reason::Token(TokenError::ClaimMissing)),
        ),
        (
            json!({ "tenant": "a", "level": 2, "scope": "read write" }),
            Some(Reason::Token(TokenError::ClaimMissing)),
        ),
        (
            json!({ "tenant": "a", "level": "1", "scope": "read write" }),
            Some(Reason::Token(TokenError::ClaimMissing)),
        ),
        (
            json!({ "tenant": "a", "level": [[1]], "scope": "read write" }),
            Some(Reason::Token(TokenError::ClaimMissing)),
        ),
        (
            json!({ "tenant": "a", "level": 1 }),
            Some(Reason::Token(TokenError::ScopeMissing)),
        ),
        (
            json!({ "tenant": "a", "level": 1, "scope": "read" }),
            Some(Reason::Token(TokenError::ScopeMissing)),
        ),
        (
            json!({ "tenant": "a", "level": 1, "scope": "read writes" }),
            Some(Reason::Token(TokenError::ScopeMissing)),
        ),
        (
            json!({ "tenant": "a", "level": 1, "scope": "read,write" }),
            Some(Reason::Token(TokenError::ScopeMissing)),
        ),
        (
            json!({ "tenant": "a", "level": 1, "scope": ["read write"] }),
            Some(Reason::Token(TokenError::ScopeMissing)),
        ),
        (
            json!({ "tenant": "a", "level": 1, "scope": { "read": 1, "write": 1 } }),
            Some(Reason::Token(TokenError::ScopeMissing)),
        ),
        (
            json!({ "exp": 1 }),
            Some(Reason::Token(TokenError::Expired)),
        ),
    ];
    for (changes, expected) in cases {
        let token = good.sign(
            r#"{"alg":"RS256","kid":"k"}"#,
            &claims_with(changes.clone()),
        );
        assert_eq!(reason(&chain, &token).await, expected, "{changes}");
    }
    let denial = chain
        .authenticate(&AuthRequest::of(&bearer(&good.token("k"))))
        .await
        .unwrap_err();
    assert_eq!(denial.status(), 403);
    assert_eq!(
        denial.challenges(),
        [r#"Bearer realm="harmony", error="insufficient_scope", scope="read write""#]
    );
}

#[tokio::test]
async fn hs256_takes_its_secret_only() {
    let chain = hs256_chain();
    let ok = claims().to_string();
    for header in [r#"{"alg":"HS256"}"#, r#"{"alg":"HS256","kid":"whatever"}"#] {
        assert_eq!(
            reason(&chain, &sign_hs256(header, &ok, SECRET.as_bytes())).await,
            None
        );
    }
    for alg in ["RS256", "none", "HS384", "HS512", "hs256"] {
        let token = sign_hs256(&json!({ "alg": alg }).to_string(), &ok, SECRET.as_bytes());
        assert_eq!(
            reason(&chain, &token).await,
            Some(Reason::Token(TokenError::WrongAlgorithm)),
            "{alg}"
        );
    }
    for secret in ["", "secret", "0123456789abcdef0123456789abcdeg"] {
        let token = sign_hs256(r#"{"alg":"HS256"}"#, &ok, secret.as_bytes());
        assert_eq!(
            reason(&chain, &token).await,
            Some(Reason::Token(TokenError::BadSignature)),
            "{secret}"
        );
    }
    let good = sign_hs256(r#"{"alg":"HS256"}"#, &ok, SECRET.as_bytes());
    for cut in 1..43 {
        let found = reason(&chain, &good[..good.len() - cut]).await;
        assert!(
            matches!(
                found,
                Some(Reason::Token(
                    TokenError::BadSignature | TokenError::Malformed
                ))
            ),
            "{cut}"
        );
    }
    let rs256 = Signer::generate().token("k");
    assert_eq!(
        reason(&chain, &rs256).await,
        Some(Reason::Token(TokenError::WrongAlgorithm))
    );
}

#[tokio::test]
async fn one_pem_looks_at_no_kid() {
    let (good, evil) = (Signer::generate(), Signer::generate());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pem");
    std::fs::write(&path, good.public_pem()).unwrap();
    let chain = Chain::build(
        &[testing::step(settings(KeySource::PublicKey(path)))],
        &testing::shared(),
    )
    .unwrap();
    for kid in ["k", "anything"] {
        assert_eq!(reason(&chain, &good.token(kid)).await, None);
        assert_eq!(
            reason(&chain, &evil.token(kid)).await,
            Some(Reason::Token(TokenError::BadSignature))
        );
    }
    let no_kid = good.sign(r#"{"alg":"RS256"}"#, &claims().to_string());
    assert_eq!(reason(&chain, &no_kid).await, None);
}

#[tokio::test]
async fn leeway_may_be_none_and_checks_may_be_off() {
    let good = Signer::generate();
    let chain = chain(&good, |settings| {
        settings.rules.leeway = Duration::ZERO;
        settings.issuers[0].names = Vec::new();
        settings.rules.audiences = Vec::new();
    });
    let now = clock::now();
    for (changes, expected) in [
        (json!({ "iss": null, "aud": null }), None),
        (json!({ "iss": "anyone", "aud": ["anything"] }), None),
        (
            json!({ "iss": ["anyone"] }),
            Some(Reason::Token(TokenError::WrongIssuer)),
        ),
        (
            json!({ "aud": 1 }),
            Some(Reason::Token(TokenError::WrongAudience)),
        ),
        (
            json!({ "aud": ["a", 1] }),
            Some(Reason::Token(TokenError::WrongAudience)),
        ),
        (
            json!({ "exp": now - 1.0 }),
            Some(Reason::Token(TokenError::Expired)),
        ),
        (
            json!({ "nbf": now + 5.0 }),
            Some(Reason::Token(TokenError::NotYetValid)),
        ),
    ] {
        let token = good.sign(
            r#"{"alg":"RS256","kid":"k"}"#,
            &claims_with(changes.clone()),
        );
        assert_eq!(reason(&chain, &token).await, expected, "{changes}");
    }
}

#[tokio::test]
async fn debug_shows_no_claims() {
    let good = Signer::generate();
    let chain = chain(&good, |settings| {
        settings.rules.claims_to_headers = vec![(
            "email".to_owned(),
            http::HeaderName::from_static("x-auth-email"),
        )];
    });
    let token = good.sign(
        r#"{"alg":"RS256","kid":"k"}"#,
        &claims_with(json!({ "sub": "needle-s", "email": "needle-e" })),
    );
    let identity = chain
        .authenticate(&AuthRequest::of(&bearer(&token)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(identity.subject().unwrap(), "needle-s");
    assert_eq!(identity.headers()[0].1, "needle-e");
    let denial = chain
        .authenticate(&AuthRequest::of(&bearer(&token[1..])))
        .await
        .unwrap_err();
    let shown = format!("{chain:?} {identity:?} {denial:?} {:?}", hs256_chain());
    assert!(
        !shown.contains("needle") && !shown.contains(SECRET) && shown.contains("x-auth-email"),
        "{shown}"
    );
}
