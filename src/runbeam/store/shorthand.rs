//! The store in three functions, for a program that needs no more: `~/.runbeam/<instance>/`, the
//! keyring where there is one, `RUNBEAM_ENCRYPTION_KEY` from the environment.

use std::env;

use zeroize::Zeroizing;

use super::{MachineToken, RunbeamError, StoreKind, StoreSettings, TokenStore};

/// Stores the token of an instance, in place of the one that was there.
///
/// # Errors
///
/// [`RunbeamError::Store`]: the token could not be stored, and the old one is as it was; `RUNBEAM_ENCRYPTION_KEY` is malformed; `instance` is no name.
pub async fn save_token(instance: &str, token: &MachineToken) -> Result<(), RunbeamError> {
    Ok(open(instance).await?.save(token, None).await?)
}

/// The token of an instance; `None` when there is none.
///
/// # Errors
///
/// [`RunbeamError::Store`]: there may be a token, but it cannot be read; or as for [`save_token`].
pub async fn load_token(instance: &str) -> Result<Option<MachineToken>, RunbeamError> {
    Ok(open(instance).await?.load().await?)
}

/// Forgets the token of an instance, wherever it is.
///
/// # Errors
///
/// [`RunbeamError::Store`]: it may still be there; or as for [`save_token`].
pub async fn clear_token(instance: &str) -> Result<(), RunbeamError> {
    Ok(open(instance).await?.clear().await?)
}

async fn open(instance: &str) -> Result<TokenStore, RunbeamError> {
    // What is no text is no key, and refused as such.
    let key = env::var_os("RUNBEAM_ENCRYPTION_KEY");
    let settings = StoreSettings {
        instance: instance.to_owned(),
        directory: env::home_dir().map(|home| home.join(".runbeam").join(instance)),
        kind: StoreKind::Auto,
        encryption_key: key.map(|key| Zeroizing::new(key.to_string_lossy().into_owned())),
    };
    Ok(TokenStore::open(settings).await?)
}
