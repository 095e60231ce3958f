//! The keyring of the operating system. Nothing here waits longer than [`PATIENCE`], and nothing
//! here makes it ask a person.
//!
//! Linux and the BSDs are tested, with gnome-keyring; macOS is built behind `cfg` and is not.

use std::future::Future;
use std::time::Duration;

use thiserror::Error;
use zeroize::Zeroizing;

#[cfg(target_os = "macos")]
mod keychain;
#[cfg(target_os = "macos")]
use keychain as system;
#[cfg(not(target_os = "macos"))]
mod secret_service;
#[cfg(not(target_os = "macos"))]
use secret_service as system;

/// How long the keyring may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// What the entries of all instances have in common.
const SERVICE: &str = "runbeam";

/// The entry of one instance.
#[derive(Debug)]
pub(super) enum Keyring {
    /// Service `runbeam`, this account.
    System { account: String },
    /// What a test says it is.
    #[cfg(test)]
    Fake(std::sync::Arc<super::testing::FakeKeyring>),
}

/// Why a keyring is of no use now.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyringError {
    /// It takes longer than 2 s.
    #[error("no answer within 2 s")]
    Silent,
    /// It would have to ask somebody for its password.
    #[error("it is locked")]
    Locked,
    /// There is none, or it refuses.
    #[error("{0}")]
    Unavailable(String),
}

impl Keyring {
    pub(super) fn of(instance: &str) -> Self {
        Self::System {
            account: format!("{instance}/auth"),
        }
    }

    /// Whether it could keep a token now.
    pub(super) async fn probe(&self) -> Result<(), KeyringError> {
        match self {
            Self::System { .. } => in_time(system::probe()).await,
            #[cfg(test)]
            Self::Fake(fake) => fake.probe(),
        }
    }

    pub(super) async fn get(&self) -> Result<Option<Zeroizing<Vec<u8>>>, KeyringError> {
        match self {
            Self::System { account } => in_time(system::get(account)).await,
            #[cfg(test)]
            Self::Fake(fake) => fake.get(),
        }
    }

    pub(super) async fn set(&self, secret: &[u8]) -> Result<(), KeyringError> {
        match self {
            Self::System { account } => in_time(system::set(account, secret)).await,
            #[cfg(test)]
            Self::Fake(fake) => fake.set(secret),
        }
    }

    pub(super) async fn delete(&self) -> Result<(), KeyringError> {
        match self {
            Self::System { account } => in_time(system::delete(account)).await,
            #[cfg(test)]
            Self::Fake(fake) => fake.delete(),
        }
    }
}

async fn in_time<T>(
    asked: impl Future<Output = Result<T, KeyringError>>,
) -> Result<T, KeyringError> {
    tokio::time::timeout(PATIENCE, asked)
        .await
        .unwrap_or(Err(KeyringError::Silent))
}
