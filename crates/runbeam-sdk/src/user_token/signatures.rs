//! Whose signatures make a user's token count. The keys come over real HTTP, from loopback.

use std::time::SystemTime;

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use super::*;
use jose::testing::{Issuer, Signer, encode, keys, trouble};

const SECRET: &str = "a secret of at least thirty-two bytes";

/// A cloud, and the key that it signs with.
struct Cloud {
    issuer: Issuer,
    signer: Signer,
    origin: String,
}

impl Cloud {
    async fn start() -> Self {
        let signer = Signer::generate();
        let issuer = Issuer::start(keys(&[signer.jwk("k")])).await;
        let origin = issuer.url.trim_end_matches("/jwks.json").to_owned();
        Self {
            issuer,
            signer,
            origin,
        }
    }

    fn options(&self) -> JwtValidationOptions {
        JwtValidationOptions {
            trusted_issuers: vec![self.origin.clone()],
            ..JwtValidationOptions::default()
        }
    }

    /// Claims that pass, with members changed; `null` removes one.
    fn claims(&self, changes: Value) -> String {
        let at = now().floor();
        let iss = format!("{}/api/x", self.origin);
        let mut claims = json!({ "iss": iss, "sub": "u", "iat": at, "exp": at + 600.0 });
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        claims.to_string()
    }

    fn token(&self, changes: Value) -> String {
        self.signer
            .sign(r#"{"alg":"RS256","kid":"k"}"#, &self.claims(changes))
    }

    fn hs256(&self, secret: &[u8]) -> String {
        let header = r#"{"alg":"HS256","kid":"k"}"#;
        let input = format!("{}.{}", encode(header), encode(self.claims(json!({}))));
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        format!("{input}.{}", encode(hmac::sign(&key, input.as_bytes())))
    }
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap().as_secs_f64()
}

/// What comes of a token: `passes`, or why not.
async fn verdict(options: JwtValidationOptions, token: &str) -> String {
    let tokens = UserTokens::new(options).unwrap();
    match tokens.validate(token).await {
        Ok(_) => "passes".to_owned(),
        Err(RunbeamError::JwtValidation(JwtError::Invalid(reason))) => reason.to_owned(),
        Err(RunbeamError::JwtValidation(problem)) => format!("{problem:?}"),
        Err(RunbeamError::ShortSecret { length, minimum }) => format!("{length} of {minimum}"),
        Err(RunbeamError::KeySet { url, .. }) => format!("no keys at {url}"),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn what_the_issuer_signed_counts() {
    let cloud = Cloud::start().await;
    let tokens = UserTokens::new(cloud.options()).unwrap();
    let claims = tokens.validate(cloud.token(json!({}))).await.unwrap();
    assert_eq!(
        (claims.api_base_url(), &*claims.sub),
        (cloud.origin.clone(), "u")
    );
    assert_eq!(claims.iss, format!("{}/api/x", cloud.origin));

    let stranger =
        Signer::generate().sign(r#"{"alg":"RS256","kid":"k"}"#, &cloud.claims(json!({})));
    let good = cloud.token(json!({}));
    let (input, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = input.split_once('.').unwrap();
    let other = cloud.claims(json!({ "sub": "root" }));
    for (token, expected) in [
        (stranger, "bad_signature"),
        (
            format!("{header}.{}.{signature}", encode(other)),
            "bad_signature",
        ),
        (format!("{input}."), "bad_signature"),
        (input.to_owned(), "malformed"),
        (
            cloud
                .signer
                .sign(r#"{"alg":"none"}"#, &cloud.claims(json!({}))),
            "wrong_algorithm",
        ),
        (
            cloud
                .signer
                .sign(r#"{"alg":"RS512","kid":"k"}"#, &cloud.claims(json!({}))),
            "wrong_algorithm",
        ),
        (
            cloud
                .signer
                .sign(r#"{"alg":"RS256","crit":[]}"#, &cloud.claims(json!({}))),
            "unsupported_header",
        ),
        (
            cloud.signer.sign(
                r#"{"alg":"RS256","typ":"at+jwt","kid":"k"}"#,
                &cloud.claims(json!({})),
            ),
            "passes",
        ),
        (
            cloud.signer.sign(
                r#"{"alg":"RS256","typ":"id","kid":"k"}"#,
                &cloud.claims(json!({})),
            ),
            "wrong_type",
        ),
        (
            cloud.signer.sign(r#"{"alg":"RS256","kid":"k"}"#, "[]"),
            "malformed",
        ),
    ] {
        assert_eq!(verdict(cloud.options(), &token).await, expected, "{token}");
    }
}

#[tokio::test]
async fn claims_are_looked_at() {
    let cloud = Cloud::start().await;
    let now = now();
    for (changes, expected) in [
        (json!({ "exp": null }), "no_expiry"),
        (json!({ "exp": now - 55.0 }), "passes"),
        (json!({ "exp": now - 65.0 }), "expired"),
        (json!({ "nbf": now + 40.0 }), "passes"),
        (json!({ "nbf": now + 100.0 }), "not_yet_valid"),
        (json!({ "iat": now + 100.0 }), "not_yet_valid"),
        (json!({ "aud": "anybody" }), "passes"),
    ] {
        let token = cloud.token(changes.clone());
        assert_eq!(
            verdict(cloud.options(), &token).await,
            expected,
            "{changes}"
        );
    }
    let strict = JwtValidationOptions {
        audiences: vec!["cli".to_owned()],
        required_claims: vec!["tenant".to_owned()],
        leeway: Duration::ZERO,
        ..cloud.options()
    };
    for (changes, expected) in [
        (json!({ "aud": ["x", "cli"], "tenant": 1 }), "passes"),
        (json!({ "aud": "cli" }), "claim_missing"),
        (json!({ "tenant": 1 }), "wrong_audience"),
        (json!({ "aud": "clip", "tenant": 1 }), "wrong_audience"),
        (
            json!({ "aud": "cli", "tenant": 1, "exp": now - 5.0 }),
            "expired",
        ),
    ] {
        let token = cloud.token(changes.clone());
        assert_eq!(verdict(strict.clone(), &token).await, expected, "{changes}");
    }
}

#[tokio::test]
async fn nobody_is_asked_who_is_not_trusted() {
    let (cloud, stranger) = (Cloud::start().await, Cloud::start().await);
    let named = |iss: Value| stranger.token(json!({ "iss": iss }));
    for iss in [
        json!(stranger.origin),
        json!(format!("{}.evil.example", cloud.origin)),
        json!(format!("{}@evil.example", cloud.origin)),
        json!(cloud.origin.to_uppercase()),
        json!([cloud.origin]),
        json!(""),
        Value::Null,
    ] {
        let found = verdict(cloud.options(), &named(iss.clone())).await;
        assert!(found.starts_with("UntrustedIssuer"), "{iss}: {found}");
    }
    assert_eq!((stranger.issuer.fetches(), cloud.issuer.fetches()), (0, 0));
    // In the name of the one that is trusted, it is that one's keys that count.
    let found = verdict(cloud.options(), &named(json!(cloud.origin))).await;
    assert_eq!(found, "bad_signature");
    assert_eq!((stranger.issuer.fetches(), cloud.issuer.fetches()), (0, 1));

    // Each of two vouches for itself; named twice, it is one.
    let both = JwtValidationOptions {
        trusted_issuers: vec![
            cloud.origin.clone(),
            stranger.origin.clone(),
            format!("{}/api", cloud.origin),
        ],
        ..JwtValidationOptions::default()
    };
    let tokens = UserTokens::new(both.clone()).unwrap();
    assert_eq!(tokens.trusted.len(), 2);
    assert_eq!(
        verdict(both.clone(), &stranger.token(json!({}))).await,
        "passes"
    );
    assert_eq!(
        verdict(both, &named(json!(cloud.origin))).await,
        "bad_signature"
    );
    // One key set for all, if so told.
    let elsewhere = JwtValidationOptions {
        jwks_uri: Some(stranger.issuer.url.clone()),
        ..cloud.options()
    };
    assert_eq!(
        verdict(elsewhere, &named(json!(cloud.origin))).await,
        "passes"
    );
    cloud.issuer.say(trouble());
    let found = verdict(cloud.options(), &cloud.token(json!({}))).await;
    assert_eq!(
        found,
        format!("no keys at {}/api/.well-known/jwks.json", cloud.origin)
    );
}

#[tokio::test]
async fn a_shared_secret_counts_only_when_there_is_one() {
    let cloud = Cloud::start().await;
    let with = |secret: &str| JwtValidationOptions {
        jwt_secret: Some(secret.to_owned()),
        ..cloud.options()
    };
    let public = cloud.signer.public_pem();
    for (options, secret, expected) in [
        (cloud.options(), SECRET, "NoSecret"),
        (with(SECRET), SECRET, "passes"),
        (with(SECRET), &*public, "bad_signature"),
        (with(SECRET), "", "bad_signature"),
        (with(&SECRET[..32]), &SECRET[..32], "passes"),
        (with(&SECRET[..31]), &SECRET[..31], "31 of 32"),
    ] {
        let token = cloud.hs256(secret.as_bytes());
        assert_eq!(verdict(options, &token).await, expected, "{secret}");
    }
    assert_eq!(cloud.issuer.fetches(), 0);
    // It is no key for the other algorithms, and naming HS256 among those brings none.
    assert_eq!(
        verdict(with(SECRET), &cloud.token(json!({}))).await,
        "passes"
    );
    assert_eq!(cloud.issuer.fetches(), 1);
    let named = JwtValidationOptions {
        algorithms: vec![JwtAlgorithm::Hs256],
        ..cloud.options()
    };
    let token = cloud.hs256(SECRET.as_bytes());
    assert_eq!(verdict(named.clone(), &token).await, "NoSecret");
    assert_eq!(
        verdict(named, &cloud.token(json!({}))).await,
        "wrong_algorithm"
    );
}
