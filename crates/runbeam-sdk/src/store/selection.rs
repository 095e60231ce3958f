//! Which store the next token goes to.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use log::Level;

use super::StoreKind;
use super::backend::StorageBackend;
use super::error::StorageError;
use super::file::EncryptedFile;

/// Where the next token goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Location {
    File,
    /// The keyring, or what the program brought instead.
    Backend,
    Memory,
}

/// Selects by the order of `token_store`, and logs the outcome.
pub(super) async fn select(
    kind: StoreKind,
    file: Option<&EncryptedFile>,
    keyring: &dyn StorageBackend,
) -> Result<Location, StorageError> {
    let usable = file.filter(|file| file.is_usable());
    let (chosen, why) = match kind {
        StoreKind::Memory => (Location::Memory, "as token_store says".to_owned()),
        StoreKind::Keyring => {
            keyring.probe().await?;
            (Location::Backend, "as token_store says".to_owned())
        }
        StoreKind::File if file.is_none() => return Err(StorageError::NoDirectory),
        StoreKind::File => (
            Location::File,
            format!("as token_store says; {}", key_of(file)),
        ),
        StoreKind::Auto => match usable {
            Some(file) if file.has_environment_key() || file.has_given_key() => {
                (Location::File, key_of(Some(file)).to_owned())
            }
            _ => match (keyring.probe().await, usable) {
                (Ok(()), _) => (Location::Backend, "it answers".to_owned()),
                (Err(error), Some(file)) => (
                    Location::File,
                    format!(
                        "the keyring cannot be used: {error}; {}",
                        key_of(Some(file))
                    ),
                ),
                (Err(error), None) => (
                    Location::Memory,
                    format!(
                        "the keyring cannot be used: {error}; and no directory can be written to"
                    ),
                ),
            },
        },
    };
    let lost = chosen == Location::Memory && kind != StoreKind::Memory;
    let level = if lost { Level::Warn } else { Level::Info };
    let warning = if lost {
        "; it will be lost at a restart"
    } else {
        ""
    };
    log_once(
        level,
        &format!(
            "the machine token is kept in {} ({why}){warning}",
            describe(chosen, file, keyring)
        ),
    );
    Ok(chosen)
}

pub(super) fn describe(
    chosen: Location,
    file: Option<&EncryptedFile>,
    keyring: &dyn StorageBackend,
) -> String {
    match (chosen, file) {
        (Location::File, Some(file)) => format!("encrypted file {}", file.path().display()),
        (Location::File, None) => "encrypted file".to_owned(),
        (Location::Backend, _) => keyring.description(),
        (Location::Memory, _) => "memory".to_owned(),
    }
}

/// A process that opens a store often logs where it is only once.
pub(super) fn log_once(level: Level, line: &str) {
    static LOGGED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    if LOGGED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(line.to_owned())
    {
        log::log!(level, "{line}");
    }
}

fn key_of(file: Option<&EncryptedFile>) -> &'static str {
    match file {
        Some(file) if file.has_environment_key() => "key: RUNBEAM_ENCRYPTION_KEY",
        Some(file) if file.has_given_key() => "key: the encryption.key beside it, which was given",
        _ => "key: the encryption.key beside it, made at first use",
    }
}
