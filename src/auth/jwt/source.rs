//! Where an issuer's keys come from.

use std::fs;
use std::hash::{Hash, Hasher};
use std::path::Path;

use crate::auth::error::BuildCause;
use crate::auth::jwks::{self, FetchedKeys, KeySets};
use crate::auth::key::{HmacKey, KeyRing, PublicKey};
use crate::auth::outcome::Refusal;
use crate::config::{JwtAlgorithm, KeySource};

/// The keys of one issuer of a `jwt-auth` step.
#[derive(Debug)]
pub(super) enum Source {
    /// `secret`; `kid` is not looked at.
    Secret(HmacKey),
    /// `public_key_path`; `kid` is not looked at.
    PublicKey(PublicKey),
    /// `jwks_path`.
    File(KeyRing),
    /// `jwks_url`.
    Fetched(FetchedKeys),
}

/// Which keys a source has at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Generation {
    /// Always the same ones.
    Fixed,
    /// Those of this generation of a fetched set.
    Of(u64),
    /// None, or none before a fetch has ended.
    Unsettled,
}

impl Source {
    /// Loads what is on the disk, registers what is to be fetched. A secret goes with HMAC alone,
    /// everything else with the other algorithms alone, so that no public key is ever taken for a
    /// secret (RFC 8725 section 2.1).
    pub(super) fn build(
        algorithm: JwtAlgorithm,
        source: &KeySource,
        key_sets: &KeySets,
    ) -> Result<Self, BuildCause> {
        match (algorithm.secret_bytes(), source) {
            (Some(least), KeySource::Secret(secret)) => {
                let secret = secret.expose().as_bytes();
                HmacKey::new(algorithm, secret)
                    .map(Self::Secret)
                    .ok_or(BuildCause::ShortSecret {
                        algorithm,
                        length: secret.len(),
                        least,
                    })
            }
            (None, KeySource::PublicKey(path)) => PublicKey::from_pem(&read(path)?, algorithm)
                .map(Self::PublicKey)
                .map_err(|error| BuildCause::Pem {
                    path: path.clone(),
                    algorithm,
                    error,
                }),
            (None, KeySource::JwksPath(path)) => ring(path, algorithm).map(Self::File),
            (None, KeySource::JwksUrl(url)) => Ok(Self::Fetched(key_sets.register(url))),
            (None, KeySource::Secret(_)) | (Some(_), _) => Err(BuildCause::KeysDoNotFit),
        }
    }

    /// Whether a signature verifies under the key for `kid`. Waits for that key only when it is not
    /// at hand.
    pub(super) async fn verifies(
        &self,
        algorithm: JwtAlgorithm,
        kid: Option<&str>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, Refusal> {
        Ok(match self {
            Self::Secret(key) => key.verifies(message, signature),
            Self::PublicKey(key) => key.verifies(algorithm, message, signature),
            Self::File(ring) => ring
                .select(kid, algorithm)?
                .verifies(algorithm, message, signature),
            Self::Fetched(keys) => keys
                .key(kid, algorithm)
                .await?
                .verifies(algorithm, message, signature),
        })
    }

    /// Which keys there are now.
    pub(super) fn generation(&self) -> Generation {
        match self {
            Self::Secret(_) | Self::PublicKey(_) | Self::File(_) => Generation::Fixed,
            Self::Fetched(keys) => keys
                .generation()
                .map_or(Generation::Unsettled, Generation::Of),
        }
    }

    /// Tells this source from every other one: keys that are always the same by what they are, a
    /// fetched set by where it is from. `settings` are what it was built from.
    pub(super) fn tell_apart(&self, settings: &KeySource, hasher: &mut impl Hasher) {
        std::mem::discriminant(self).hash(hasher);
        match (self, settings) {
            (Self::PublicKey(key), _) => key.material().hash(hasher),
            (Self::File(ring), _) => {
                for (kid, key) in ring.iter() {
                    (kid, key.material()).hash(hasher);
                    key.algorithms().for_each(|served| served.hash(hasher));
                }
            }
            (_, KeySource::JwksUrl(url)) => url.hash(hasher),
            (_, KeySource::Secret(secret)) => secret.expose().hash(hasher),
            (_, KeySource::JwksPath(path) | KeySource::PublicKey(path)) => path.hash(hasher),
        }
    }
}

/// A key set in a file. Without a key for the algorithm, no token could ever pass.
fn ring(path: &Path, algorithm: JwtAlgorithm) -> Result<KeyRing, BuildCause> {
    let set = jwks::parse(&read(path)?).map_err(|error| BuildCause::KeySet {
        path: path.to_owned(),
        error,
    })?;
    for (key, refusal) in &set.refused {
        log::warn!("key {key} of {} is not used: {refusal}", path.display());
    }
    if set.ring.serves(algorithm) {
        Ok(set.ring)
    } else {
        Err(BuildCause::NoFittingKey {
            path: path.to_owned(),
            algorithm,
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, BuildCause> {
    fs::read(path).map_err(|error| BuildCause::Unreadable {
        path: path.to_owned(),
        error,
    })
}
