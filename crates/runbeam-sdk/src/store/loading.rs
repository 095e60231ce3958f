//! Finding the token, wherever it is.

use std::time::Instant;

use super::backend::StorageBackend;
use super::error::StorageError;
use super::selection::{Location, log_once};
use super::{MachineToken, StoreKind, TOKEN_NAME, TokenStore, blocking, lock, token};
use private_files::secret;

impl TokenStore {
    /// The token, from whichever store has one.
    ///
    /// # Errors
    ///
    /// No store has a token that can be read, and one of them could have: its key is missing, it is
    /// damaged, the chosen store cannot be reached.
    pub async fn load(&self) -> Result<Option<MachineToken>, StorageError> {
        let chosen = self.chosen();
        if chosen == Location::Memory {
            let kept = self.memory.get(TOKEN_NAME).await?;
            if kept.is_some() || self.kind == StoreKind::Memory {
                return kept.map(|json| self.parse(&json, "memory")).transpose();
            }
        }
        match self.read(chosen).await? {
            Some(token) => Ok(Some(token)),
            None => self.migrate_legacy().await,
        }
    }

    /// From the file and the keyring.
    async fn read(&self, chosen: Location) -> Result<Option<MachineToken>, StorageError> {
        let mut found = None;
        let mut problem = None;
        match self.load_file().await {
            Ok(token) => found = token.map(|token| (token, Location::File)),
            Err(error) => problem = Some(error),
        }
        // The file, if it is the choice, is never older than the keyring.
        if chosen == Location::Backend || found.is_none() {
            match self.load_keyring().await {
                Ok(Some(keyring)) => {
                    let counts = found.as_ref().is_none_or(|(file, _)| {
                        token::prefer_keyring(file, &keyring, chosen == Location::Backend)
                    });
                    if counts {
                        found = Some((keyring, Location::Backend));
                    }
                }
                Ok(None) => {}
                Err(error) if chosen == Location::Backend => problem = problem.or(Some(error)),
                Err(error) => log::debug!("{error}"),
            }
        }
        match (found, problem) {
            (Some((token, place)), problem) => {
                if let Some(problem) = problem {
                    log::warn!("{problem}; the token of another store is used");
                }
                *lock(&self.location) = Some(place);
                Ok(Some(token))
            }
            (None, Some(problem)) => Err(problem),
            (None, None) => Ok(None),
        }
    }

    async fn load_file(&self) -> Result<Option<MachineToken>, StorageError> {
        let Some(file) = self.file.clone() else {
            return Ok(None);
        };
        let begun = Instant::now();
        let place = file.path().display().to_string();
        let before = secret::Mark::of(&file.path());
        let decrypted = blocking(move || file.load()).await;
        // One that cannot be opened is not news again until it changes.
        lock(&self.last_seen).file(match &decrypted {
            Ok(decrypted) => decrypted.as_ref().map(|decrypted| decrypted.mark),
            Err(_) => before,
        });
        let read = decrypted.and_then(|decrypted| {
            let token = decrypted.map(|decrypted| self.parse(&decrypted.plain, &place));
            token.transpose()
        });
        tell(&place, &read, begun);
        read
    }

    async fn load_keyring(&self) -> Result<Option<MachineToken>, StorageError> {
        let begun = Instant::now();
        let place = self.backend.description();
        let read = self.backend.get(TOKEN_NAME).await.and_then(|secret| {
            lock(&self.last_seen).keyring(secret.as_deref().map(Vec::as_slice));
            let token = secret.map(|secret| self.parse(&secret, &place));
            token.transpose()
        });
        tell(&place, &read, begun);
        read
    }

    fn parse(&self, json: &[u8], place: &str) -> Result<MachineToken, StorageError> {
        token::from_json(json, place, &self.instance)
    }

    /// Under the lock: what another task of this process saves or clears meanwhile must not be
    /// undone.
    async fn migrate_legacy(&self) -> Result<Option<MachineToken>, StorageError> {
        let (Some(legacy), file) = (self.legacy.clone(), self.file.clone()) else {
            return Ok(None);
        };
        if !legacy.token.exists() {
            return Ok(None);
        }
        let _lock = self.write_lock.lock().await;
        if let Some(token) = self.read(self.chosen()).await? {
            return Ok(Some(token));
        }
        let path = legacy.token.display().to_string();
        let found = blocking(move || legacy.load(file.as_deref())).await;
        let token = match found {
            Ok(Some(token)) => token,
            Ok(None) => return Ok(None),
            Err(error) => {
                log_once(
                    log::Level::Warn,
                    &format!(
                        "the token that the published Runbeam SDK left cannot be read: {error}"
                    ),
                );
                return Ok(None);
            }
        };
        match self.replace(&token, None).await {
            Ok(()) => log::info!(
                "the token at {path}, which the published Runbeam SDK left, is now in {}",
                self.description()
            ),
            Err(error) => {
                *lock(&self.location) = Some(Location::Memory);
                log::warn!(
                    "the token at {path}, which the published Runbeam SDK left, is used but cannot \
                     be stored: {error}"
                );
            }
        }
        Ok(Some(token))
    }
}

/// Logs what was found at a place, never the token itself.
fn tell(place: &str, read: &Result<Option<MachineToken>, StorageError>, begun: Instant) {
    let after = begun.elapsed();
    match read {
        Ok(Some(_)) => log::debug!("token store: read {place} after {after:?}"),
        Ok(None) => log::debug!("token store: nothing in {place}, after {after:?}"),
        Err(error) => log::debug!("token store: {place}: {error}, after {after:?}"),
    }
}
