//! What the room's tests share, beside the issuers, keys and tokens of [`jose::testing`].

use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use jose::Claims;

use super::dpop::Proofs;
use super::identity::Content;
use super::{AuthMethod, AuthRequest, Chain, Credential, Identity, KeySets, Revocations, Shared};
use crate::config::{
    AuthStep, ClaimRules, CredentialLocation, JwksUrl, Jwt, JwtAlgorithm, JwtIssuer, KeySource,
    Step, StepKind,
};

pub(crate) use jose::testing::*;

/// A `jwt-auth` step's settings.
pub(crate) fn settings(keys: KeySource) -> Jwt {
    Jwt {
        algorithm: JwtAlgorithm::Rs256,
        issuers: vec![JwtIssuer {
            names: vec![ISSUER.to_owned()],
            keys,
        }],
        rules: ClaimRules {
            audiences: vec![AUDIENCE.to_owned()],
            leeway: Duration::from_secs(60),
            required_claims: Vec::new(),
            required_scopes: Vec::new(),
            claims_to_headers: Vec::new(),
            keeps_claims: false,
        },
        introspection: None,
        accepted_types: vec!["jwt".to_owned(), "at+jwt".to_owned()],
        access_token_profile: false,
        dpop: None,
        location: CredentialLocation::Authorization,
    }
}

/// A required step of these settings.
pub(crate) fn step(settings: Jwt) -> Step {
    Step {
        name: "jwt".into(),
        kind: StepKind::Auth(AuthStep::new(settings)),
        enforce: true,
    }
}

/// A key set's settings: a long life, a short cool-down.
pub(crate) fn jwks_url(url: &str) -> JwksUrl {
    JwksUrl {
        url: url.to_owned(),
        fresh: Duration::from_secs(3600),
        max_stale: Duration::from_secs(86_400),
        cooldown: Duration::from_millis(300),
        reach: None,
    }
}

/// What chains share, with key sets of its own and a cache of tokens.
pub(crate) fn shared() -> Shared {
    shared_over(key_sets())
}

pub(crate) fn shared_over(key_sets: KeySets) -> Shared {
    let revocations = Revocations::open(None).unwrap();
    let shared = Shared::over(key_sets, revocations, Proofs::new(None).unwrap()).unwrap();
    shared.remember_tokens(1 << 20);
    shared
}

pub(crate) fn bearer(token: &str) -> HeaderMap {
    HeaderMap::from_iter([(
        AUTHORIZATION,
        HeaderValue::try_from(format!("Bearer {token}")).unwrap(),
    )])
}

/// That of a token with these claims, which it keeps.
pub(crate) fn identity(claims: serde_json::Value) -> Identity {
    let serde_json::Value::Object(claims) = claims else {
        panic!("no claims: {claims}");
    };
    let subject = claims.get("sub").and_then(serde_json::Value::as_str);
    Identity::new(Content {
        method: AuthMethod::Jwt,
        subject: subject.map(|subject| subject.parse().unwrap()),
        headers: Vec::new(),
        valid_until: None,
        credential: Credential::Token((&Claims::from(claims.clone())).into()),
        claims: Some(claims.into()),
        key_scopes: Box::default(),
    })
}

/// The status that a request with this token gets; 200 if it passes.
pub(crate) async fn status(chain: &Chain, token: &str) -> u16 {
    match chain.authenticate(&AuthRequest::of(&bearer(token))).await {
        Ok(_) => 200,
        Err(denial) => denial.status(),
    }
}

/// Header fields, in this order.
pub(crate) fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
    }
    headers
}
