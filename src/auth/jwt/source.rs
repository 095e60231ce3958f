//! Where a step's keys come from.

use std::fs;
use std::path::Path;

use crate::auth::error::BuildCause;
use crate::auth::jwks::{self, FetchedKeys, KeySets};
use crate::auth::key::{HmacKey, KeyRing, RsaKey};
use crate::auth::outcome::Refusal;
use crate::config::{JwtAlgorithm, KeySource};

/// The keys of a `jwt-auth` step.
#[derive(Debug)]
pub(super) enum Source {
    /// `secret`; `kid` is not looked at.
    Secret(HmacKey),
    /// `public_key_path`; `kid` is not looked at.
    PublicKey(RsaKey),
    /// `jwks_path`.
    File(KeyRing),
    /// `jwks_url`.
    Fetched(FetchedKeys),
}

impl Source {
    /// Loads what is on the disk, registers what is to be fetched. A secret goes with HS256 alone, everything else with RS256 alone, so that no public key is ever taken for a
    /// secret (RFC 8725 section 2.1).
    pub(super) fn build(
        algorithm: JwtAlgorithm,
        source: &KeySource,
        key_sets: &KeySets,
    ) -> Result<Self, BuildCause> {
        match (algorithm, source) {
            (JwtAlgorithm::Hs256, KeySource::Secret(secret)) => {
                let secret = secret.expose().as_bytes();
                HmacKey::new(secret)
                    .map(Self::Secret)
                    .ok_or(BuildCause::ShortSecret(secret.len()))
            }
            (JwtAlgorithm::Rs256, KeySource::PublicKey(path)) => RsaKey::from_pem(&read(path)?)
                .map(Self::PublicKey)
                .map_err(|error| BuildCause::Pem {
                    path: path.clone(),
                    error,
                }),
            (JwtAlgorithm::Rs256, KeySource::JwksPath(path)) => {
                let set = jwks::parse(&read(path)?).map_err(|error| BuildCause::KeySet {
                    path: path.clone(),
                    error,
                })?;
                for (key, refusal) in &set.refused {
                    log::warn!("key {key} of {} is not used: {refusal}", path.display());
                }
                Ok(Self::File(set.ring))
            }
            (JwtAlgorithm::Rs256, KeySource::JwksUrl(url)) => {
                Ok(Self::Fetched(key_sets.register(url)))
            }
            (JwtAlgorithm::Rs256, KeySource::Secret(_)) | (JwtAlgorithm::Hs256, _) => {
                Err(BuildCause::KeysDoNotFit)
            }
        }
    }

    /// Whether a signature verifies under the key for `kid`. Waits for that key only when it is not at hand.
    pub(super) async fn verifies(
        &self,
        kid: Option<&str>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, Refusal> {
        Ok(match self {
            Self::Secret(key) => key.verifies(message, signature),
            Self::PublicKey(key) => key.verifies(message, signature),
            Self::File(ring) => ring.select(kid)?.verifies(message, signature),
            Self::Fetched(keys) => keys.key(kid).await?.verifies(message, signature),
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, BuildCause> {
    fs::read(path).map_err(|error| BuildCause::Unreadable {
        path: path.to_owned(),
        error,
    })
}
