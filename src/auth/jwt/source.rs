//! Where an issuer's keys come from.

use std::fs;
use std::hash::{Hash, Hasher};
use std::path::Path;

use jose::{HmacKey, KeyRing, KeySets, Keys, ParsedKeySet, PublicKey};

use crate::auth::error::BuildCause;
use crate::auth::fetching::{issuer_url, key_set_url};
use crate::config::{JwtAlgorithm, KeySource};

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

impl Generation {
    /// Which keys there are now.
    pub(super) fn of(keys: &Keys) -> Self {
        match keys {
            Keys::Fetched(keys) => keys.generation().map_or(Self::Unsettled, Self::Of),
            Keys::Secret(_) | Keys::PublicKey(_) | Keys::Set(_) => Self::Fixed,
        }
    }
}

/// Loads what is on the disk, registers what is to be fetched. A secret goes with HMAC alone,
/// everything else with the other algorithms alone, so that no public key is ever taken for a
/// secret (RFC 8725 section 2.1).
pub(super) fn build(
    algorithm: JwtAlgorithm,
    source: &KeySource,
    key_sets: &KeySets,
) -> Result<Keys, BuildCause> {
    match (algorithm.secret_bytes(), source) {
        (Some(least), KeySource::Secret(secret)) => {
            let secret = secret.expose().as_bytes();
            HmacKey::new(algorithm, secret)
                .map(Keys::Secret)
                .ok_or(BuildCause::ShortSecret {
                    algorithm,
                    length: secret.len(),
                    least,
                })
        }
        (None, KeySource::PublicKey(path)) => PublicKey::from_pem(&read(path)?, algorithm)
            .map(Keys::PublicKey)
            .map_err(|error| BuildCause::Pem {
                path: path.clone(),
                algorithm,
                error,
            }),
        (None, KeySource::JwksPath(path)) => ring(path, algorithm).map(Keys::Set),
        (None, KeySource::JwksUrl(url)) => Ok(Keys::Fetched(key_sets.register(&key_set_url(url)))),
        (None, KeySource::Discovery(issuer)) => {
            Ok(Keys::Fetched(key_sets.register_issuer(&issuer_url(issuer))))
        }
        (None, KeySource::Secret(_)) | (Some(_), _) => Err(BuildCause::KeysDoNotFit),
    }
}

/// Tells keys from all others: those that are always the same by what they are, a fetched set by
/// where or whose it is. `source` is what they were built from.
pub(super) fn tell_apart(keys: &Keys, source: &KeySource, hasher: &mut impl Hasher) {
    std::mem::discriminant(keys).hash(hasher);
    match (keys, source) {
        (Keys::PublicKey(key), _) => key.hash(hasher),
        (Keys::Set(ring), _) => ring.hash(hasher),
        (_, KeySource::JwksUrl(url)) => url.hash(hasher),
        (_, KeySource::Discovery(issuer)) => issuer.hash(hasher),
        (_, KeySource::Secret(secret)) => secret.expose().hash(hasher),
        (_, KeySource::JwksPath(path) | KeySource::PublicKey(path)) => path.hash(hasher),
    }
}

/// A key set in a file. Without a key for the algorithm, no token could ever pass.
fn ring(path: &Path, algorithm: JwtAlgorithm) -> Result<KeyRing, BuildCause> {
    let set = ParsedKeySet::parse(&read(path)?).map_err(|error| BuildCause::KeySet {
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
