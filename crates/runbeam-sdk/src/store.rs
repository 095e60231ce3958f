//! Where the machine token is stored: the keyring of the operating system, an encrypted file, or
//! memory. Never unencrypted on a disk.
//!
//! [`TokenStore::open`] selects a store and logs it once; [`TokenStore::load`] reads every store,
//! since another one may have been selected last time. Of two tokens the one that was issued later
//! is used (if that is not known of both, the one that expires later; else the one in the selected
//! store), and whatever is saved removes what the other stores hold.
//!
//! In reading order: `backend` is the trait behind every store, `selection` selects one, `loading`
//! and `saving` do what their names say; `keys` encrypts, `file` is the encrypted file and
//! `keyring` the keyring; `environment_token` reads `RUNBEAM_MACHINE_TOKEN`, `legacy` the token of
//! the published SDK; `convenience` has the functions for programs that need no more.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Mutex as AsyncMutex;
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::{MachineToken, RunbeamError, env};
use private_files::secret;

mod backend;
mod change_detection;
mod convenience;
mod environment_token;
mod error;
mod file;
mod keyring;
mod keys;
mod legacy;
mod loading;
mod saving;
mod selection;
#[cfg(test)]
mod testing;
mod token;

pub use backend::{EncryptedFileStorage, MemoryStorage, StorageBackend};
pub use convenience::{
    clear_token, clear_token_as, load_token, load_token_as, save_token, save_token_as,
    save_token_with_key,
};
pub use environment_token::{EnvironmentToken, EnvironmentTokenError, environment_token};
pub use error::StorageError;
pub use keyring::{KeyringError, KeyringStorage};
pub use keys::{EncryptionKeys, KeyError};

use change_detection::LastSeen;
use file::EncryptedFile;
use legacy::LegacyToken;
use selection::Location;

/// The name of the machine token in every backend.
const TOKEN_NAME: &str = "auth";

/// `token_store`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreKind {
    /// The encrypted file if a key was given; else the keyring, if it answers; else the encrypted
    /// file with a key of its own; else memory.
    #[default]
    Auto,
    /// The keyring of the operating system.
    Keyring,
    /// The encrypted file.
    File,
    /// Nowhere: lost at a restart.
    Memory,
}

/// What a store needs to know. `Debug` does not show the key.
#[derive(Clone)]
pub struct StoreSettings {
    /// `proxy.id`. Tokens of different instances are kept apart.
    pub instance: String,
    /// Where the encrypted file goes. `None`: there is no directory to be had.
    pub directory: Option<PathBuf>,
    /// `token_store`.
    pub kind: StoreKind,
    /// The text of `RUNBEAM_ENCRYPTION_KEY`; blank is unset.
    pub encryption_key: Option<Zeroizing<String>>,
}

/// The store of one instance's machine token. Safe to use from several tasks, threads and
/// processes: the last save wins, whole.
#[derive(Debug)]
pub struct TokenStore {
    instance: String,
    kind: StoreKind,
    /// Where the next token goes.
    chosen: Mutex<Location>,
    /// Where the token is that was last read or written.
    location: Mutex<Option<Location>>,
    file: Option<Arc<EncryptedFile>>,
    legacy: Option<LegacyToken>,
    /// The keyring, or what the program brought instead.
    backend: Arc<dyn StorageBackend>,
    memory: MemoryStorage,
    last_seen: Mutex<LastSeen>,
    /// Held while the token is saved or cleared.
    write_lock: AsyncMutex<()>,
}

impl TokenStore {
    /// Selects a store, and logs which.
    ///
    /// # Errors
    ///
    /// A malformed `RUNBEAM_ENCRYPTION_KEY` or instance name; a `kind` that is not available: no
    /// keyring answers within 2 s, or there is no directory.
    pub async fn open(settings: StoreSettings) -> Result<Self, StorageError> {
        let keyring = Arc::new(KeyringStorage::new(&settings.instance));
        Self::open_with(settings, keyring, env::home()).await
    }

    /// A store that keeps the token in a backend of the program's, and nowhere else.
    ///
    /// # Errors
    ///
    /// A malformed instance name.
    pub fn with_backend(
        instance: impl Into<String>,
        backend: Arc<dyn StorageBackend>,
    ) -> Result<Self, StorageError> {
        let instance = instance.into();
        check_instance(&instance)?;
        Ok(Self::new(
            instance,
            StoreKind::Keyring,
            Location::Backend,
            backend,
        ))
    }

    async fn open_with(
        settings: StoreSettings,
        keyring: Arc<dyn StorageBackend>,
        home: Option<PathBuf>,
    ) -> Result<Self, StorageError> {
        let StoreSettings {
            instance,
            directory,
            kind,
            encryption_key,
        } = settings;
        check_instance(&instance)?;
        let keys = EncryptionKeys::of_environment(encryption_key)?;
        let file = directory.map(|directory| EncryptedFile::new(directory, TOKEN_NAME, keys));
        let chosen = selection::select(kind, file.as_ref(), keyring.as_ref()).await?;
        let legacy = home.map(|home| LegacyToken::of_published_sdk(&home, &instance));
        Ok(Self {
            file: file.map(Arc::new),
            legacy,
            ..Self::new(instance, kind, chosen, keyring)
        })
    }

    fn new(
        instance: String,
        kind: StoreKind,
        chosen: Location,
        backend: Arc<dyn StorageBackend>,
    ) -> Self {
        Self {
            instance,
            kind,
            chosen: Mutex::new(chosen),
            location: Mutex::default(),
            file: None,
            legacy: None,
            backend,
            memory: MemoryStorage::default(),
            last_seen: Mutex::default(),
            write_lock: AsyncMutex::default(),
        }
    }

    /// Where the next token goes, for people: `encrypted file /var/lib/edge/auth.json`, `keyring`,
    /// `memory`.
    pub fn description(&self) -> String {
        self.describe(self.chosen())
    }

    /// Where the token is that was last loaded or saved, in the same words: it need not be where
    /// the next one goes. `None`: there was none.
    pub fn location(&self) -> Option<String> {
        let location = *lock(&self.location);
        location.map(|location| self.describe(location))
    }

    /// Whether the token outlives the process.
    pub fn persists(&self) -> bool {
        self.chosen() != Location::Memory
    }

    /// Whether `RUNBEAM_ENCRYPTION_KEY` encrypts the token: only then is one from
    /// `RUNBEAM_MACHINE_TOKEN` stored.
    pub fn uses_environment_key(&self) -> bool {
        self.chosen() == Location::File
            && self
                .file
                .as_ref()
                .is_some_and(|file| file.has_environment_key())
    }

    /// Whether another process has stored or removed a token since the last [`load`](Self::load),
    /// [`save`](Self::save) or [`clear`](Self::clear) of this store: then `load` has something new.
    /// Costs a look at a file's metadata; the keyring is read at most every 30 s.
    pub async fn changed(&self) -> bool {
        if self.kind == StoreKind::Memory {
            return false;
        }
        if let Some(file) = &self.file {
            let now = secret::Mark::of(&file.path());
            if lock(&self.last_seen).file_changed(now) {
                return true;
            }
        }
        if self.chosen() != Location::Backend || !lock(&self.last_seen).keyring_due() {
            return false;
        }
        let secret = self.backend.get(TOKEN_NAME).await;
        secret.is_ok_and(|secret| {
            lock(&self.last_seen).secret_changed(secret.as_deref().map(Vec::as_slice))
        })
    }

    fn chosen(&self) -> Location {
        *lock(&self.chosen)
    }

    fn describe(&self, location: Location) -> String {
        selection::describe(location, self.file.as_deref(), self.backend.as_ref())
    }
}

impl fmt::Debug for StoreSettings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = out.debug_struct("StoreSettings");
        shown
            .field("instance", &self.instance)
            .field("directory", &self.directory)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Letters, digits, `-`, `_` and `.`: what is no path and needs no quoting.
fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=128).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(allowed)
}

fn check_instance(instance: &str) -> Result<(), StorageError> {
    is_name(instance)
        .then_some(())
        .ok_or_else(|| StorageError::Instance(instance.to_owned()))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(StorageError::Internal(error.to_string())))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
