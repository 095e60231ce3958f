//! Tokens, good and bad, against a chain of one step.

mod algorithms;
mod attacks;
mod issuers;
mod locations;
mod reach;
mod rules;
mod verified_cache;

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use crate::auth::AuthRequest;
use crate::auth::chain::Chain;
use crate::auth::outcome::Reason;
use crate::auth::testing::{self, Signer, bearer, claims, encode, settings};
use crate::config::{Jwt, JwtAlgorithm, KeySource, Secret};

pub(super) const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A chain that trusts this key under the `kid` "k", and one more key.
pub(super) fn chain(signer: &Signer, change: impl FnOnce(&mut Jwt)) -> Chain {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.json");
    let set = json!({ "keys": [signer.jwk("k"), Signer::generate().jwk("other")] });
    std::fs::write(&path, set.to_string()).unwrap();
    let mut settings = settings(KeySource::JwksPath(path));
    change(&mut settings);
    Chain::build(&[testing::step(settings)], &testing::shared()).unwrap()
}

pub(super) fn hs256_chain() -> Chain {
    let mut settings = settings(KeySource::Secret(Secret::new(SECRET.to_owned())));
    settings.algorithm = JwtAlgorithm::Hs256;
    Chain::build(&[testing::step(settings)], &testing::shared()).unwrap()
}

pub(super) fn sign_hs256(header: &str, claims: &str, secret: &[u8]) -> String {
    let input = format!("{}.{}", encode(header), encode(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    format!("{input}.{}", encode(hmac::sign(&key, input.as_bytes())))
}

/// Claims with members changed; `null` removes one.
pub(super) fn claims_with(changes: Value) -> String {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims.to_string()
}

pub(super) async fn reason(chain: &Chain, token: &str) -> Option<Reason> {
    chain
        .authenticate(&AuthRequest::of(&bearer(token)))
        .await
        .err()
        .map(|denial| denial.reason())
}
