//! Where secrets are kept: the trait behind every store, and the two backends that need no system
//! service.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Mutex;

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::error::StorageError;
use super::file::EncryptedFile;
use super::keys::EncryptionKeys;
use super::{blocking, is_name, lock};

/// A place for the secrets of one instance, each under a short name: the machine token is `auth`.
///
/// [`TokenStore`](super::TokenStore) uses the keyring, encrypted files and memory by itself. A
/// program that keeps secrets elsewhere implements this, and passes it to
/// [`TokenStore::with_backend`](super::TokenStore::with_backend).
///
/// ```
/// use std::sync::Arc;
///
/// use runbeam_sdk::{MachineToken, MemoryStorage, TokenStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = TokenStore::with_backend("my-gateway", Arc::new(MemoryStorage::default()))?;
/// let token = MachineToken::new("mt_1", "2099-01-01T00:00:00Z", "id", "code", vec![]);
/// store.save(&token, None).await?;
/// assert_eq!(store.load().await?, Some(token));
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait StorageBackend: fmt::Debug + Send + Sync {
    /// What it is, for the log: `keyring`, `encrypted file /var/lib/edge/auth.json`.
    fn description(&self) -> String;

    /// Whether a secret could be stored now. By default it could.
    async fn probe(&self) -> Result<(), StorageError> {
        Ok(())
    }

    /// The secret of that name; `None` when there is none.
    async fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StorageError>;

    /// Stores a secret, in place of the one that was there. After an error, the old one is as it
    /// was.
    async fn set(&self, name: &str, secret: &[u8]) -> Result<(), StorageError>;

    /// Removes a secret. That there is none is no error.
    async fn delete(&self, name: &str) -> Result<(), StorageError>;
}

/// Memory: lost when the process ends.
#[derive(Default)]
pub struct MemoryStorage(Mutex<BTreeMap<String, Zeroizing<Vec<u8>>>>);

#[async_trait]
impl StorageBackend for MemoryStorage {
    fn description(&self) -> String {
        "memory".to_owned()
    }

    async fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StorageError> {
        Ok(lock(&self.0).get(name).cloned())
    }

    async fn set(&self, name: &str, secret: &[u8]) -> Result<(), StorageError> {
        lock(&self.0).insert(name.to_owned(), Zeroizing::new(secret.to_owned()));
        Ok(())
    }

    async fn delete(&self, name: &str) -> Result<(), StorageError> {
        lock(&self.0).remove(name);
        Ok(())
    }
}

/// Shows the names, not the secrets.
impl fmt::Debug for MemoryStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(lock(&self.0).keys()).finish()
    }
}

/// Files in a directory, each encrypted with age: `auth.json` for the machine token, else
/// `{name}.token.json`, and `encryption.key` beside them unless keys are given. Directory and files
/// are for the user of this process alone.
#[derive(Debug)]
pub struct EncryptedFileStorage {
    directory: PathBuf,
    keys: Option<EncryptionKeys>,
}

impl EncryptedFileStorage {
    /// Nothing is written yet. Without `keys`, the key is `encryption.key` in the directory, made
    /// at first use.
    pub fn new(directory: impl Into<PathBuf>, keys: Option<EncryptionKeys>) -> Self {
        Self {
            directory: directory.into(),
            keys,
        }
    }

    fn file(&self, name: &str) -> Result<EncryptedFile, StorageError> {
        if !is_name(name) {
            return Err(StorageError::TokenType(name.to_owned()));
        }
        Ok(EncryptedFile::new(
            self.directory.clone(),
            name,
            self.keys.clone(),
        ))
    }
}

#[async_trait]
impl StorageBackend for EncryptedFileStorage {
    fn description(&self) -> String {
        format!("encrypted files in {}", self.directory.display())
    }

    async fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StorageError> {
        let file = self.file(name)?;
        let decrypted = blocking(move || file.load()).await?;
        Ok(decrypted.map(|decrypted| decrypted.plain))
    }

    async fn set(&self, name: &str, secret: &[u8]) -> Result<(), StorageError> {
        let (file, secret) = (self.file(name)?, Zeroizing::new(secret.to_owned()));
        blocking(move || file.save(&secret, None)).await.map(drop)
    }

    async fn delete(&self, name: &str) -> Result<(), StorageError> {
        let file = self.file(name)?;
        blocking(move || file.clear()).await
    }
}
