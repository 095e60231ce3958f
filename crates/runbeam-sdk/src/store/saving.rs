//! Replacing and removing the token, in every store.

use zeroize::Zeroizing;

use super::backend::StorageBackend;
use super::error::StorageError;
use super::keys::EncryptionKeys;
use super::selection::Location;
use super::{MachineToken, StoreKind, TOKEN_NAME, TokenStore, blocking, file, lock, token};

impl TokenStore {
    /// Replaces the token, in every store. A `key` that came with it (`encryption_key` of
    /// `/authorize` and `/token`) becomes the instance's, unless `RUNBEAM_ENCRYPTION_KEY` is set:
    /// then that one wins, with a warning.
    ///
    /// # Errors
    ///
    /// The token could not be stored, or `key` is none. Then the old token is as it was.
    pub async fn save(&self, token: &MachineToken, key: Option<&str>) -> Result<(), StorageError> {
        let _lock = self.write_lock.lock().await;
        let given = self.usable_key(key)?;
        self.replace(token, given).await
    }

    /// Removes the token, from every store. The key stays.
    ///
    /// # Errors
    ///
    /// The chosen store, or the file, still has it.
    pub async fn clear(&self) -> Result<(), StorageError> {
        let _lock = self.write_lock.lock().await;
        self.memory.delete(TOKEN_NAME).await?;
        *lock(&self.location) = None;
        if self.kind == StoreKind::Memory {
            return Ok(());
        }
        let keyring = self.backend.delete(TOKEN_NAME).await;
        let files = self.clear_files().await;
        lock(&self.last_seen).file(None);
        match keyring {
            Err(error) if self.chosen() == Location::Backend => return Err(error),
            Err(error) => log::debug!("{error}"),
            Ok(()) => lock(&self.last_seen).keyring(None),
        }
        files
    }

    /// The caller holds the lock.
    pub(super) async fn replace(
        &self,
        token: &MachineToken,
        given: Option<EncryptionKeys>,
    ) -> Result<(), StorageError> {
        let plain = token::to_json(token)?;
        let chosen = match (&given, self.chosen()) {
            (Some(_), _) => Location::File,
            (None, chosen) => chosen,
        };
        let stored = match chosen {
            Location::File => self.save_file(plain, given).await.map(|()| Location::File),
            Location::Backend => self.save_keyring(plain).await,
            Location::Memory => {
                self.memory.set(TOKEN_NAME, &plain).await?;
                Ok(Location::Memory)
            }
        }?;
        *lock(&self.chosen) = stored;
        *lock(&self.location) = Some(stored);
        self.clear_other_stores(stored).await;
        Ok(())
    }

    /// The key that came with a request, if it is to be used.
    fn usable_key(&self, key: Option<&str>) -> Result<Option<EncryptionKeys>, StorageError> {
        let Some(key) = key.filter(|key| !key.trim().is_empty()) else {
            return Ok(None);
        };
        let given = EncryptionKeys::parse(key).map_err(StorageError::GivenKey)?;
        let instead = match (self.kind, &self.file) {
            (StoreKind::Keyring | StoreKind::Memory, _) => {
                "token_store does not ask for an encrypted file"
            }
            (_, Some(file)) if file.has_environment_key() => {
                "RUNBEAM_ENCRYPTION_KEY is set, and wins"
            }
            (_, Some(file)) if self.chosen() != Location::Memory || file.is_usable() => {
                return Ok(Some(given));
            }
            _ => "there is no directory to write an encrypted file to",
        };
        log::warn!("the encryption key that came with the token is not used: {instead}");
        Ok(None)
    }

    async fn save_file(
        &self,
        plain: Zeroizing<Vec<u8>>,
        given: Option<EncryptionKeys>,
    ) -> Result<(), StorageError> {
        let file = self.file.clone().ok_or(StorageError::NoDirectory)?;
        let mark = blocking(move || file.save(&plain, given.as_ref())).await?;
        lock(&self.last_seen).file(mark);
        Ok(())
    }

    /// A renewed token must not be lost because the keyring was locked meanwhile: then it goes into
    /// the file, unless `token_store` says otherwise.
    async fn save_keyring(&self, plain: Zeroizing<Vec<u8>>) -> Result<Location, StorageError> {
        let error = match self.backend.set(TOKEN_NAME, &plain).await {
            Ok(()) => {
                lock(&self.last_seen).keyring(Some(&plain));
                return Ok(Location::Backend);
            }
            Err(error) => error,
        };
        if self.kind != StoreKind::Auto || self.file.is_none() {
            return Err(error);
        }
        self.save_file(plain, None).await?;
        log::warn!(
            "the keyring does not take the machine token ({error}): it is kept in {}",
            self.describe(Location::File)
        );
        Ok(Location::File)
    }

    /// A token in another store must not come back. If it cannot be removed,
    /// [`token::prefer_keyring`] still decides.
    async fn clear_other_stores(&self, stored: Location) {
        if stored == Location::Memory {
            return;
        }
        let _ = self.memory.delete(TOKEN_NAME).await;
        let removed = match (stored, &self.file) {
            (Location::Backend, Some(file)) => {
                let file = file.clone();
                let removed = blocking(move || file.clear()).await;
                lock(&self.last_seen).file(None);
                removed
            }
            (Location::Backend, None) => Ok(()),
            (Location::File | Location::Memory, _) => self.backend.delete(TOKEN_NAME).await,
        };
        if let Err(error) = removed {
            log::debug!("an older token may be left elsewhere: {error}");
        }
    }

    async fn clear_files(&self) -> Result<(), StorageError> {
        let (file, legacy) = (self.file.clone(), self.legacy.clone());
        blocking(move || {
            let legacy = legacy.map_or(Ok(()), |legacy| file::remove(&legacy.token));
            file.map_or(Ok(()), |file| file.clear()).and(legacy)
        })
        .await
    }
}
