//! What can go wrong with the token store. Nothing here holds a token or a key.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::keyring::KeyringError;
use super::keys::KeyError;
use private_files::IoError;
use private_files::secret::SecretError;

/// Why a token could not be stored, loaded or removed. The old one, if there is one, is as it
/// was.
#[derive(Debug, Error)]
pub enum StorageError {
    /// The name is used in a path and in the keyring.
    #[error(
        "instance name {0:?}: must be 1 to 128 letters, digits, '-', '_' or '.', and not begin \
         with '.'"
    )]
    Instance(String),
    /// The name is used in a path and in the keyring.
    #[error(
        "token type {0:?}: must be 1 to 128 letters, digits, '-', '_' or '.', and not begin with \
         '.'"
    )]
    TokenType(String),
    /// The variable holds no keys.
    #[error("RUNBEAM_ENCRYPTION_KEY: {0}")]
    EnvironmentKey(#[source] KeyError),
    /// The key that came with a request is none.
    #[error("encryption_key: {0}")]
    GivenKey(#[source] KeyError),
    /// The key file holds no keys.
    #[error("{path}: {why}")]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        why: KeyError,
    },
    /// The token is encrypted for a key that is not here.
    #[error(
        "{path}: none of the keys opens it; add the key that made it to RUNBEAM_ENCRYPTION_KEY \
         (NEW,OLD), or authorize the gateway again, which replaces it"
    )]
    NoMatchingKey {
        /// The file.
        path: PathBuf,
    },
    /// There is a token, but no key at all.
    #[error(
        "{path}: there is no key to open it: RUNBEAM_ENCRYPTION_KEY is not set and encryption.key \
         is missing; set it, or authorize the gateway again, which replaces it"
    )]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// What is stored is no token.
    #[error("{place}: {what}; authorize the gateway again, which replaces it")]
    Damaged {
        /// The file, or the keyring.
        place: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Others have access to what is not ours to restrict.
    #[error(
        "{path}: others may have access (owner: user {owner}, mode {mode:03o}); it must belong to \
         the user of this process, with mode 0700 for the directory and 0600 for a file"
    )]
    Permissions {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// Its owner's user id.
        owner: u32,
    },
    /// The system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// A verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has been writing for too long.
    #[error("{path}: another process has held the lock of this directory for {seconds} s")]
    Busy {
        /// The directory.
        path: PathBuf,
        /// How long this one waited.
        seconds: u64,
    },
    /// `token_store = "keyring"`, but there is none.
    #[error("keyring: {0}")]
    Keyring(#[from] KeyringError),
    /// `token_store = "file"`, but there is nowhere to put it.
    #[error("no directory for the token's file: set proxy.state_dir, or HOME")]
    NoDirectory,
    /// A backend that the program brought failed.
    #[error("{0}")]
    Backend(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// age could not encrypt, or a task was ended by the shutdown.
    #[error("internal: {0}")]
    Internal(String),
}

impl From<SecretError> for StorageError {
    fn from(error: SecretError) -> Self {
        match error {
            SecretError::Permissions { path, mode, owner } => {
                Self::Permissions { path, mode, owner }
            }
            SecretError::Io(IoError {
                action,
                path,
                source,
            }) => Self::Io {
                action,
                path,
                source,
            },
        }
    }
}

impl StorageError {
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::Io {
            action,
            path,
            source,
        }
    }
}
