//! Tokens that are remembered: under their settings and keys only, no longer than they are good,
//! and within bounds.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use jose::TokenError;
use serde_json::{Value, json};

use super::claims_with;
use crate::auth::chain::Chain;
use crate::auth::outcome::Reason;
use crate::auth::request::AuthRequest;
use crate::auth::testing::{self, Issuer, Pair, bearer, jwks_url, keys, settings, status};
use crate::auth::{Shared, Trace};
use crate::config::JwtAlgorithm::{EdDsa, Hs256};
use crate::config::{CredentialLocation, Jwt, KeySource, RequiredClaim, Secret};
use jose::clock;

/// Chains over one key, with one cache.
struct TestIssuer {
    dir: tempfile::TempDir,
    pair: Pair,
    shared: Shared,
}

impl TestIssuer {
    fn new() -> Self {
        let test_issuer = Self {
            dir: tempfile::tempdir().unwrap(),
            pair: Pair::new(EdDsa),
            shared: testing::shared(),
        };
        test_issuer.write(&test_issuer.pair.public_pem());
        test_issuer
    }

    fn write(&self, key: &str) {
        std::fs::write(self.dir.path().join("key"), key).unwrap();
    }

    fn chain(&self, change: impl FnOnce(&mut Jwt)) -> Chain {
        let path = self.dir.path().join("key");
        let mut settings = settings(KeySource::PublicKey(path));
        settings.algorithm = EdDsa;
        change(&mut settings);
        Chain::build(&[testing::step(settings)], &self.shared).unwrap()
    }

    fn token(&self, changes: Value) -> String {
        let claims = claims_with(changes);
        self.pair
            .token_of("k", &serde_json::from_str(&claims).unwrap())
    }

    fn hits(&self) -> u64 {
        self.shared.token_cache().hits
    }
}

async fn at(chain: &Chain, token: &str, now: f64) -> Option<Reason> {
    chain
        .admit_at(&AuthRequest::of(&bearer(token)), now, &mut Trace::off())
        .await
        .err()
        .map(|denial| denial.reason())
}

#[tokio::test]
async fn a_good_token_is_verified_once() {
    let test_issuer = TestIssuer::new();
    let chain = test_issuer.chain(|_| {});
    let token = test_issuer.token(json!({}));
    for _ in 0..3 {
        assert_eq!(status(&chain, &token).await, 200);
    }
    let seen = test_issuer.shared.token_cache();
    assert_eq!((seen.hits, seen.misses, seen.entries), (2, 1, 1));
    assert!(seen.bytes > 200 && seen.limit == 1 << 20);
    // One that differs in a single letter is another token.
    let other = token.replacen(&token[token.len() - 4..], "AAAA", 1);
    for _ in 0..3 {
        assert_eq!(status(&chain, &other).await, 401);
    }
    let seen = test_issuer.shared.token_cache();
    assert_eq!((seen.hits, seen.misses, seen.entries), (2, 4, 1));
}

#[tokio::test]
async fn only_successes_are_kept() {
    let test_issuer = TestIssuer::new();
    let chain =
        test_issuer.chain(|settings| settings.rules.required_scopes = vec!["read".to_owned()]);
    for (changes, expected) in [
        (json!({ "scope": "write" }), 403),
        (json!({ "scope": "read", "exp": 1 }), 401),
        (json!({ "scope": "read", "aud": "other" }), 401),
    ] {
        let token = test_issuer.token(changes);
        for _ in 0..2 {
            assert_eq!(status(&chain, &token).await, expected);
        }
    }
    let seen = test_issuer.shared.token_cache();
    assert_eq!((seen.hits, seen.misses, seen.entries), (0, 6, 0));
}

#[tokio::test]
async fn time_is_looked_at_on_every_hit() {
    let test_issuer = TestIssuer::new();
    let chain = test_issuer.chain(|_| {});
    let now = clock::now().floor();
    for start in ["nbf", "iat"] {
        let token =
            test_issuer.token(json!({ "iat": null, start: now + 100.0, "exp": now + 200.0 }));
        assert_eq!(at(&chain, &token, now + 100.0).await, None);
        let before = test_issuer.hits();
        for (moment, expected) in [
            (now + 39.5, Some(Reason::Token(TokenError::NotYetValid))),
            (now + 40.0, None),
            (now + 259.5, None),
            (now + 260.0, Some(Reason::Token(TokenError::Expired))),
            (f64::INFINITY, Some(Reason::Token(TokenError::Expired))),
            (now + 150.0, None),
        ] {
            assert_eq!(at(&chain, &token, moment).await, expected, "{moment}");
        }
        assert_eq!(test_issuer.hits() - before, 6);
    }
}

#[tokio::test]
async fn an_entry_goes_when_its_token_does() {
    let test_issuer = TestIssuer::new();
    let chain = test_issuer.chain(|settings| settings.rules.leeway = Duration::ZERO);
    let token = test_issuer.token(json!({ "exp": clock::now() + 1.0 }));
    let lasting = test_issuer.token(json!({ "exp": 253_402_300_799_u64 }));
    assert_eq!(status(&chain, &token).await, 200);
    assert_eq!(status(&chain, &lasting).await, 200);
    assert_eq!(test_issuer.shared.token_cache().entries, 2);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(test_issuer.shared.token_cache().entries, 1);
    assert_eq!(status(&chain, &token).await, 401);
}

#[tokio::test]
async fn another_setting_is_another_verdict() {
    let test_issuer = TestIssuer::new();
    let before = test_issuer.chain(|_| {});
    let now = clock::now();
    let token = test_issuer.token(json!({ "exp": now + 10.0, "level": 1, "typ": "x" }));
    assert_eq!(at(&before, &token, now + 60.0).await, None);
    let required = |values: Value| RequiredClaim {
        name: "level".to_owned(),
        values: values.as_array().unwrap().clone(),
    };
    type Change = Box<dyn Fn(&mut Jwt)>;
    let changes: Vec<(Change, Option<Reason>)> = vec![
        (Box::new(|_| {}), None),
        (
            Box::new(|settings| settings.rules.audiences = vec!["other".to_owned()]),
            Some(Reason::Token(TokenError::WrongAudience)),
        ),
        (
            Box::new(|settings| settings.issuers[0].names = vec!["other".to_owned()]),
            Some(Reason::Token(TokenError::WrongIssuer)),
        ),
        (
            Box::new(|settings| settings.rules.leeway = Duration::from_secs(30)),
            Some(Reason::Token(TokenError::Expired)),
        ),
        (
            Box::new(move |settings| settings.rules.required_claims = vec![required(json!([2]))]),
            Some(Reason::Token(TokenError::ClaimMissing)),
        ),
        (
            Box::new(move |settings| settings.rules.required_claims = vec![required(json!([1]))]),
            None,
        ),
        (
            Box::new(|settings| settings.rules.required_scopes = vec!["read".to_owned()]),
            Some(Reason::Token(TokenError::ScopeMissing)),
        ),
        (
            Box::new(|settings| settings.location = CredentialLocation::Cookie("t".to_owned())),
            Some(Reason::Missing),
        ),
    ];
    for (index, (change, expected)) in changes.into_iter().enumerate() {
        let chain = test_issuer.chain(change);
        for _ in 0..2 {
            assert_eq!(at(&chain, &token, now + 60.0).await, expected, "{index}");
        }
        // The one before goes on as before, out of the cache.
        assert_eq!(at(&before, &token, now + 60.0).await, None);
    }
    // Headers are part of the verdict too.
    let named = |name: &'static str| {
        test_issuer.chain(|settings| {
            settings.rules.claims_to_headers =
                vec![("level".to_owned(), HeaderName::from_static(name))];
        })
    };
    for name in ["x-level", "x-rank"] {
        for _ in 0..2 {
            let headers = bearer(&token);
            let request = AuthRequest::of(&headers);
            let found = named(name).authenticate(&request).await.unwrap();
            assert_eq!(found.unwrap().headers()[0].0, name);
        }
    }
}

#[tokio::test]
async fn another_key_in_the_file_is_another_verdict() {
    let test_issuer = TestIssuer::new();
    let token = test_issuer.token(json!({}));
    assert_eq!(status(&test_issuer.chain(|_| {}), &token).await, 200);
    assert_eq!(status(&test_issuer.chain(|_| {}), &token).await, 200);
    assert_eq!(test_issuer.hits(), 1);
    test_issuer.write(&Pair::new(EdDsa).public_pem());
    assert_eq!(status(&test_issuer.chain(|_| {}), &token).await, 401);

    let in_set = |settings: &mut Jwt| {
        let path = test_issuer.dir.path().join("key");
        settings.issuers[0].keys = KeySource::JwksPath(path);
    };
    let set = |jwk: Value| json!({ "keys": [jwk] }).to_string();
    test_issuer.write(&set(test_issuer.pair.jwk("k")));
    assert_eq!(status(&test_issuer.chain(in_set), &token).await, 200);
    // The same key under another id, and another key under the same id.
    test_issuer.write(&set(test_issuer.pair.jwk("l")));
    assert_eq!(status(&test_issuer.chain(in_set), &token).await, 401);
    test_issuer.write(&set(Pair::new(EdDsa).jwk("k")));
    assert_eq!(status(&test_issuer.chain(in_set), &token).await, 401);
    test_issuer.write(&set(test_issuer.pair.jwk("k")));
    let before = test_issuer.hits();
    assert_eq!(status(&test_issuer.chain(in_set), &token).await, 200);
    assert_eq!(test_issuer.hits(), before + 1);

    let pair = Pair::new(Hs256);
    let with_secret = |secret: String| {
        test_issuer.chain(|settings| {
            settings.algorithm = Hs256;
            settings.issuers[0].keys = KeySource::Secret(Secret::new(secret));
        })
    };
    let token = pair.token("k");
    assert_eq!(
        status(&with_secret(pair.secret().unwrap()), &token).await,
        200
    );
    let other = Pair::new(Hs256).secret().unwrap();
    assert_eq!(status(&with_secret(other), &token).await, 401);
}

#[tokio::test]
async fn a_withdrawn_key_is_refused_at_the_refresh_that_shows_it() {
    let test_issuer = TestIssuer::new();
    let issuer = Issuer::start(keys(&[test_issuer.pair.jwk("k")])).await;
    let url = KeySource::JwksUrl(jwks_url(&issuer.url));
    let chain = test_issuer.chain(|settings| settings.issuers[0].keys = url.clone());
    let token = test_issuer.token(json!({}));
    // The first one came before there were keys: its verdict has no place yet.
    for _ in 0..4 {
        assert_eq!(status(&chain, &token).await, 200);
    }
    assert_eq!((test_issuer.hits(), issuer.fetches()), (2, 1));
    test_issuer.shared.key_sets().refresh_all().await;
    assert_eq!(status(&chain, &token).await, 200);
    assert_eq!((test_issuer.hits(), issuer.fetches()), (3, 2));
    issuer.say(keys(&[Pair::new(EdDsa).jwk("k")]));
    test_issuer.shared.key_sets().refresh_all().await;
    assert_eq!(status(&chain, &token).await, 401);
    // It comes back with its key, but not out of the cache.
    issuer.say(keys(&[test_issuer.pair.jwk("k")]));
    test_issuer.shared.key_sets().refresh_all().await;
    assert_eq!(status(&chain, &token).await, 200);
    assert_eq!(test_issuer.hits(), 3);
}

#[tokio::test]
async fn a_remembered_token_needs_keys_that_are_not_too_old() {
    let test_issuer = TestIssuer::new();
    let issuer = Issuer::start(keys(&[test_issuer.pair.jwk("k")])).await;
    let mut url = jwks_url(&issuer.url);
    url.max_stale = Duration::from_secs(1);
    let url = KeySource::JwksUrl(url);
    let chain = test_issuer.chain(|settings| settings.issuers[0].keys = url.clone());
    let token = test_issuer.token(json!({}));
    for _ in 0..3 {
        assert_eq!(status(&chain, &token).await, 200);
    }
    assert_eq!(test_issuer.hits(), 1);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(status(&chain, &token).await, 503);
}

#[tokio::test]
async fn its_size_is_bounded_in_bytes() {
    let test_issuer = TestIssuer::new();
    for limit in [64 << 10, 256 << 10] {
        test_issuer.shared.remember_tokens(limit);
        let chain = test_issuer.chain(|_| {});
        for index in 0..2000 {
            let token = test_issuer.token(json!({ "sub": format!("user-{index}") }));
            assert_eq!(status(&chain, &token).await, 200);
        }
        let seen = test_issuer.shared.token_cache();
        assert!(seen.bytes <= limit && seen.bytes > limit / 2, "{seen:?}");
        assert_eq!((seen.limit, seen.hits), (limit, 0));
    }
}

#[tokio::test]
async fn it_can_be_switched_off() {
    let test_issuer = TestIssuer::new();
    test_issuer.shared.remember_tokens(0);
    let chain = test_issuer.chain(|_| {});
    let token = test_issuer.token(json!({}));
    for _ in 0..3 {
        assert_eq!(status(&chain, &token).await, 200);
    }
    let seen = test_issuer.shared.token_cache();
    assert_eq!(
        (seen.hits, seen.misses, seen.entries, seen.limit),
        (0, 0, 0, 0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once() {
    let test_issuer = TestIssuer::new();
    let chain = Arc::new(test_issuer.chain(|_| {}));
    let good: Vec<_> = (0..20)
        .map(|index| test_issuer.token(json!({ "sub": format!("user-{index}") })))
        .collect();
    let evil = Pair::new(EdDsa);
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (chain, good, bad) = (chain.clone(), good.clone(), evil.token("k"));
            tokio::spawn(async move {
                for _ in 0..20 {
                    for (index, token) in good.iter().enumerate() {
                        let headers = bearer(token);
                        let found = chain.authenticate(&AuthRequest::of(&headers)).await;
                        let subject = found.unwrap().unwrap().subject().unwrap().clone();
                        assert_eq!(subject, format!("user-{index}"));
                    }
                    assert_eq!(status(&chain, &bad).await, 401);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let seen = test_issuer.shared.token_cache();
    assert_eq!((seen.entries, seen.hits + seen.misses), (20, 8 * 20 * 21));
    assert!(seen.misses <= 8 * (20 + 20), "{seen:?}");
}
