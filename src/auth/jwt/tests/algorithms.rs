//! Every algorithm takes its own tokens and no other's.

use jose::TokenError;
use serde_json::json;

use super::reason;
use crate::auth::chain::Chain;
use crate::auth::outcome::Reason;
use crate::auth::testing::{self, Pair, claims, encode, settings};
use crate::config::JwtAlgorithm::{self, *};
use crate::config::{KeySource, Secret};

const RSA: [JwtAlgorithm; 6] = [Rs256, Rs384, Rs512, Ps256, Ps384, Ps512];

/// A chain for an algorithm over these keys.
fn chain(algorithm: JwtAlgorithm, keys: KeySource) -> Chain {
    let mut settings = settings(keys);
    settings.algorithm = algorithm;
    Chain::build(&[testing::step(settings)], &testing::shared()).unwrap()
}

/// A key set in a file, and the directory that holds it.
fn key_set(keys: &[serde_json::Value]) -> (KeySource, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.json");
    std::fs::write(&path, json!({ "keys": keys }).to_string()).unwrap();
    (KeySource::JwksPath(path), dir)
}

fn secret_of(pair: &Pair) -> KeySource {
    KeySource::Secret(Secret::new(pair.secret().unwrap()))
}

#[tokio::test]
async fn each_takes_its_own_tokens_only() {
    let pairs = JwtAlgorithm::ALL.map(Pair::new);
    let public: Vec<_> = pairs
        .iter()
        .filter(|pair| !pair.algorithm.is_hmac())
        .map(|pair| pair.jwk(pair.algorithm.name()))
        .collect();
    let (set, _dir) = key_set(&public);
    for pinned in &pairs {
        let keys = if pinned.algorithm.is_hmac() {
            secret_of(pinned)
        } else {
            set.clone()
        };
        let chain = chain(pinned.algorithm, keys);
        for pair in &pairs {
            let kid = pair.algorithm.name();
            let expected = (pair.algorithm != pinned.algorithm)
                .then_some(Reason::Token(TokenError::WrongAlgorithm));
            assert_eq!(reason(&chain, &pair.token(kid)).await, expected);
            // Signed by that key, but under the pinned algorithm's name.
            let header = json!({ "alg": pinned.algorithm.name(), "kid": kid });
            let expected = match expected {
                None => None,
                Some(_) if pinned.algorithm.is_hmac() => {
                    Some(Reason::Token(TokenError::BadSignature))
                }
                // The set does not hold secrets.
                Some(_) if pair.algorithm.is_hmac() => Some(Reason::Token(TokenError::UnknownKid)),
                Some(_) => Some(Reason::Token(TokenError::KeyDoesNotFit)),
            };
            let token = pair.sign(&header, &claims());
            assert_eq!(
                reason(&chain, &token).await,
                expected,
                "{:?} {kid}",
                pinned.algorithm
            );
            // And under the pinned algorithm's kid.
            let token = pair.sign(
                &json!({ "alg": pinned.algorithm.name(), "kid": pinned.algorithm.name() }),
                &claims(),
            );
            let expected = expected.map(|_| Reason::Token(TokenError::BadSignature));
            assert_eq!(
                reason(&chain, &token).await,
                expected,
                "{:?} {kid}",
                pinned.algorithm
            );
        }
    }
}

#[tokio::test]
async fn an_rsa_key_without_alg_serves_the_pinned_algorithm_only() {
    let mut pair = Pair::new(Rs256);
    let mut jwk = pair.jwk("k");
    jwk.as_object_mut().unwrap().remove("alg");
    let (set, _dir) = key_set(&[jwk]);
    for pinned in RSA {
        let chain = chain(pinned, set.clone());
        for signing in RSA {
            pair = pair.turned_to(signing);
            let header = json!({ "alg": pinned.name(), "kid": "k" });
            let expected = (signing != pinned).then_some(Reason::Token(TokenError::BadSignature));
            let token = pair.sign(&header, &claims());
            assert_eq!(
                reason(&chain, &token).await,
                expected,
                "{pinned:?} {signing:?}"
            );
        }
    }
}

#[tokio::test]
async fn one_pem_of_every_family() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pem");
    for algorithm in [Rs256, Ps384, Es256, Es384, Es512, EdDsa] {
        let (pair, other) = (Pair::new(algorithm), Pair::new(algorithm));
        std::fs::write(&path, pair.public_pem()).unwrap();
        let chain = chain(algorithm, KeySource::PublicKey(path.clone()));
        assert_eq!(reason(&chain, &pair.token("anything")).await, None);
        let refused = reason(&chain, &other.token("anything")).await;
        assert_eq!(refused, Some(Reason::Token(TokenError::BadSignature)));
    }
}

#[tokio::test]
async fn ecdsa_signatures_have_one_form() {
    for algorithm in [Es256, Es384, Es512] {
        let pair = Pair::new(algorithm);
        let (set, _dir) = key_set(&[pair.jwk("k")]);
        let chain = chain(algorithm, set);
        let token = pair.token("k");
        let (input, _) = token.rsplit_once('.').unwrap();
        let with = |signature: &[u8]| format!("{input}.{}", encode(signature));
        let good = pair.signature(input.as_bytes());
        assert_eq!(reason(&chain, &with(&good)).await, None);
        let (r, s) = good.split_at(good.len() / 2);
        let zero = vec![0; r.len()];
        let bad = [
            pair.der_signature(input.as_bytes()).as_ref().to_vec(),
            [s, r].concat(),
            [r, &zero].concat(),
            [&zero[..], s].concat(),
            [&zero[..], &zero].concat(),
            [&[0], r, &[0], s].concat(),
            [r, s, &[0]].concat(),
            [&[0], r, s].concat(),
            vec![0xff; good.len()],
            good[..good.len() - 1].to_vec(),
            Vec::new(),
        ];
        for signature in bad {
            let found = reason(&chain, &with(&signature)).await;
            assert_eq!(
                found,
                Some(Reason::Token(TokenError::BadSignature)),
                "{signature:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_public_key_is_never_a_secret() {
    for algorithm in [Rs256, Es256, EdDsa] {
        let pair = Pair::new(algorithm);
        let (set, _dir) = key_set(&[pair.jwk("k")]);
        let chain = chain(algorithm, set);
        for text in [pair.public_pem(), pair.jwk("k").to_string()] {
            for alg in ["HS256", "HS384", "HS512", algorithm.name()] {
                let header = json!({ "alg": alg, "kid": "k" }).to_string();
                let token = super::sign_hs256(&header, &claims().to_string(), text.as_bytes());
                assert!(reason(&chain, &token).await.is_some());
            }
        }
    }
}

#[test]
fn key_files_that_could_serve_no_token_are_refused() {
    let (set, _dir) = key_set(&[Pair::new(Es256).jwk("k")]);
    let mut step = settings(set);
    step.algorithm = EdDsa;
    let errors = Chain::build(&[testing::step(step)], &testing::shared()).unwrap_err();
    assert!(errors[0].to_string().ends_with(" holds no key for EdDSA"));
    let mut step = settings(KeySource::Secret(Secret::new("x".repeat(47))));
    step.algorithm = Hs384;
    let errors = Chain::build(&[testing::step(step)], &testing::shared()).unwrap_err();
    assert_eq!(
        errors[0].to_string(),
        "the secret has 47 bytes; HS384 needs at least 48"
    );
}
