//! The store as functions, for a program that needs no more: the keyring where there is one, else
//! encrypted files in `~/.runbeam/<instance>/`, with `RUNBEAM_ENCRYPTION_KEY` from the environment.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::backend::{EncryptedFileStorage, StorageBackend};
use super::file::EncryptedFile;
use super::keyring::KeyringStorage;
use super::keys::EncryptionKeys;
use super::selection::{Location, select};
use super::{
    MachineToken, RunbeamError, StorageError, StoreKind, StoreSettings, TOKEN_NAME, TokenStore,
    check_instance, is_name,
};
use crate::env;

/// Stores the machine token of an instance, in place of the one that was there.
///
/// # Errors
///
/// [`RunbeamError::Storage`]: the token could not be stored, and the old one is as it was;
/// `RUNBEAM_ENCRYPTION_KEY` is malformed; `instance` is no name.
pub async fn save_token(instance: &str, token: &MachineToken) -> Result<(), RunbeamError> {
    Ok(open(instance).await?.save(token, None).await?)
}

/// Stores the machine token of an instance in the encrypted file, with a key that becomes the
/// instance's. While `RUNBEAM_ENCRYPTION_KEY` is set, that key wins, with a warning.
///
/// # Errors
///
/// Those of [`save_token`]; `key` is none.
pub async fn save_token_with_key(
    instance: &str,
    token: &MachineToken,
    key: &str,
) -> Result<(), RunbeamError> {
    Ok(open(instance).await?.save(token, Some(key)).await?)
}

/// The machine token of an instance; `None` when there is none.
///
/// # Errors
///
/// [`RunbeamError::Storage`]: there may be a token, but it cannot be read; or as for
/// [`save_token`].
pub async fn load_token(instance: &str) -> Result<Option<MachineToken>, RunbeamError> {
    Ok(open(instance).await?.load().await?)
}

/// Removes the machine token of an instance, wherever it is.
///
/// # Errors
///
/// [`RunbeamError::Storage`]: it may still be there; or as for [`save_token`].
pub async fn clear_token(instance: &str) -> Result<(), RunbeamError> {
    Ok(open(instance).await?.clear().await?)
}

/// Stores a token of any kind under its type, such as `user_auth`, in place of the one that was
/// there. `auth` is the machine token.
///
/// # Errors
///
/// Those of [`save_token`]; `token_type` is no name.
pub async fn save_token_as<T: Serialize + ?Sized>(
    instance: &str,
    token_type: &str,
    token: &T,
) -> Result<(), RunbeamError> {
    let json = serde_json::to_vec(token)
        .map(Zeroizing::new)
        .map_err(|_| StorageError::Internal("a token cannot be written as JSON".to_owned()))?;
    let (first, others) = backends(instance, token_type).await?;
    first.set(token_type, &json).await?;
    // A token in another store must not come back.
    for other in others {
        if let Err(error) = other.delete(token_type).await {
            log::debug!("an older token may remain elsewhere: {error}");
        }
    }
    Ok(())
}

/// The token of that type; `None` when there is none.
///
/// # Errors
///
/// Those of [`load_token`]; `token_type` is no name.
pub async fn load_token_as<T: DeserializeOwned>(
    instance: &str,
    token_type: &str,
) -> Result<Option<T>, RunbeamError> {
    let (first, others) = backends(instance, token_type).await?;
    let mut problem = None;
    for backend in std::iter::once(first).chain(others) {
        match backend.get(token_type).await {
            Ok(Some(json)) => {
                // The message of serde_json could quote the token.
                let token = serde_json::from_slice(&json).map_err(|_| StorageError::Damaged {
                    place: backend.description(),
                    what: "what it holds is no token of this type",
                })?;
                return Ok(Some(token));
            }
            Ok(None) => {}
            // A keyring that is not there holds nothing.
            Err(StorageError::Keyring(error)) => log::debug!("keyring: {error}"),
            Err(error) => problem = problem.or(Some(error)),
        }
    }
    problem.map_or(Ok(None), |problem| Err(problem.into()))
}

/// Removes the token of that type, wherever it is.
///
/// # Errors
///
/// Those of [`clear_token`]; `token_type` is no name.
pub async fn clear_token_as(instance: &str, token_type: &str) -> Result<(), RunbeamError> {
    let (first, others) = backends(instance, token_type).await?;
    let mut outcome = first.delete(token_type).await;
    for other in others {
        match other.delete(token_type).await {
            Err(StorageError::Keyring(error)) => log::debug!("keyring: {error}"),
            other => outcome = outcome.and(other),
        }
    }
    Ok(outcome?)
}

async fn open(instance: &str) -> Result<TokenStore, StorageError> {
    TokenStore::open(StoreSettings {
        instance: instance.to_owned(),
        directory: directory(instance),
        kind: StoreKind::Auto,
        encryption_key: env::encryption_key(),
    })
    .await
}

fn directory(instance: &str) -> Option<PathBuf> {
    env::home().map(|home| home.join(".runbeam").join(instance))
}

type Backend = Arc<dyn StorageBackend>;

/// The backend that a token of this type goes to, and the others that may hold one.
async fn backends(
    instance: &str,
    token_type: &str,
) -> Result<(Backend, Vec<Backend>), StorageError> {
    check_instance(instance)?;
    if !is_name(token_type) {
        return Err(StorageError::TokenType(token_type.to_owned()));
    }
    let keys = EncryptionKeys::of_environment(env::encryption_key())?;
    let directory = directory(instance);
    let file = directory
        .clone()
        .map(|directory| EncryptedFile::new(directory, TOKEN_NAME, keys.clone()));
    let keyring = Arc::new(KeyringStorage::new(instance));
    let location = select(StoreKind::Auto, file.as_ref(), keyring.as_ref()).await?;
    let files =
        directory.map(|directory| Arc::new(EncryptedFileStorage::new(directory, keys)) as Backend);
    Ok(match (location, files) {
        (Location::Backend, files) => (keyring, files.into_iter().collect()),
        (Location::File, Some(files)) => (files, vec![keyring]),
        (Location::File | Location::Memory, _) => return Err(StorageError::NoDirectory),
    })
}
