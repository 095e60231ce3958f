//! The keyring of the operating system. Nothing here waits longer than [`TIMEOUT`], and nothing
//! here makes it ask a person.
//!
//! Linux and the BSDs are tested, with gnome-keyring; macOS and Windows are built behind `cfg` and
//! are not.

use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;
use zeroize::Zeroizing;

use super::backend::StorageBackend;
use super::error::StorageError;

#[cfg(any(target_os = "macos", windows))]
mod native;
#[cfg(any(target_os = "macos", windows))]
use native as system;
#[cfg(all(unix, not(target_os = "macos")))]
mod secret_service;
#[cfg(all(unix, not(target_os = "macos")))]
use secret_service as system;

/// How long the keyring may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The service of all entries.
const SERVICE: &str = "runbeam";

/// Why a keyring cannot be used now.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyringError {
    /// It takes longer than 2 s.
    #[error("no answer within 2 s")]
    TimedOut,
    /// It would have to ask somebody for its password.
    #[error("it is locked")]
    Locked,
    /// There is none, or it refuses.
    #[error("{0}")]
    Unavailable(String),
}

/// The keyring of the operating system: service `runbeam`, account `<instance>/<name>`.
#[derive(Debug)]
pub struct KeyringStorage {
    instance: String,
}

impl KeyringStorage {
    /// The entries of one instance. The keyring is not contacted yet.
    pub fn new(instance: impl Into<String>) -> Self {
        Self {
            instance: instance.into(),
        }
    }

    fn account(&self, name: &str) -> String {
        format!("{}/{name}", self.instance)
    }
}

#[async_trait]
impl StorageBackend for KeyringStorage {
    fn description(&self) -> String {
        "keyring".to_owned()
    }

    async fn probe(&self) -> Result<(), StorageError> {
        in_time(system::probe()).await
    }

    async fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StorageError> {
        in_time(system::get(&self.account(name))).await
    }

    async fn set(&self, name: &str, secret: &[u8]) -> Result<(), StorageError> {
        in_time(system::set(&self.account(name), secret)).await
    }

    async fn delete(&self, name: &str) -> Result<(), StorageError> {
        in_time(system::delete(&self.account(name))).await
    }
}

async fn in_time<T>(
    call: impl Future<Output = Result<T, KeyringError>>,
) -> Result<T, StorageError> {
    let answered = tokio::time::timeout(TIMEOUT, call).await;
    Ok(answered.unwrap_or(Err(KeyringError::TimedOut))?)
}
