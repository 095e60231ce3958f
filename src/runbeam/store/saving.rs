//! Replacing and forgetting the token, in every store.

use zeroize::Zeroizing;

use super::choice::{self, Chosen};
use super::error::StoreError;
use super::keys::EncryptionKeys;
use super::{MachineToken, StoreKind, TokenStore, blocking, file, locked, token};

impl TokenStore {
    /// Replaces the token, in every store. A `key` that came with it (`encryption_key` of
    /// `/authorize` and `/token`) becomes the instance's, unless `RUNBEAM_ENCRYPTION_KEY` is set:
    /// then that one wins, with a warning.
    ///
    /// # Errors
    ///
    /// The token could not be stored, or `key` is none. Then the old token is as it was.
    pub async fn save(&self, token: &MachineToken, key: Option<&str>) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        let given = self.given(key)?;
        self.put(token, given).await
    }

    /// Forgets the token, in every store. The key stays.
    ///
    /// # Errors
    ///
    /// The chosen store, or the file, still has it.
    pub async fn clear(&self) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        *locked(&self.memory) = None;
        *locked(&self.place) = None;
        if self.kind == StoreKind::Memory {
            return Ok(());
        }
        let keyring = self.keyring.delete().await;
        let files = self.clear_files().await;
        locked(&self.seen).file(None);
        match keyring {
            Err(error) if self.chosen() == Chosen::Keyring => return Err(error.into()),
            Err(error) => log::debug!("keyring: {error}"),
            Ok(()) => locked(&self.seen).keyring(None),
        }
        files
    }

    /// The caller has its turn.
    pub(super) async fn put(
        &self,
        token: &MachineToken,
        given: Option<EncryptionKeys>,
    ) -> Result<(), StoreError> {
        let plain = token::to_json(token)?;
        let chosen = match (&given, self.chosen()) {
            (Some(_), _) => Chosen::File,
            (None, chosen) => chosen,
        };
        let stored = match chosen {
            Chosen::File => self.save_file(plain, given).await.map(|()| Chosen::File),
            Chosen::Keyring => self.save_keyring(plain).await,
            Chosen::Memory => {
                *locked(&self.memory) = Some(token.clone());
                Ok(Chosen::Memory)
            }
        }?;
        *locked(&self.chosen) = stored;
        *locked(&self.place) = Some(stored);
        self.forget_elsewhere(stored).await;
        Ok(())
    }

    /// The key that came with a request, if it is to be used.
    fn given(&self, key: Option<&str>) -> Result<Option<EncryptionKeys>, StoreError> {
        let Some(key) = key.filter(|key| !key.trim().is_empty()) else {
            return Ok(None);
        };
        let given = EncryptionKeys::parse(key).map_err(StoreError::GivenKey)?;
        let instead = match (self.kind, &self.file) {
            (StoreKind::Keyring | StoreKind::Memory, _) => {
                "token_store does not ask for an encrypted file"
            }
            (_, Some(file)) if file.has_variable() => "RUNBEAM_ENCRYPTION_KEY is set, and wins",
            (_, Some(file)) if self.chosen() != Chosen::Memory || file.is_usable() => {
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
    ) -> Result<(), StoreError> {
        let file = self.file.clone().ok_or(StoreError::NoDirectory)?;
        let mark = blocking(move || file.save(&plain, given.as_ref())).await?;
        locked(&self.seen).file(mark);
        Ok(())
    }

    /// A renewed token must not be lost because the keyring was locked meanwhile: the file takes it
    /// then, unless `token_store` says otherwise.
    async fn save_keyring(&self, plain: Zeroizing<Vec<u8>>) -> Result<Chosen, StoreError> {
        let error = match self.keyring.set(&plain).await {
            Ok(()) => {
                locked(&self.seen).keyring(Some(&plain));
                return Ok(Chosen::Keyring);
            }
            Err(error) => error,
        };
        if self.kind != StoreKind::Auto || self.file.is_none() {
            return Err(error.into());
        }
        self.save_file(plain, None).await?;
        log::warn!(
            "the keyring does not take the machine token ({error}): it is kept in {}",
            choice::describe(Chosen::File, self.file.as_deref())
        );
        Ok(Chosen::File)
    }

    /// What is left in another store must not come back. If it cannot be removed, the order of
    /// [`token::newest`] still decides.
    async fn forget_elsewhere(&self, stored: Chosen) {
        if stored == Chosen::Memory {
            return;
        }
        *locked(&self.memory) = None;
        let removed = match (stored, &self.file) {
            (Chosen::Keyring, Some(file)) => {
                let file = file.clone();
                let removed = blocking(move || file.clear()).await;
                locked(&self.seen).file(None);
                removed
            }
            (Chosen::Keyring, None) => Ok(()),
            (Chosen::File | Chosen::Memory, _) => {
                self.keyring.delete().await.map_err(StoreError::from)
            }
        };
        if let Err(error) = removed {
            log::debug!("an older token may be left elsewhere: {error}");
        }
    }

    async fn clear_files(&self) -> Result<(), StoreError> {
        let (file, left) = (self.file.clone(), self.left.clone());
        blocking(move || {
            let left = left.map_or(Ok(()), |left| file::remove(&left.token));
            file.map_or(Ok(()), |file| file.clear()).and(left)
        })
        .await
    }
}
