//! Where the machine token lives: the keyring of the operating system, an encrypted file, or
//! memory. Never unencrypted on a disk.
//!
//! [`TokenStore::open`] chooses a store and says so once; [`TokenStore::load`] reads every store, as the choice may have been another one last time. Of two tokens the
//! one that was issued later counts (if that is not known of both, the one that expires later; else
//! the one in the chosen store), and whatever is saved removes what the other stores hold.
//!
//! In reading order: `choice` chooses, `loading` and `saving` are what their names say; `keys` is
//! what encrypts, `file` the encrypted file and `keyring` the keyring; `environment` reads `RUNBEAM_MACHINE_TOKEN`, and `shorthand` has the three functions for those
//! who need no more.

use std::env;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Mutex as AsyncMutex;
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::{MachineToken, RunbeamError};
use crate::files::secret;

mod choice;
mod environment;
mod error;
mod file;
mod keyring;
mod keys;
mod left;
mod loading;
mod saving;
mod seen;
mod shorthand;
#[cfg(test)]
mod testing;
mod token;

pub use environment::{EnvironmentToken, EnvironmentTokenError, environment_token};
pub use error::StoreError;
pub use keyring::KeyringError;
pub use keys::{EncryptionKeys, KeyError};
pub use shorthand::{clear_token, load_token, save_token};

use choice::Chosen;
use file::EncryptedFile;
use keyring::Keyring;
use left::Left;
use seen::Seen;

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
    chosen: Mutex<Chosen>,
    /// Where the token lies that was last read or written.
    place: Mutex<Option<Chosen>>,
    file: Option<Arc<EncryptedFile>>,
    left: Option<Left>,
    keyring: Keyring,
    memory: Mutex<Option<MachineToken>>,
    seen: Mutex<Seen>,
    /// Held by whoever saves or clears.
    turn: AsyncMutex<()>,
}

impl TokenStore {
    /// Chooses a store, and logs which.
    ///
    /// # Errors
    ///
    /// A malformed `RUNBEAM_ENCRYPTION_KEY` or instance name; a `kind` that cannot be had: no
    /// keyring answers within 2 s, or there is no directory.
    pub async fn open(settings: StoreSettings) -> Result<Self, StoreError> {
        let keyring = Keyring::of(&settings.instance);
        Self::open_with(settings, keyring, env::home_dir()).await
    }

    async fn open_with(
        settings: StoreSettings,
        keyring: Keyring,
        home: Option<PathBuf>,
    ) -> Result<Self, StoreError> {
        let StoreSettings {
            instance,
            directory,
            kind,
            encryption_key,
        } = settings;
        if !is_instance(&instance) {
            return Err(StoreError::Instance(instance));
        }
        let variable = encryption_key.filter(|text| !text.trim().is_empty());
        let variable = variable
            .map(|text| EncryptionKeys::parse(&text))
            .transpose()
            .map_err(StoreError::Variable)?;
        let file = directory.map(|directory| Arc::new(EncryptedFile::new(directory, variable)));
        let chosen = choice::choose(kind, file.as_deref(), &keyring).await?;
        Ok(Self {
            kind,
            chosen: Mutex::new(chosen),
            place: Mutex::default(),
            file,
            left: home.map(|home| Left::by_the_library(&home, &instance)),
            instance,
            keyring,
            memory: Mutex::default(),
            seen: Mutex::default(),
            turn: AsyncMutex::new(()),
        })
    }

    /// Where the next token goes, for people: `encrypted file /var/lib/edge/auth.json`, `keyring`,
    /// `memory`.
    pub fn description(&self) -> String {
        choice::describe(self.chosen(), self.file.as_deref())
    }

    /// Where the token is that was last loaded or saved, in the same words: it need not be where
    /// the next one goes. `None`: there was none.
    pub fn location(&self) -> Option<String> {
        let place = *locked(&self.place);
        place.map(|place| choice::describe(place, self.file.as_deref()))
    }

    /// Whether the token outlives the process.
    pub fn persists(&self) -> bool {
        self.chosen() != Chosen::Memory
    }

    /// Whether `RUNBEAM_ENCRYPTION_KEY` encrypts the token: only then is one from
    /// `RUNBEAM_MACHINE_TOKEN` stored.
    pub fn uses_environment_key(&self) -> bool {
        self.chosen() == Chosen::File && self.file.as_ref().is_some_and(|file| file.has_variable())
    }

    /// Whether another process has stored or removed a token since the last [`load`](Self::load),
    /// [`save`](Self::save) or [`clear`](Self::clear) of this store: then `load` has something new.
    /// Costs a look at a file's metadata; for the keyring, one reading at most every 30 s.
    pub async fn changed(&self) -> bool {
        if self.kind == StoreKind::Memory {
            return false;
        }
        if let Some(file) = &self.file {
            let now = secret::Mark::of(&file.path());
            if locked(&self.seen).is_other_file(now) {
                return true;
            }
        }
        if self.chosen() != Chosen::Keyring || !locked(&self.seen).may_ask_keyring() {
            return false;
        }
        match self.keyring.get().await {
            Ok(secret) => locked(&self.seen).is_other_secret(secret.as_deref().map(Vec::as_slice)),
            Err(_) => false,
        }
    }

    fn chosen(&self) -> Chosen {
        *locked(&self.chosen)
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

impl From<StoreError> for RunbeamError {
    fn from(error: StoreError) -> Self {
        Self::Store(Box::new(error))
    }
}

/// Letters, digits, `-`, `_` and `.`: what is no path and needs no quoting.
fn is_instance(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=128).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(allowed)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(StoreError::Internal(error.to_string())))
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
