//! The encrypted file: `auth.json` (or that of another token) in age's format and, where no
//! variable holds the key, `encryption.key` beside it.
//!
//! Everything here blocks, for as long as a disk takes. Writers take turns by a lock on the
//! directory, so that two of them that come first do not make two keys.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use log::Level;
use zeroize::Zeroizing;

use super::TOKEN_NAME;
use super::error::StorageError;
use super::keys::{DecryptFailure, EncryptionKeys};
use super::selection::log_once;
use private_files::secret::{self, Mark};

const MACHINE_TOKEN: &str = "auth.json";
/// How the names of all other tokens' files end.
const OTHER_TOKEN: &str = ".token.json";
const KEY: &str = "encryption.key";
/// Where a key file goes that holds no key.
const UNREADABLE_KEY: &str = "encryption.key.unreadable";
/// The first line of a key file tells whose word it is.
const MADE_HERE: &str = "made by harmony-edge at first use";
const GIVEN: &str = "given with a request";
/// How long another writer may take.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// The files of one instance.
#[derive(Clone, Debug)]
pub(super) struct EncryptedFile {
    directory: PathBuf,
    /// `auth`, or the type of another token.
    name: String,
    /// What `RUNBEAM_ENCRYPTION_KEY` holds.
    environment_key: Option<EncryptionKeys>,
}

/// What was in the file.
pub(super) struct Decrypted {
    pub(super) plain: Zeroizing<Vec<u8>>,
    pub(super) mark: Mark,
    /// The keys of which only a later one than the first opens it.
    outdated: Option<EncryptionKeys>,
}

impl EncryptedFile {
    pub(super) fn new(
        directory: PathBuf,
        name: &str,
        environment_key: Option<EncryptionKeys>,
    ) -> Self {
        Self {
            directory,
            name: name.to_owned(),
            environment_key,
        }
    }

    /// Where the token is.
    pub(super) fn path(&self) -> PathBuf {
        self.directory.join(match self.name.as_str() {
            TOKEN_NAME => MACHINE_TOKEN.to_owned(),
            // The gateway has files of its own in this directory.
            name => format!("{name}{OTHER_TOKEN}"),
        })
    }

    /// Whether the key is that of `RUNBEAM_ENCRYPTION_KEY`.
    pub(super) fn has_environment_key(&self) -> bool {
        self.environment_key.is_some()
    }

    /// Whether there is a key file that harmony-edge did not make by itself.
    pub(super) fn has_given_key(&self) -> bool {
        let made_here = format!("# {MADE_HERE}\n");
        match secret::read(&self.directory.join(KEY)) {
            Ok(Some(file)) => !file.bytes.starts_with(made_here.as_bytes()),
            Ok(None) | Err(_) => false,
        }
    }

    /// Whether there is a file, or one could be made.
    pub(super) fn is_usable(&self) -> bool {
        self.path().exists() || secret::is_writable(&self.directory)
    }

    pub(super) fn load(&self) -> Result<Option<Decrypted>, StorageError> {
        if !secret::check_directory(&self.directory)? {
            return Ok(None);
        }
        let path = self.path();
        let decrypted = self.open(&path, None)?;
        if decrypted
            .as_ref()
            .is_none_or(|decrypted| decrypted.outdated.is_none())
        {
            return Ok(decrypted);
        }
        match self.reencrypt() {
            Ok(renewed) => Ok(renewed),
            Err(error) => {
                log_once(
                    Level::Warn,
                    &format!(
                        "{} cannot be encrypted anew with the first key, so the old one has to \
                         stay: {error}",
                        path.display()
                    ),
                );
                Ok(decrypted)
            }
        }
    }

    /// Encrypts anew, with the first key, what only a later one opens: then the old key can go.
    fn reencrypt(&self) -> Result<Option<Decrypted>, StorageError> {
        let _lock = self.lock()?;
        let path = self.path();
        // Another process may have replaced it meanwhile.
        let Some(decrypted) = self.open(&path, None)? else {
            return Ok(None);
        };
        let Some(keys) = decrypted.outdated else {
            return Ok(Some(decrypted));
        };
        let mark = self.write(&keys, &decrypted.plain)?;
        log::info!(
            "{} was encrypted with an older key: it is encrypted anew with the first one",
            path.display()
        );
        Ok(Some(Decrypted {
            mark: mark.unwrap_or(decrypted.mark),
            outdated: None,
            plain: decrypted.plain,
        }))
    }

    /// Opens a file that the published SDK left, with our keys or with its own in `directory`.
    pub(super) fn load_legacy(
        &self,
        path: &Path,
        directory: &Path,
    ) -> Result<Option<Decrypted>, StorageError> {
        self.open(path, Some(directory))
    }

    /// Replaces the token. A key that is `given` becomes the instance's; the caller sees to it that
    /// the variable is not set then.
    pub(super) fn save(
        &self,
        plain: &[u8],
        given: Option<&EncryptionKeys>,
    ) -> Result<Option<Mark>, StorageError> {
        let _lock = self.lock()?;
        self.remove_stale_temp_files();
        match (&self.environment_key, given) {
            (Some(keys), _) => self.write(keys, plain),
            (None, Some(given)) => self.save_with_new_key(given, plain),
            (None, None) => self.write(&self.key_at_first_use()?, plain),
        }
    }

    /// Removes the token. The key stays: it opens nothing now, and the next token may use it.
    pub(super) fn clear(&self) -> Result<(), StorageError> {
        if !self.directory.exists() {
            return Ok(());
        }
        let _lock = self.lock()?;
        self.remove_stale_temp_files();
        remove(&self.path())
    }

    fn open(&self, path: &Path, also: Option<&Path>) -> Result<Option<Decrypted>, StorageError> {
        let Some(content) = secret::read(path)? else {
            return Ok(None);
        };
        let keys = self.all_keys(also)?;
        let keys = keys.ok_or_else(|| StorageError::NoKey {
            path: path.to_owned(),
        })?;
        let (plain, outdated) = match keys.only_first().decrypt(&content.bytes) {
            Err(DecryptFailure::NoMatchingKey) => (keys.decrypt(&content.bytes), Some(keys)),
            decrypted => (decrypted, None),
        };
        let plain = plain.map_err(|sealed| match sealed {
            DecryptFailure::NoMatchingKey => StorageError::NoMatchingKey {
                path: path.to_owned(),
            },
            DecryptFailure::Damaged => StorageError::Damaged {
                place: path.display().to_string(),
                what: "not a whole file of age",
            },
        })?;
        Ok(Some(Decrypted {
            plain,
            mark: content.mark,
            outdated,
        }))
    }

    /// The variable's keys, then those of the key files.
    fn all_keys(&self, also: Option<&Path>) -> Result<Option<EncryptionKeys>, StorageError> {
        let mut keys = self.environment_key.clone();
        for directory in [Some(self.directory.as_path()), also].into_iter().flatten() {
            match (read_key(&directory.join(KEY)), keys.take()) {
                (Ok(None), known) => keys = known,
                (Ok(Some(found)), None) => keys = Some(found),
                (Ok(Some(found)), Some(known)) => keys = Some(known.followed_by(&found)),
                // A variable that opens the token needs no key file.
                (Err(error), Some(known)) => {
                    log::debug!("{error}");
                    keys = Some(known);
                }
                (Err(error), None) => return Err(error),
            }
        }
        Ok(keys)
    }

    fn key_at_first_use(&self) -> Result<EncryptionKeys, StorageError> {
        if let Some(keys) = self.key_or_quarantine()? {
            return Ok(keys);
        }
        let keys = EncryptionKeys::generate();
        self.write_key(&keys.to_file(MADE_HERE))?;
        Ok(keys)
    }

    /// Whenever this is interrupted, the key file opens the token that is there.
    fn save_with_new_key(
        &self,
        given: &EncryptionKeys,
        plain: &[u8],
    ) -> Result<Option<Mark>, StorageError> {
        let path = self.directory.join(KEY);
        let old = secret::read(&path)?;
        let both = match self.key_or_quarantine()? {
            Some(known) => given.clone().followed_by(&known),
            None => given.clone(),
        };
        self.write_key(&both.to_file(GIVEN))?;
        let written = self.write(given, plain);
        let after = match (&written, &old) {
            // Another token in the directory may be encrypted with the key before.
            (Ok(_), _) if self.has_other_tokens() => Ok(()),
            (Ok(_), _) => self.write_key(&given.to_file(GIVEN)),
            (Err(_), Some(old)) => replace(&path, &old.bytes),
            (Err(_), None) => remove(&path),
        };
        // Both keys in the file do no harm.
        if let Err(error) = after {
            log::warn!("{error}");
        }
        written
    }

    /// Whether the directory holds another token than this one; true if that cannot be known.
    fn has_other_tokens(&self) -> bool {
        let own = self.path();
        let is_other = |path: PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            let is_token = name.is_some_and(|it| it == MACHINE_TOKEN || it.ends_with(OTHER_TOKEN));
            is_token && path != own
        };
        let Ok(mut entries) = fs::read_dir(&self.directory) else {
            return true;
        };
        entries.any(|entry| entry.is_ok_and(|entry| is_other(entry.path())))
    }

    /// The keys of the key file. A file that holds none is set aside: nothing can be read with it,
    /// and a new token must not fail for it.
    fn key_or_quarantine(&self) -> Result<Option<EncryptionKeys>, StorageError> {
        let path = self.directory.join(KEY);
        match read_key(&path) {
            Err(error @ StorageError::KeyFile { .. }) => {
                let aside = self.directory.join(UNREADABLE_KEY);
                log::warn!(
                    "{error}; it is now {}, and a new key takes its place",
                    aside.display()
                );
                fs::rename(&path, &aside)
                    .map_err(|source| StorageError::io("rename", &path, source))?;
                Ok(None)
            }
            other => other,
        }
    }

    fn write_key(&self, file: &str) -> Result<(), StorageError> {
        replace(&self.directory.join(KEY), file.as_bytes())
    }

    /// The mark is `None` when another process has replaced the file since.
    fn write(&self, keys: &EncryptionKeys, plain: &[u8]) -> Result<Option<Mark>, StorageError> {
        let path = self.path();
        let sealed = keys
            .encrypt(plain)
            .map_err(|error| StorageError::Internal(error.to_string()))?;
        replace(&path, &sealed)?;
        let there = secret::read(&path)?;
        Ok(there
            .filter(|there| *there.bytes == sealed)
            .map(|there| there.mark))
    }

    /// Held until the file is dropped. Makes the directory if there is none.
    fn lock(&self) -> Result<Option<File>, StorageError> {
        let path = self.directory.as_path();
        private_files::create_directory(path)
            .map_err(|source| StorageError::io("create", path, source))?;
        secret::check_directory(path)?;
        let directory =
            open_to_lock(path).map_err(|source| StorageError::io("open", path, source))?;
        let deadline = Instant::now() + LOCK_TIMEOUT;
        loop {
            match directory.try_lock() {
                Ok(()) => return Ok(Some(directory)),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(2))
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(StorageError::Busy {
                        path: path.to_owned(),
                        seconds: LOCK_TIMEOUT.as_secs(),
                    });
                }
                // A file system without locks (NFS, for a directory): each write is whole all the
                // same.
                Err(TryLockError::Error(error)) => {
                    log::debug!("{}: no lock: {error}", path.display());
                    return Ok(None);
                }
            }
        }
    }

    /// Removes the temporary files of writers that were killed.
    fn remove_stale_temp_files(&self) {
        for entry in fs::read_dir(&self.directory)
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let ours = [self.name.as_str(), "encryption"]
                .into_iter()
                .any(|prefix| {
                    name.strip_prefix(prefix)
                        .is_some_and(|rest| rest.starts_with('.'))
                });
            if ours && name.ends_with(".tmp") {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// What writers lock: the directory itself where that can be opened, else a file in it.
fn open_to_lock(directory: &Path) -> io::Result<File> {
    if cfg!(unix) {
        File::open(directory)
    } else {
        File::create(directory.join("lock"))
    }
}

/// Writes a file whole, in place of the one that was there.
fn replace(path: &Path, content: &[u8]) -> Result<(), StorageError> {
    private_files::replace(path, content).map_err(|source| StorageError::io("write", path, source))
}

/// Removes a file, for good.
pub(super) fn remove(path: &Path) -> Result<(), StorageError> {
    let synced = match fs::remove_file(path) {
        Ok(()) => private_files::sync_directory(path.parent().unwrap_or(Path::new("."))),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(())
        }
        Err(error) => Err(error),
    };
    synced.map_err(|source| StorageError::io("remove", path, source))
}

fn read_key(path: &Path) -> Result<Option<EncryptionKeys>, StorageError> {
    let Some(content) = secret::read(path)? else {
        return Ok(None);
    };
    // What is no text is no key either.
    let text = std::str::from_utf8(&content.bytes).unwrap_or_default();
    EncryptionKeys::parse(text)
        .map(Some)
        .map_err(|why| StorageError::KeyFile {
            path: path.to_owned(),
            why,
        })
}

// Clippy takes for tests what stands under `cfg(test)` and nothing else.
#[cfg(unix)]
#[cfg(test)]
mod tests;
