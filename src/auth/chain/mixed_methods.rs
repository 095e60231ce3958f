//! Tests: groups of different kinds of credentials, as the documentation shows them: a token first,
//! then a key or a password.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::*;
use crate::auth::testing::{self, Signer, settings};
use crate::config::{
    ApiKey, ApiKeyEntry, Basic, BasicUser, KeyDigest, KeySource, Secret, StoredPassword,
};
use crate::config::{AuthSettings, AuthStep, Owner, StepKind};

const KEY: &str = "0123456789abcdef";

/// How a step joins its group.
#[derive(Clone, Copy, PartialEq)]
enum Joins {
    Required,
    Optional,
    FallsBack,
}

fn step(name: &str, settings: impl Into<AuthSettings>, joins: Joins) -> Step {
    Step {
        name: name.into(),
        kind: StepKind::Auth(AuthStep {
            optional: joins != Joins::Required,
            fallback_on_failed: joins == Joins::FallsBack,
            forward_credential: false,
            ..AuthStep::new(settings)
        }),
        enforce: true,
    }
}

fn key(joins: Joins) -> Step {
    let digest = ring::digest::digest(&ring::digest::SHA256, KEY.as_bytes());
    let settings = ApiKey {
        location: CredentialLocation::Header(HeaderName::from_static("x-api-key")),
        keys: vec![ApiKeyEntry {
            id: "robot".to_owned(),
            digest: KeyDigest::Sha256(digest.as_ref().try_into().unwrap()),
            expires_at: None,
            scopes: Vec::new(),
        }],
        pepper: None,
        required_scopes: Vec::new(),
        max_failures: 0,
    };
    step("key", settings, joins)
}

fn password(joins: Joins) -> Step {
    let settings = Basic {
        users: vec![BasicUser {
            name: "admin".to_owned(),
            password: StoredPassword::Bcrypt(Secret::new(bcrypt::hash("secret", 4).unwrap())),
        }],
        htpasswd_path: None,
        max_failures: 2,
        owner: Owner::Local,
    };
    step("basic", settings, joins)
}

/// An issuer whose tokens `token` steps take.
struct TestIssuer {
    dir: tempfile::TempDir,
    signer: Signer,
}

impl TestIssuer {
    fn new() -> Self {
        let (dir, signer) = (tempfile::tempdir().unwrap(), Signer::generate());
        std::fs::write(dir.path().join("key"), signer.public_pem()).unwrap();
        Self { dir, signer }
    }

    fn token(&self, joins: Joins) -> Step {
        let settings = settings(KeySource::PublicKey(self.dir.path().join("key")));
        step("jwt", settings, joins)
    }

    fn good(&self) -> String {
        format!("Bearer {}", self.signer.token("k"))
    }

    fn bad(&self) -> String {
        format!("Bearer {}", Signer::generate().token("k"))
    }
}

fn basic(user_pass: &str) -> String {
    format!("Basic {}", STANDARD.encode(user_pass))
}

fn build(steps: &[Step]) -> Chain {
    Chain::build(steps, &testing::shared()).unwrap()
}

/// The method, or the status and the reason.
async fn outcome(chain: &Chain, authorization: Option<&str>, key: Option<&str>) -> String {
    let mut headers = HeaderMap::new();
    for (name, value) in [("authorization", authorization), ("x-api-key", key)] {
        if let Some(value) = value {
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
    }
    match chain.authenticate(&AuthRequest::of(&headers)).await {
        Ok(Some(identity)) => identity.method().as_str().to_owned(),
        Ok(None) => "anonymous".to_owned(),
        Err(denial) => format!("{} {}", denial.status(), denial.reason().as_str()),
    }
}

#[tokio::test]
async fn a_token_first_then_a_key() {
    let test_issuer = TestIssuer::new();
    let (good, bad) = (test_issuer.good(), test_issuer.bad());
    let (good, bad) = (good.as_str(), bad.as_str());
    let strict = build(&[test_issuer.token(Joins::Optional), key(Joins::Required)]);
    let wide = build(&[test_issuer.token(Joins::FallsBack), key(Joins::Required)]);
    let open = build(&[test_issuer.token(Joins::Optional), key(Joins::Optional)]);
    let wide_open = build(&[test_issuer.token(Joins::FallsBack), key(Joins::Optional)]);
    for (token, key, want) in [
        (
            None,
            None,
            ["401 missing", "401 missing", "anonymous", "anonymous"],
        ),
        (Some(good), None, ["jwt"; 4]),
        (None, Some(KEY), ["api-key"; 4]),
        (Some(good), Some(KEY), ["jwt"; 4]),
        (Some(good), Some("x"), ["jwt"; 4]),
        (Some(bad), None, ["401 bad_signature"; 4]),
        (
            Some(bad),
            Some(KEY),
            [
                "401 bad_signature",
                "api-key",
                "401 bad_signature",
                "api-key",
            ],
        ),
        (Some(bad), Some("x"), ["401 bad_signature"; 4]),
        (None, Some("x"), ["401 unknown_key"; 4]),
        (None, Some(""), ["401 malformed"; 4]),
        (
            Some("Basic YTpi"),
            None,
            ["401 missing", "401 missing", "anonymous", "anonymous"],
        ),
        (Some("Basic YTpi"), Some(KEY), ["api-key"; 4]),
    ] {
        for (chain, want) in [&strict, &wide, &open, &wide_open].into_iter().zip(want) {
            assert_eq!(outcome(chain, token, key).await, want, "{token:?} {key:?}");
        }
    }
}

#[tokio::test]
async fn a_token_or_a_password_or_a_key() {
    let test_issuer = TestIssuer::new();
    let (good, bad) = (test_issuer.good(), test_issuer.bad());
    let chain = build(&[
        test_issuer.token(Joins::Optional),
        password(Joins::Optional),
        key(Joins::Required),
    ]);
    let (right, wrong) = (basic("admin:secret"), basic("admin:guess"));
    for (authorization, key, want) in [
        (Some(&good), None, "jwt"),
        (Some(&bad), Some(KEY), "401 bad_signature"),
        (Some(&right), None, "basic"),
        (Some(&right), Some("x"), "basic"),
        (Some(&wrong), None, "401 wrong_password"),
        (Some(&wrong), Some(KEY), "401 wrong_password"),
        (Some(&wrong), Some(KEY), "429 too_many_failures"),
        (Some(&right), None, "basic"),
        (None, Some(KEY), "api-key"),
        (None, None, "401 missing"),
    ] {
        let found = outcome(&chain, authorization.map(String::as_str), key).await;
        assert_eq!(found, want, "{authorization:?} {key:?}");
    }
    let denial = chain
        .authenticate(&AuthRequest::of(&HeaderMap::new()))
        .await
        .unwrap_err();
    assert_eq!(
        denial.challenges(),
        [
            r#"Bearer realm="harmony""#,
            r#"Basic realm="harmony", charset="UTF-8""#,
            r#"ApiKey realm="harmony""#,
        ]
    );
}

#[tokio::test]
async fn a_token_and_a_key() {
    let test_issuer = TestIssuer::new();
    let both = build(&[test_issuer.token(Joins::Required), key(Joins::Required)]);
    let good = test_issuer.good();
    for (token, key, want) in [
        (Some(good.as_str()), Some(KEY), "jwt"),
        (Some(&good), None, "401 missing"),
        (Some(&good), Some("x"), "401 unknown_key"),
        (None, Some(KEY), "401 missing"),
    ] {
        assert_eq!(outcome(&both, token, key).await, want);
    }
    let either_way = build(&[key(Joins::Required), test_issuer.token(Joins::Required)]);
    assert_eq!(
        outcome(&either_way, Some(&good), Some(KEY)).await,
        "api-key"
    );
}

#[tokio::test]
async fn each_kind_comes_once_and_none_travels() {
    let test_issuer = TestIssuer::new();
    let chain = build(&[test_issuer.token(Joins::Optional), key(Joins::Required)]);
    let mut twice = HeaderMap::new();
    for value in [KEY, KEY] {
        twice.append("x-api-key", HeaderValue::from_static(value));
    }
    let good = test_issuer.good();
    twice.insert("authorization", HeaderValue::from_str(&good).unwrap());
    // Also when the first step would have let it in.
    let denial = chain
        .authenticate(&AuthRequest::of(&twice))
        .await
        .unwrap_err();
    assert_eq!((denial.status(), denial.reason()), (400, Reason::Repeated));
    assert_eq!(
        denial.challenges(),
        [
            r#"Bearer realm="harmony", error="invalid_request""#,
            r#"ApiKey realm="harmony""#,
        ]
    );
    let both = [
        CredentialLocation::Authorization,
        CredentialLocation::Header(HeaderName::from_static("x-api-key")),
    ];
    assert_eq!(
        (&chain.stripped()[..], &chain.locations[..]),
        (&both[..], &both[..])
    );
}

/// A chain whose credentials may all travel, and the locations that it reads.
struct ForwardingChain(Chain, CredentialLocations);

impl ForwardingChain {
    fn build(steps: [Step; 2]) -> Self {
        let steps = steps.map(|mut step| {
            if let StepKind::Auth(auth) = &mut step.kind {
                auth.forward_credential = true;
            }
            step
        });
        let (mut chain, mut locations) = (build(&steps), CredentialLocations::default());
        chain.add_locations(&mut locations);
        Self(chain, locations)
    }

    /// What must not travel of a request, which has to be let on: `authorization`, `key`, or both.
    async fn stripped(&self, authorization: Option<&str>, key: Option<&str>) -> String {
        let mut fields = Vec::from_iter(authorization.map(|value| ("authorization", value)));
        fields.extend(key.map(|value| ("x-api-key", value)));
        let headers = testing::headers(&fields);
        let admission = self
            .0
            .admit(&AuthRequest::of(&headers), &mut Trace::off())
            .await
            .unwrap();
        let names: Vec<&str> = self
            .1
            .stripped(admission.verified)
            .map(|location| match location {
                CredentialLocation::Authorization => "authorization",
                _ => "key",
            })
            .collect();
        names.join(" ")
    }
}

#[tokio::test]
async fn what_was_not_verified_does_not_travel() {
    let test_issuer = TestIssuer::new();
    let (good, bad) = (test_issuer.good(), test_issuer.bad());
    let (right, other) = (basic("admin:secret"), "Digest username=x".to_owned());
    for (first, second) in [
        (Joins::Optional, Joins::Required),
        (Joins::Optional, Joins::Optional),
        (Joins::FallsBack, Joins::Required),
    ] {
        let token_or_key = &ForwardingChain::build([test_issuer.token(first), key(second)]);
        let key_or_token = &ForwardingChain::build([key(first), test_issuer.token(second)]);
        let password_or_key = &ForwardingChain::build([password(first), key(second)]);
        for (chain, authorization, key, want) in [
            (token_or_key, Some(&good), None, "key"),
            (token_or_key, Some(&good), Some(KEY), "key"),
            (token_or_key, None, Some(KEY), "authorization"),
            (token_or_key, Some(&right), Some(KEY), "authorization"),
            (token_or_key, Some(&other), Some(KEY), "authorization"),
            (key_or_token, Some(&good), Some(KEY), "authorization"),
            (key_or_token, Some(&bad), Some(KEY), "authorization"),
            (key_or_token, Some(&other), Some(KEY), "authorization"),
            (key_or_token, Some(&good), None, "key"),
            (password_or_key, Some(&right), Some(KEY), "key"),
            (password_or_key, Some(&good), Some(KEY), "authorization"),
        ] {
            let withheld = chain.stripped(authorization.map(String::as_str), key).await;
            assert_eq!(withheld, want, "{authorization:?} {key:?}");
        }
    }
    // What a step rejected does not travel because another one took over.
    let wide = ForwardingChain::build([test_issuer.token(Joins::FallsBack), key(Joins::Required)]);
    assert_eq!(wide.stripped(Some(&bad), Some(KEY)).await, "authorization");
    let both = ForwardingChain::build([test_issuer.token(Joins::Required), key(Joins::Required)]);
    assert_eq!(both.stripped(Some(&good), Some(KEY)).await, "");
    let open = ForwardingChain::build([test_issuer.token(Joins::Optional), key(Joins::Optional)]);
    assert_eq!(open.stripped(Some(&other), None).await, "authorization key");
}

#[test]
fn only_passwords_are_waited_for() {
    let test_issuer = TestIssuer::new();
    let with = |value: &str| {
        HeaderMap::from_iter([("authorization".parse().unwrap(), value.parse().unwrap())])
    };
    let may_wait =
        |steps: &[Step], headers: &HeaderMap| build(steps).may_wait(&AuthRequest::of(headers));
    let steps = [
        test_issuer.token(Joins::Optional),
        password(Joins::Required),
    ];
    assert!(may_wait(&steps, &with("basic YTpi")));
    assert!(!may_wait(&steps, &with("Bearer a.b.c")) && !may_wait(&steps, &HeaderMap::new()));
    let steps = [test_issuer.token(Joins::Optional), key(Joins::Required)];
    assert!(!may_wait(&steps, &with("Basic YTpi")));
}
