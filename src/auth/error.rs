//! Why a chain cannot be built.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::jwks::JwksError;
use super::key::KeyRefusal;
use crate::config::JwtAlgorithm;

/// An authentication step that cannot be built.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct BuildError {
    step: Arc<str>,
    cause: BuildCause,
}

impl BuildError {
    pub(crate) fn new(step: &Arc<str>, cause: BuildCause) -> Self {
        Self {
            step: step.clone(),
            cause,
        }
    }

    /// The step's name.
    pub fn step(&self) -> &str {
        &self.step
    }
}

/// What is wrong with a step.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildCause {
    #[error("cannot read the key file {}: {error}", .path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{} holds no public key for {} in PEM form: {error}", .path.display(), .algorithm.name())]
    Pem {
        path: PathBuf,
        algorithm: JwtAlgorithm,
        error: KeyRefusal,
    },
    #[error("{} is not a usable key set: {error}", .path.display())]
    KeySet { path: PathBuf, error: JwksError },
    #[error("{} holds no key for {}", .path.display(), .algorithm.name())]
    NoFittingKey {
        path: PathBuf,
        algorithm: JwtAlgorithm,
    },
    #[error(
        "a secret goes with HS256, HS384 and HS512 only, and every other source of keys with the other algorithms only"
    )]
    KeysDoNotFit,
    #[error("the secret has {length} bytes; {} needs at least {least}", .algorithm.name())]
    ShortSecret {
        algorithm: JwtAlgorithm,
        length: usize,
        least: usize,
    },
    #[error("the last step of a group has nothing to fall back on")]
    NothingToFallBackOn,
    #[error("the realm cannot be written in a header")]
    Realm,
}
