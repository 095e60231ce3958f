//! Why a chain cannot be built.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::jwks::JwksError;
use super::key::KeyRefusal;

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
    #[error("{} holds no RSA public key in PEM form: {error}", .path.display())]
    Pem { path: PathBuf, error: KeyRefusal },
    #[error("{} is not a usable key set: {error}", .path.display())]
    KeySet { path: PathBuf, error: JwksError },
    #[error("a secret goes with HS256 only, and every other source of keys with RS256 only")]
    KeysDoNotFit,
    #[error("the secret has {0} bytes; HS256 needs at least 32")]
    ShortSecret(usize),
    #[error("the last step of a group has nothing to fall back on")]
    NothingToFallBackOn,
    #[error("the realm cannot be written in a header")]
    Realm,
}
