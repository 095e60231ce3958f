//! Several issuers in one step: none of them can vouch for another.

use http::HeaderMap;
use jose::TokenError;
use serde_json::{Value, json};

use super::{claims_with, reason};
use crate::auth::chain::Chain;
use crate::auth::outcome::Reason;
use crate::auth::request::AuthRequest;
use crate::auth::testing::{self, Issuer, Pair, Signer, bearer, jwks_url, keys, settings, status};
use crate::config::JwtAlgorithm::EdDsa;
use crate::config::{Jwt, JwtIssuer, KeySource};

struct TestIssuer {
    _dir: tempfile::TempDir,
    a: Pair,
    b: Pair,
    settings: Jwt,
}

/// `a` with a key set in a file, `b` and `b-old` with a PEM.
fn test_issuer() -> TestIssuer {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (Pair::new(EdDsa), Pair::new(EdDsa));
    let file = |name: &str, text: String| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let set = file("a", json!({ "keys": [a.jwk("k")] }).to_string());
    let pem = file("b", b.public_pem());
    let mut settings = settings(KeySource::JwksPath(set));
    settings.algorithm = EdDsa;
    settings.issuers[0].names = vec!["a".to_owned()];
    settings.issuers.push(JwtIssuer {
        names: vec!["b".to_owned(), "b-old".to_owned()],
        keys: KeySource::PublicKey(pem),
    });
    TestIssuer {
        _dir: dir,
        a,
        b,
        settings,
    }
}

fn chain(settings: &Jwt) -> Chain {
    Chain::build(&[testing::step(settings.clone())], &testing::shared()).unwrap()
}

fn of(issuer: Value) -> Value {
    serde_json::from_str(&claims_with(json!({ "iss": issuer }))).unwrap()
}

#[tokio::test]
async fn each_vouches_for_itself_only() {
    let test_issuer = test_issuer();
    let chain = chain(&test_issuer.settings);
    for round in 0..2 {
        for (pair, issuer, expected) in [
            (&test_issuer.a, json!("a"), None),
            (&test_issuer.b, json!("b"), None),
            (&test_issuer.b, json!("b-old"), None),
            (
                &test_issuer.a,
                json!("b"),
                Some(Reason::Token(TokenError::BadSignature)),
            ),
            (
                &test_issuer.a,
                json!("b-old"),
                Some(Reason::Token(TokenError::BadSignature)),
            ),
            (
                &test_issuer.b,
                json!("a"),
                Some(Reason::Token(TokenError::BadSignature)),
            ),
            (
                &test_issuer.a,
                json!("c"),
                Some(Reason::Token(TokenError::WrongIssuer)),
            ),
            (
                &test_issuer.a,
                json!("A"),
                Some(Reason::Token(TokenError::WrongIssuer)),
            ),
            (
                &test_issuer.a,
                json!(""),
                Some(Reason::Token(TokenError::WrongIssuer)),
            ),
            (
                &test_issuer.a,
                json!(["a"]),
                Some(Reason::Token(TokenError::WrongIssuer)),
            ),
            (
                &test_issuer.a,
                json!(1),
                Some(Reason::Token(TokenError::WrongIssuer)),
            ),
            (
                &test_issuer.a,
                Value::Null,
                Some(Reason::Token(TokenError::WrongIssuer)),
            ),
        ] {
            let token = pair.token_of("k", &of(issuer.clone()));
            assert_eq!(reason(&chain, &token).await, expected, "{round} {issuer}");
        }
    }
    let unknown = test_issuer.a.token_of("x", &of(json!("a")));
    assert_eq!(
        reason(&chain, &unknown).await,
        Some(Reason::Token(TokenError::UnknownKid))
    );
    let any_kid = test_issuer.b.token_of("x", &of(json!("b")));
    assert_eq!(reason(&chain, &any_kid).await, None);
}

#[tokio::test]
async fn what_chooses_the_key_is_read_strictly() {
    let test_issuer = test_issuer();
    let chain = chain(&test_issuer.settings);
    let header = json!({ "alg": "EdDSA", "kid": "k" }).to_string();
    for claims in [
        claims_with(json!({ "iss": "a" })).replacen('{', r#"{"iss":"b","#, 1),
        claims_with(json!({ "iss": "a" })).replacen('{', r#"{"\u0069ss":"b","#, 1),
        "[]".to_owned(),
        "a".to_owned(),
        String::new(),
    ] {
        for pair in [&test_issuer.a, &test_issuer.b] {
            let input = format!("{}.{}", testing::encode(&header), testing::encode(&claims));
            let signature = testing::encode(pair.signature(input.as_bytes()));
            let found = reason(&chain, &format!("{input}.{signature}")).await;
            assert_eq!(
                found,
                Some(Reason::Token(TokenError::Malformed)),
                "{claims}"
            );
        }
    }
}

#[tokio::test]
async fn an_issuer_in_trouble_is_no_trouble_for_another() {
    let mut test_issuer = test_issuer();
    let server = Issuer::start(testing::trouble()).await;
    test_issuer.settings.issuers[0].keys = KeySource::JwksUrl(jwks_url(&server.url));
    let shared = testing::shared();
    let step = testing::step(test_issuer.settings.clone());
    let chain = Chain::build(&[step], &shared).unwrap();
    let (a, b) = (
        test_issuer.a.token_of("k", &of(json!("a"))),
        test_issuer.b.token_of("k", &of(json!("b"))),
    );
    for _ in 0..2 {
        assert_eq!(status(&chain, &b).await, 200);
        assert_eq!(status(&chain, &a).await, 503);
    }
    assert_eq!(shared.token_cache().hits, 1);
    let as_b = test_issuer.a.token_of("k", &of(json!("b")));
    assert_eq!(status(&chain, &as_b).await, 401);

    server.say(keys(&[test_issuer.a.jwk("k")]));
    shared.key_sets().refresh_all().await;
    for _ in 0..2 {
        assert_eq!(status(&chain, &a).await, 200);
        assert_eq!(status(&chain, &b).await, 200);
        assert_eq!(status(&chain, &as_b).await, 401);
    }
    // Once it is withdrawn, it is refused although it is remembered; the other's tokens are
    // verified anew.
    server.say(keys(&[Pair::new(EdDsa).jwk("k")]));
    shared.key_sets().refresh_all().await;
    assert_eq!(status(&chain, &a).await, 401);
    assert_eq!(status(&chain, &b).await, 200);
}

#[tokio::test]
async fn without_keys_the_answer_is_503_and_says_when_to_come_back() {
    let server = Issuer::start(testing::trouble()).await;
    let shared = testing::shared();
    let settings = settings(KeySource::JwksUrl(jwks_url(&server.url)));
    let chain = Chain::build(&[testing::step(settings)], &shared).unwrap();
    let token = bearer(&Signer::generate().token("a"));
    let denial = chain.authenticate(&AuthRequest::of(&token)).await;
    let denial = denial.unwrap_err();
    assert_eq!(
        (denial.status(), denial.reason()),
        (503, Reason::Token(TokenError::NoKeys))
    );
    assert!(denial.challenges().is_empty());
    let retry_after = denial.retry_after();
    assert!(retry_after.is_some_and(|secs| (1..=60).contains(&secs)));
    // Without a token there is nothing for which keys could be missing.
    let nothing = chain
        .authenticate(&AuthRequest::of(&HeaderMap::new()))
        .await;
    assert_eq!(nothing.unwrap_err().status(), 401);
}
