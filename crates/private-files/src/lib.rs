//! Files of state: written whole, so that at any moment there is the old one or the new one, and
//! read only where nobody else can have put them.
//!
//! Internal to harmony-edge: the proxy, its SDK and `jose` keep their files with it. [`replace`]
//! writes. [`secret`] reads what nobody else may read, [`StateDir`] what nobody else may have
//! written; both open alike and judge owner, group and mode alike.
//!
//! Owner, group and mode are those of Unix. Elsewhere (Windows) there are no such checks: files
//! are read and written as they are, and are as private as the directory that they lie in.

#[cfg(unix)]
mod access;
#[cfg(not(unix))]
#[path = "access_elsewhere.rs"]
mod access;
pub mod secret;
mod state;

pub use state::{StateDir, StateError};

use std::fs::{self, DirBuilder, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
#[cfg(unix)]
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;

/// What has to stand where a name points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
}

impl Kind {
    fn check(self, found: &Metadata) -> io::Result<()> {
        match self {
            Self::File if !found.is_file() => Err(io::Error::other("not a regular file")),
            Self::Directory if !found.is_dir() => Err(ErrorKind::NotADirectory.into()),
            _ => Ok(()),
        }
    }
}

/// Who owns a file, and who this process is to that owner.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ownership {
    /// Owned by the user of this process.
    ours: bool,
    /// Owned by root.
    roots: bool,
    /// Of a group that this process is in.
    in_our_group: bool,
    /// Its owner's user id.
    owner: u32,
    /// All permission bits.
    mode: u32,
    /// How many names it has.
    links: u64,
}

/// What the system said when something was tried, or that there is something else.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}: {source}")]
pub struct IoError {
    /// What was tried, as a verb: `read`, `open`, `restrict`.
    pub action: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

impl IoError {
    fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self {
            action,
            path,
            source,
        }
    }
}

/// Reads to the end, which comes within `limit` bytes.
fn read_within(limit: u64, content: impl Read, into: &mut Vec<u8>) -> io::Result<()> {
    content.take(limit + 1).read_to_end(into)?;
    if into.len() as u64 > limit {
        return Err(ErrorKind::FileTooLarge.into());
    }
    Ok(())
}

/// Puts `content` at `path`, in a directory that is made if it is missing (mode 0700). The file has
/// mode 0600 from the moment it exists, and is on the disk when this returns.
///
/// # Errors
///
/// What the system says; then the old file is untouched.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    replace_with(path, content, fs::File::sync_all)?;
    sync_directory(path.parent().unwrap_or(Path::new(".")))
}

/// The same for what the end of the process must not take away, and a crash of the system may.
///
/// # Errors
///
/// What the system says; then the old file is untouched.
pub fn replace_unsynced(path: &Path, content: &[u8]) -> io::Result<()> {
    replace_with(path, content, |_| Ok(()))
}

fn replace_with(
    path: &Path,
    content: &[u8],
    sync: impl FnOnce(&fs::File) -> io::Result<()>,
) -> io::Result<()> {
    create_directory(path.parent().unwrap_or(Path::new(".")))?;
    let temporary =
        path.with_extension(format!("{}-{:016x}.tmp", process::id(), fastrand::u64(..)));
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    options.mode(0o600);
    let written = options
        .write(true)
        .create_new(true)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(content)?;
            sync(&file)
        })
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Makes a directory and those above it, with mode 0700, unless it is there.
///
/// # Errors
///
/// What the system says.
pub fn create_directory(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    builder.mode(0o700);
    builder.recursive(true).create(path)
}

/// Has the names in a directory on the disk. Elsewhere than on Unix, no directory can be opened for
/// that.
///
/// # Errors
///
/// What the system says.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    fs::File::open(path)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_is_its_owners_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("deep/state/file.json");
        for (content, replace) in [
            ("one", replace as fn(&Path, &[u8]) -> _),
            ("two", replace),
            ("three", replace_unsynced),
        ] {
            replace(&path, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let directory = path.parent().unwrap();
        assert_eq!((mode(directory), mode(&path)), (0o700, 0o600));
        assert_eq!(fs::read_dir(directory).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing_behind() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("taken")).unwrap();
        assert!(replace(&home.path().join("taken"), b"x").is_err());
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }
}
