//! Where the machine token lives: the keyring of the operating system, an encrypted file, or memory. Never unencrypted on a disk.
//!
//! [`TokenStore::open`] chooses a store and says so once; [`TokenStore::load`] reads every store, as the choice may have been another one last time. Of two tokens the
//! one that was issued later counts (if that is not known of both, the one that expires later; else the one in the chosen store), and whatever is saved removes what the
//! other stores hold.
//!
//! In reading order: `keys` is what encrypts, `permissions` who may read, `file` the encrypted file and `keyring` the keyring; `environment` reads
//! `RUNBEAM_MACHINE_TOKEN`, and `shorthand` has the three functions for those who need no more.

use std::env;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Mutex as AsyncMutex;
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::{MachineToken, RunbeamError};

mod choice;
mod environment;
mod error;
mod file;
mod keyring;
mod keys;
mod left;
mod permissions;
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

use choice::{Chosen, say_once};
use file::EncryptedFile;
use keyring::Keyring;
use left::Left;
use seen::Seen;

/// `token_store`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreKind {
    /// The encrypted file if a key was given; else the keyring, if it answers; else the encrypted file with a key of its own; else memory.
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

/// The store of one instance's machine token. Safe to use from several tasks, threads and processes: the last save wins, whole.
#[derive(Debug)]
pub struct TokenStore {
    kind: StoreKind,
    chosen: Mutex<Chosen>,
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
    /// A malformed `RUNBEAM_ENCRYPTION_KEY` or instance name; a `kind` that cannot be had: no keyring answers within 2 s, or there is no directory.
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
            file,
            left: home.map(|home| Left::by_the_library(&home, &instance)),
            keyring,
            memory: Mutex::default(),
            seen: Mutex::default(),
            turn: AsyncMutex::new(()),
        })
    }

    /// The token, from whichever store has one.
    ///
    /// # Errors
    ///
    /// No store has a token that can be read, and one of them could have: its key is missing, it is damaged, the chosen store cannot be reached.
    pub async fn load(&self) -> Result<Option<MachineToken>, StoreError> {
        let chosen = self.chosen();
        if chosen == Chosen::Memory {
            let kept = locked(&self.memory).clone();
            if kept.is_some() || self.kind == StoreKind::Memory {
                return Ok(kept);
            }
        }
        let mut found = None;
        let mut problem = None;
        match self.load_file().await {
            Ok(token) => found = token,
            Err(error) => problem = Some(error),
        }
        // The file, if it is the choice, is never older than the keyring.
        if chosen == Chosen::Keyring || found.is_none() {
            match self.load_keyring().await {
                Ok(Some(token)) => {
                    found = Some(token::newest(found, token, chosen == Chosen::Keyring))
                }
                Ok(None) => {}
                Err(error) if chosen == Chosen::Keyring => problem = problem.or(Some(error)),
                Err(error) => log::debug!("{error}"),
            }
        }
        match (found, problem) {
            (Some(token), problem) => {
                if let Some(problem) = problem {
                    log::warn!("{problem}; the token of another store is used");
                }
                Ok(Some(token))
            }
            (None, Some(problem)) => Err(problem),
            (None, None) => Ok(self.take_over_what_is_left().await),
        }
    }

    /// Replaces the token, in every store. A `key` that came with it (`encryption_key` of `/authorize` and `/token`) becomes the instance's, unless
    /// `RUNBEAM_ENCRYPTION_KEY` is set: then that one wins, with a warning.
    ///
    /// # Errors
    ///
    /// The token could not be stored, or `key` is none. Then the old token is as it was.
    pub async fn save(&self, token: &MachineToken, key: Option<&str>) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        let given = self.given(key)?;
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
        self.forget_elsewhere(stored).await;
        Ok(())
    }

    /// Forgets the token, in every store. The key stays.
    ///
    /// # Errors
    ///
    /// The chosen store, or the file, still has it.
    pub async fn clear(&self) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        *locked(&self.memory) = None;
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

    /// Where the token is kept, for people: `encrypted file /var/lib/edge/auth.json`, `keyring`, `memory`.
    pub fn description(&self) -> String {
        choice::describe(self.chosen(), self.file.as_deref())
    }

    /// Whether the token outlives the process.
    pub fn persists(&self) -> bool {
        self.chosen() != Chosen::Memory
    }

    /// Whether `RUNBEAM_ENCRYPTION_KEY` encrypts the token: only then is one from `RUNBEAM_MACHINE_TOKEN` stored.
    pub fn uses_variable(&self) -> bool {
        self.chosen() == Chosen::File && self.file.as_ref().is_some_and(|file| file.has_variable())
    }

    /// Whether another process has stored or removed a token since the last [`load`](Self::load), [`save`](Self::save) or [`clear`](Self::clear) of this store: then
    /// `load` has something new. Costs a look at a file's metadata; for the keyring, one reading at most every 30 s.
    pub async fn changed(&self) -> bool {
        if self.kind == StoreKind::Memory {
            return false;
        }
        if let Some(file) = &self.file {
            let now = permissions::Mark::of(&file.path());
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

    async fn load_file(&self) -> Result<Option<MachineToken>, StoreError> {
        let Some(file) = self.file.clone() else {
            return Ok(None);
        };
        let place = file.path().display().to_string();
        let before = permissions::Mark::of(&file.path());
        let opened = blocking(move || file.load()).await;
        // One that cannot be opened is not news again until it changes.
        locked(&self.seen).file(match &opened {
            Ok(opened) => opened.as_ref().map(|opened| opened.mark),
            Err(_) => before,
        });
        opened?
            .map(|opened| token::from_json(&opened.plain, &place))
            .transpose()
    }

    async fn load_keyring(&self) -> Result<Option<MachineToken>, StoreError> {
        let secret = self.keyring.get().await?;
        locked(&self.seen).keyring(secret.as_deref().map(Vec::as_slice));
        secret
            .map(|secret| token::from_json(&secret, "keyring"))
            .transpose()
    }

    async fn take_over_what_is_left(&self) -> Option<MachineToken> {
        let (left, file) = (self.left.clone()?, self.file.clone());
        let path = left.token.display().to_string();
        let found = blocking(move || left.load(file.as_deref())).await;
        let token = match found {
            Ok(token) => token?,
            Err(error) => {
                say_once(
                    log::Level::Warn,
                    &format!("a token that the Runbeam library left cannot be read: {error}"),
                );
                return None;
            }
        };
        match self.save(&token, None).await {
            Ok(()) => log::info!(
                "the token at {path}, which the Runbeam library left, is now kept in {}",
                self.description()
            ),
            Err(error) => log::warn!(
                "the token at {path}, which the Runbeam library left, is used but cannot be stored: {error}"
            ),
        }
        Some(token)
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

    /// A renewed token must not be lost because the keyring was locked meanwhile: the file takes it then, unless `token_store` says otherwise.
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

    /// What is left in another store must not come back. If it cannot be removed, the order of [`token::newest`] still decides.
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
