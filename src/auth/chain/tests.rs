//! Groups of steps: which answer, and whose identity.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use jose::TokenError;

use super::*;
use crate::auth::AuthRequest;
use crate::auth::identity::AuthMethod;
use crate::auth::testing::{self, Signer, bearer, settings};
use crate::config::{
    AuthSettings, AuthStep, CredentialLocation, JwtAlgorithm, KeySource, Secret, StepKind,
};

impl Chain {
    /// What must not travel although all of it was verified.
    pub(crate) fn stripped(&self) -> Vec<CredentialLocation> {
        let (mut locations, mut verified) =
            (CredentialLocations::default(), VerifiedLocations::default());
        for member in self.groups.iter().flat_map(|group| &group.members) {
            if let Some(location) = member.authenticator.location() {
                verified.add(locations.add(location, member.forward_credential));
            }
        }
        locations.stripped(verified).cloned().collect()
    }
}

/// Steps with a key of their own each, so that a token passes one of them and fails the others.
struct House {
    dir: tempfile::TempDir,
    signers: [Signer; 2],
}

impl House {
    fn new() -> Self {
        let house = Self {
            dir: tempfile::tempdir().unwrap(),
            signers: [Signer::generate(), Signer::generate()],
        };
        for (index, signer) in house.signers.iter().enumerate() {
            std::fs::write(
                house.dir.path().join(index.to_string()),
                signer.public_pem(),
            )
            .unwrap();
        }
        house
    }

    fn step(&self, index: usize, change: impl FnOnce(&mut AuthStep)) -> Step {
        let path = self.dir.path().join(index.to_string());
        let mut step = testing::step(settings(KeySource::PublicKey(path)));
        let StepKind::Auth(auth) = &mut step.kind else {
            panic!()
        };
        change(auth);
        step
    }

    fn token(&self, index: usize) -> HeaderMap {
        bearer(&self.signers[index].token("k"))
    }
}

fn build(steps: &[Step]) -> Chain {
    Chain::build(steps, &testing::shared()).unwrap()
}

/// The outcome in a word.
async fn outcome(chain: &Chain, headers: &HeaderMap) -> &'static str {
    match chain.authenticate(&AuthRequest::of(headers)).await {
        Ok(Some(identity)) => identity.method().as_str(),
        Ok(None) => "anonymous",
        Err(denial) => denial.reason().as_str(),
    }
}

fn optional(step: &mut AuthStep) {
    step.optional = true;
}

#[tokio::test]
async fn an_open_chain() {
    let passthru = Step {
        name: "nothing".into(),
        kind: StepKind::Passthru,
        enforce: true,
    };
    for chain in [build(&[]), build(&[passthru])] {
        assert!(chain.is_open() && chain.stripped().is_empty());
        assert_eq!(outcome(&chain, &HeaderMap::new()).await, "anonymous");
        assert_eq!(outcome(&chain, &bearer("rubbish")).await, "anonymous");
    }
}

#[tokio::test]
async fn one_required_step() {
    let house = House::new();
    let chain = build(&[house.step(0, |_| {})]);
    assert!(!chain.is_open());
    let missing = chain
        .authenticate(&AuthRequest::of(&HeaderMap::new()))
        .await
        .unwrap_err();
    assert_eq!((missing.status(), missing.reason()), (401, Reason::Missing));
    assert_eq!(missing.challenges(), [r#"Bearer realm="harmony""#]);

    let identity = chain
        .authenticate(&AuthRequest::of(&house.token(0)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (identity.method(), identity.subject().unwrap()),
        (AuthMethod::Jwt, &HeaderValue::from_static("alice"))
    );

    let rejected = chain
        .authenticate(&AuthRequest::of(&house.token(1)))
        .await
        .unwrap_err();
    assert_eq!(
        (rejected.status(), rejected.reason()),
        (401, Reason::Token(TokenError::BadSignature))
    );
    assert_eq!(
        rejected.challenges(),
        [r#"Bearer realm="harmony", error="invalid_token""#]
    );

    for value in ["Basic YTpi", "Digest x=y", ""] {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(value))]);
        assert_eq!(outcome(&chain, &headers).await, "missing", "{value}");
    }
    for value in ["Bearer", "Bearer  ", "bearer a b"] {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(value))]);
        assert_eq!(outcome(&chain, &headers).await, "malformed", "{value}");
    }
}

#[tokio::test]
async fn authorization_comes_once() {
    let house = House::new();
    for chain in [
        build(&[house.step(0, |_| {})]),
        build(&[house.step(0, optional)]),
    ] {
        for second in ["Basic YTpi", "Bearer x", ""] {
            let mut headers = house.token(0);
            headers.append(AUTHORIZATION, HeaderValue::from_static(second));
            let denial = chain
                .authenticate(&AuthRequest::of(&headers))
                .await
                .unwrap_err();
            assert_eq!((denial.status(), denial.reason()), (400, Reason::Repeated));
            assert_eq!(
                denial.challenges(),
                [r#"Bearer realm="harmony", error="invalid_request""#]
            );
        }
    }
}

#[tokio::test]
async fn an_optional_step_alone() {
    let house = House::new();
    let chain = build(&[house.step(0, optional)]);
    assert!(!chain.is_open());
    assert_eq!(outcome(&chain, &HeaderMap::new()).await, "anonymous");
    assert_eq!(outcome(&chain, &house.token(0)).await, "jwt");
    assert_eq!(outcome(&chain, &house.token(1)).await, "bad_signature");
    assert_eq!(outcome(&chain, &bearer("rubbish")).await, "malformed");
}

#[tokio::test]
async fn a_rejection_ends_its_group_unless_told_otherwise() {
    let house = House::new();
    let strict = build(&[house.step(0, optional), house.step(1, |_| {})]);
    assert_eq!(outcome(&strict, &house.token(0)).await, "jwt");
    assert_eq!(outcome(&strict, &house.token(1)).await, "bad_signature");
    assert_eq!(outcome(&strict, &HeaderMap::new()).await, "missing");

    let falls_back = |step: &mut AuthStep| {
        step.optional = true;
        step.fallback_on_failed = true;
    };
    let wide = build(&[house.step(0, falls_back), house.step(1, |_| {})]);
    assert_eq!(outcome(&wide, &house.token(0)).await, "jwt");
    assert_eq!(outcome(&wide, &house.token(1)).await, "jwt");
    assert_eq!(outcome(&wide, &bearer("a.b.c")).await, "malformed");
    assert_eq!(outcome(&wide, &HeaderMap::new()).await, "missing");

    let all_optional = build(&[house.step(0, falls_back), house.step(1, optional)]);
    assert_eq!(outcome(&all_optional, &HeaderMap::new()).await, "anonymous");
    assert_eq!(outcome(&all_optional, &bearer("a.b.c")).await, "malformed");
}

#[tokio::test]
async fn the_gravest_failure_answers() {
    let house = House::new();
    let scoped = |step: &mut AuthStep| {
        step.optional = true;
        step.fallback_on_failed = true;
        let AuthSettings::Jwt(jwt) = &mut step.settings else {
            panic!()
        };
        Arc::make_mut(jwt).rules.required_scopes = vec!["read".to_owned()];
    };
    let chain = build(&[house.step(0, scoped), house.step(1, |_| {})]);
    let denial = chain
        .authenticate(&AuthRequest::of(&house.token(0)))
        .await
        .unwrap_err();
    assert_eq!(
        (denial.status(), denial.reason()),
        (403, Reason::Token(TokenError::ScopeMissing))
    );
    assert_eq!(outcome(&chain, &house.token(1)).await, "jwt");
}

#[tokio::test]
async fn groups_are_anded() {
    let house = House::new();
    let both = build(&[house.step(0, |_| {}), house.step(1, |_| {})]);
    assert_eq!(outcome(&both, &house.token(0)).await, "bad_signature");
    assert_eq!(outcome(&both, &house.token(1)).await, "bad_signature");
    let same = build(&[house.step(0, |_| {}), house.step(0, |_| {})]);
    assert_eq!(outcome(&same, &house.token(0)).await, "jwt");
}

#[tokio::test]
async fn each_scheme_is_offered_once() {
    let house = House::new();
    let chain = build(&[
        house.step(0, optional),
        house.step(1, |step| step.realm = "second".to_owned()),
        house.step(0, |step| step.realm = "third".to_owned()),
    ]);
    let denial = chain
        .authenticate(&AuthRequest::of(&HeaderMap::new()))
        .await
        .unwrap_err();
    assert_eq!(denial.challenges(), [r#"Bearer realm="harmony""#]);
}

#[test]
fn forwarding() {
    let house = House::new();
    let keeps = |step: &mut AuthStep| step.forward_credential = false;
    assert!(build(&[house.step(0, |_| {})]).stripped().is_empty());
    let authorization = [CredentialLocation::Authorization];
    assert_eq!(build(&[house.step(0, keeps)]).stripped(), authorization);
    assert_eq!(
        build(&[house.step(0, optional), house.step(1, keeps)]).stripped(),
        authorization
    );
}

#[test]
fn every_error_is_reported_with_its_step() {
    let house = House::new();
    let named = |name: &str, mut step: Step| {
        step.name = name.into();
        step
    };
    let secret = |text: &str| KeySource::Secret(Secret::new(text.to_owned()));
    let hs256 = |keys| {
        let mut settings = settings(keys);
        settings.algorithm = JwtAlgorithm::Hs256;
        testing::step(settings)
    };
    std::fs::write(house.dir.path().join("rubbish"), "rubbish").unwrap();
    std::fs::write(
        house.dir.path().join("private"),
        house.signers[0].private_pem(),
    )
    .unwrap();
    let file = |name: &str| house.dir.path().join(name);
    let steps = [
        named(
            "absent",
            testing::step(settings(KeySource::PublicKey(file("absent")))),
        ),
        named(
            "rubbish",
            testing::step(settings(KeySource::PublicKey(file("rubbish")))),
        ),
        named(
            "private",
            testing::step(settings(KeySource::PublicKey(file("private")))),
        ),
        named(
            "set",
            testing::step(settings(KeySource::JwksPath(file("rubbish")))),
        ),
        named(
            "confused",
            testing::step(settings(secret("0123456789abcdef0123456789abcdef"))),
        ),
        named("confused too", hs256(KeySource::PublicKey(file("0")))),
        named("short", hs256(secret("0123456789abcdef0123456789abcde"))),
        named("good", house.step(0, |_| {})),
        named("last", house.step(0, |step| step.fallback_on_failed = true)),
    ];
    let errors = Chain::build(&steps, &testing::shared()).unwrap_err();
    let found: Vec<_> = errors.iter().map(BuildError::step).collect();
    assert_eq!(
        found,
        [
            "absent",
            "rubbish",
            "private",
            "set",
            "confused",
            "confused too",
            "short",
            "last"
        ]
    );
    let text = format!("{errors:?} {}", errors[6]);
    assert!(
        text.ends_with("the secret has 31 bytes; HS256 needs at least 32"),
        "{text}"
    );
    assert!(!text.contains("0123456789"));
}
