//! The Secret Service of the freedesktop.org, on the session bus. Each call has a connection of its
//! own: the service may be restarted between two of them.
//!
//! The attributes are those of the `keyring` crate, so that other programs that use it find the
//! entry.

use std::collections::HashMap;

use secret_service::{Collection, EncryptionType, Error, SecretService};
use zeroize::Zeroizing;

use super::{KeyringError, SERVICE};

pub(super) async fn probe() -> Result<(), KeyringError> {
    let service = connect().await?;
    default_collection(&service).await.map(drop)
}

pub(super) async fn get(account: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeyringError> {
    let service = connect().await?;
    let found = service
        .search_items(attributes(account))
        .await
        .map_err(unavailable)?;
    // More than one only if another program put them into several collections.
    let mut newest = None;
    for item in &found.unlocked {
        let modified = item.get_modified().await.map_err(unavailable)?;
        if newest.is_none_or(|(known, _)| modified > known) {
            newest = Some((modified, item));
        }
    }
    match newest {
        Some((_, item)) => item
            .get_secret()
            .await
            .map(|secret| Some(Zeroizing::new(secret)))
            .map_err(unavailable),
        None if found.locked.is_empty() => Ok(None),
        None => Err(KeyringError::Locked),
    }
}

pub(super) async fn set(account: &str, secret: &[u8]) -> Result<(), KeyringError> {
    let service = connect().await?;
    let collection = default_collection(&service).await?;
    let label = format!("Runbeam machine token of {account}");
    let replace = true;
    collection
        .create_item(
            &label,
            attributes(account),
            secret,
            replace,
            "application/json",
        )
        .await
        .map(drop)
        .map_err(unavailable)
}

pub(super) async fn delete(account: &str) -> Result<(), KeyringError> {
    let service = connect().await?;
    let found = service
        .search_items(attributes(account))
        .await
        .map_err(unavailable)?;
    for item in &found.unlocked {
        item.delete().await.map_err(unavailable)?;
    }
    if found.locked.is_empty() {
        Ok(())
    } else {
        Err(KeyringError::Locked)
    }
}

async fn connect() -> Result<SecretService<'static>, KeyringError> {
    SecretService::connect(EncryptionType::Dh)
        .await
        .map_err(unavailable)
}

/// Where new entries go; not one that is locked, as using it would open a window that asks for its
/// password.
async fn default_collection<'a>(
    service: &'a SecretService<'a>,
) -> Result<Collection<'a>, KeyringError> {
    let collection = service
        .get_default_collection()
        .await
        .map_err(|error| match error {
            Error::NoResult => KeyringError::Unavailable("it has no default collection".into()),
            other => unavailable(other),
        })?;
    if collection.is_locked().await.map_err(unavailable)? {
        return Err(KeyringError::Locked);
    }
    Ok(collection)
}

fn attributes(account: &str) -> HashMap<&str, &str> {
    HashMap::from([("service", SERVICE), ("username", account)])
}

fn unavailable(error: Error) -> KeyringError {
    match error {
        Error::Locked | Error::Prompt => KeyringError::Locked,
        other => KeyringError::Unavailable(other.to_string()),
    }
}
