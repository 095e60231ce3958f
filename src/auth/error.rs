//! Why a chain cannot be built.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use jose::{KeyError, KeySetError};

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
    #[error("{} holds no public key for {} in PEM \
             form: {error}", .path.display(), .algorithm.name())]
    Pem {
        path: PathBuf,
        algorithm: JwtAlgorithm,
        error: KeyError,
    },
    #[error("{} is not a usable key set: {error}", .path.display())]
    KeySet { path: PathBuf, error: KeySetError },
    #[error("{} holds no key for {}", .path.display(), .algorithm.name())]
    NoFittingKey {
        path: PathBuf,
        algorithm: JwtAlgorithm,
    },
    #[error(
        "a secret goes with HS256, HS384 and HS512 only, and every other source of keys with the \
         other algorithms only"
    )]
    KeysDoNotFit,
    #[error("the secret has {length} bytes; {} needs at least {least}", .algorithm.name())]
    ShortSecret {
        algorithm: JwtAlgorithm,
        length: usize,
        least: usize,
    },
    #[error("the introspection endpoint is not a URL")]
    IntrospectionUrl,
    #[error("cannot read the htpasswd file {}: {error}", .path.display())]
    UnreadableUsers { path: PathBuf, error: io::Error },
    #[error("{}:{line}: the line {error}", .path.display())]
    Htpasswd {
        path: PathBuf,
        line: usize,
        error: HtpasswdError,
    },
    #[error("there is no user: nobody could pass")]
    NoUsers,
    #[error("user {0:?} is defined twice")]
    SameUser(String),
    #[error("a user has no well-formed bcrypt hash: make one with `harmony-edge hash-password`")]
    PasswordHash,
    #[error("a user name or the id of a key cannot be written in a header")]
    UnfitSubject,
    #[error("a key is an hmac-sha256 digest, and there is no pepper")]
    NoPepper,
    #[error("the last step of a group has nothing to fall back on")]
    NothingToFallBackOn,
    #[error("the realm cannot be written in a header")]
    Realm,
}

/// What is wrong with a line of an htpasswd file. Never holds what stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HtpasswdError {
    #[error("has no colon: write NAME:HASH")]
    NoColon,
    #[error("has no name that a header can carry: use visible ASCII")]
    Name,
    #[error(
        "holds no bcrypt hash ($2a$, $2b$ or $2y$): make one with `harmony-edge hash-password` or \
         `htpasswd -B`"
    )]
    Hash,
}
