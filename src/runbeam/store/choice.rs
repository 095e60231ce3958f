//! Which store it is.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use log::Level;

use super::StoreKind;
use super::error::StoreError;
use super::file::EncryptedFile;
use super::keyring::Keyring;

/// Where the next token goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chosen {
    File,
    Keyring,
    Memory,
}

/// Follows the order of `token_store`, and logs the outcome.
pub(super) async fn choose(
    kind: StoreKind,
    file: Option<&EncryptedFile>,
    keyring: &Keyring,
) -> Result<Chosen, StoreError> {
    let usable = file.filter(|file| file.is_usable());
    let (chosen, why) = match kind {
        StoreKind::Memory => (Chosen::Memory, "as token_store says".to_owned()),
        StoreKind::Keyring => {
            keyring.probe().await?;
            (Chosen::Keyring, "as token_store says".to_owned())
        }
        StoreKind::File if file.is_none() => return Err(StoreError::NoDirectory),
        StoreKind::File => (
            Chosen::File,
            format!("as token_store says; {}", key_of(file)),
        ),
        StoreKind::Auto => match usable {
            Some(file) if file.has_variable() || file.has_given_key() => {
                (Chosen::File, key_of(Some(file)).to_owned())
            }
            _ => match (keyring.probe().await, usable) {
                (Ok(()), _) => (Chosen::Keyring, "it answers".to_owned()),
                (Err(error), Some(file)) => (
                    Chosen::File,
                    format!("the keyring is of no use: {error}; {}", key_of(Some(file))),
                ),
                (Err(error), None) => (
                    Chosen::Memory,
                    format!(
                        "the keyring is of no use: {error}; and there is no directory to write to"
                    ),
                ),
            },
        },
    };
    let lost = chosen == Chosen::Memory && kind != StoreKind::Memory;
    let level = if lost { Level::Warn } else { Level::Info };
    let warning = if lost {
        "; it will be lost at a restart"
    } else {
        ""
    };
    say_once(
        level,
        &format!(
            "the machine token is kept in {} ({why}){warning}",
            describe(chosen, file)
        ),
    );
    Ok(chosen)
}

pub(super) fn describe(chosen: Chosen, file: Option<&EncryptedFile>) -> String {
    match (chosen, file) {
        (Chosen::File, Some(file)) => format!("encrypted file {}", file.path().display()),
        (Chosen::File, None) => "encrypted file".to_owned(),
        (Chosen::Keyring, _) => "keyring".to_owned(),
        (Chosen::Memory, _) => "memory".to_owned(),
    }
}

/// A process that opens a store often says where it is only once.
pub(super) fn say_once(level: Level, line: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    if SAID
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(line.to_owned())
    {
        log::log!(level, "{line}");
    }
}

fn key_of(file: Option<&EncryptedFile>) -> &'static str {
    match file {
        Some(file) if file.has_variable() => "key: RUNBEAM_ENCRYPTION_KEY",
        Some(file) if file.has_given_key() => "key: the encryption.key beside it, which was given",
        _ => "key: the encryption.key beside it, made at first use",
    }
}
