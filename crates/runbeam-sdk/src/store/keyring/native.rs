//! The Keychain of macOS and the Credential Manager of Windows, by the `keyring` crate. Not tested.
//!
//! Its calls block, perhaps until a person answers; each has a thread of its own that nobody waits
//! for.

use std::thread;

use keyring::{Entry, Error};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::{KeyringError, SERVICE};

pub(super) async fn probe() -> Result<(), KeyringError> {
    get("probe").await.map(drop)
}

pub(super) async fn get(account: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeyringError> {
    let found = ask(account, |entry| entry.get_secret().map(Zeroizing::new)).await;
    absent_is_none(found)
}

pub(super) async fn set(account: &str, secret: &[u8]) -> Result<(), KeyringError> {
    let secret = Zeroizing::new(secret.to_owned());
    ask(account, move |entry| entry.set_secret(&secret))
        .await
        .map_err(unavailable)
}

pub(super) async fn delete(account: &str) -> Result<(), KeyringError> {
    let deleted = ask(account, |entry| entry.delete_credential()).await;
    absent_is_none(deleted).map(drop)
}

async fn ask<T: Send + 'static>(
    account: &str,
    call: impl FnOnce(&Entry) -> keyring::Result<T> + Send + 'static,
) -> keyring::Result<T> {
    let (answer, answered) = oneshot::channel();
    let account = account.to_owned();
    let started = thread::Builder::new()
        .name("keyring".into())
        .spawn(move || {
            let _ = answer.send(Entry::new(SERVICE, &account).and_then(|entry| call(&entry)));
        });
    started.map_err(|error| Error::PlatformFailure(error.into()))?;
    answered
        .await
        .unwrap_or_else(|closed| Err(Error::PlatformFailure(closed.into())))
}

fn absent_is_none<T>(found: keyring::Result<T>) -> Result<Option<T>, KeyringError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Error::NoEntry) => Ok(None),
        Err(other) => Err(unavailable(other)),
    }
}

fn unavailable(error: Error) -> KeyringError {
    match error {
        // Its text could be a secret.
        Error::BadEncoding(_) | Error::BadDataFormat(..) => {
            KeyringError::Unavailable("its entry is damaged".into())
        }
        other => KeyringError::Unavailable(other.to_string()),
    }
}
