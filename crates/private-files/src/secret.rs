//! What nobody else may read: what is ours is made ours alone; what is not ours is refused, except
//! what a Kubernetes fsGroup lends us.

use std::fs;
use std::io::ErrorKind;
#[cfg(unix)]
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use zeroize::Zeroizing;

use crate::access::{self, Handle};
use crate::{IoError, Kind, Ownership, read_within};

/// More than any token or list of keys has.
const MAX_FILE: u64 = 1 << 20;
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Why a secret is not read.
#[derive(Debug)]
pub enum SecretError {
    /// Others have access to what is not ours to restrict.
    Permissions {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The user id of its owner.
        owner: u32,
    },
    /// The system refused, or it is no such thing.
    Io(IoError),
}

impl From<IoError> for SecretError {
    fn from(error: IoError) -> Self {
        Self::Io(error)
    }
}

/// What to do about a file or directory with this owner and mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Accept,
    /// Ours, but others can get at it.
    Restrict,
    /// Not ours, but our group's, and nobody else's.
    AcceptGroup,
    Refuse,
}

/// A file as it was read.
pub struct Content {
    /// All of it.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Of the file that was read.
    pub mark: Mark,
}

/// By which a file is told from the one that replaces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    #[cfg(unix)]
    inode: u64,
    length: u64,
    modified: Option<SystemTime>,
}

impl Mark {
    /// Of what is there now; `None` when nothing is.
    pub fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|found| Self::from(&found))
    }
}

impl From<&fs::Metadata> for Mark {
    fn from(found: &fs::Metadata) -> Self {
        Self {
            #[cfg(unix)]
            inode: found.ino(),
            length: found.len(),
            modified: found.modified().ok(),
        }
    }
}

/// The file's content, once its owner and mode are as they have to be; `None` when there is none. A
/// link leads to a file that is judged itself.
pub fn read(path: &Path) -> Result<Option<Content>, SecretError> {
    let failed = |source| IoError::new("read", path, source);
    let opened = access::open(path, Kind::File).map_err(failed)?;
    let Some((file, found)) = opened else {
        return Ok(None);
    };
    keep_to_ourselves(path, &file, &found)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(
        usize::try_from(found.len().min(MAX_FILE)).unwrap_or_default() + 1,
    ));
    access::content(&file)
        .and_then(|content| read_within(MAX_FILE, content, &mut bytes))
        .map_err(failed)?;
    Ok(Some(Content {
        bytes,
        mark: Mark::from(&found),
    }))
}

/// Whether the directory is there, its owner and mode as they have to be.
pub fn check_directory(path: &Path) -> Result<bool, SecretError> {
    let (directory, found) = match access::open(path, Kind::Directory) {
        Ok(Some(opened)) => opened,
        Ok(None) => return Ok(false),
        // Something above it is none.
        Err(error) if error.kind() == ErrorKind::NotADirectory && !path.exists() => {
            return Ok(false);
        }
        Err(error) => return Err(IoError::new("open", path, error).into()),
    };
    keep_to_ourselves(path, &directory, &found)?;
    Ok(true)
}

/// Whether files could be made in this directory, or in the nearest one above it that there is.
pub fn is_writable(directory: &Path) -> bool {
    directory
        .ancestors()
        .map(|path| {
            if path.as_os_str().is_empty() {
                Path::new(".")
            } else {
                path
            }
        })
        .find(|path| path.exists())
        .is_some_and(|path| path.is_dir() && access::may_write(path))
}

fn keep_to_ourselves(path: &Path, file: &Handle, found: &fs::Metadata) -> Result<(), SecretError> {
    let ownership = Ownership::of(found);
    let mode = ownership.mode & 0o777;
    let refused = || SecretError::Permissions {
        path: path.to_owned(),
        mode,
        owner: ownership.owner,
    };
    match verdict(ownership) {
        Verdict::Accept => Ok(()),
        Verdict::AcceptGroup => {
            log::warn!(
                "{} belongs to user {} and is ours by its group only (mode {mode:03o}): taken, as \
                 a Kubernetes fsGroup makes it so",
                path.display(),
                ownership.owner
            );
            Ok(())
        }
        Verdict::Refuse => Err(refused()),
        // What a link points to may be anything; its mode is not ours to change.
        Verdict::Restrict if found.is_file() && path.is_symlink() => Err(refused()),
        Verdict::Restrict => {
            let wanted = if found.is_dir() {
                DIRECTORY_MODE
            } else {
                FILE_MODE
            };
            access::set_mode(file, wanted)
                .map_err(|source| IoError::new("restrict", path, source))?;
            log::warn!(
                "{} had mode {mode:03o}; it now has {wanted:03o}, as others had access",
                path.display()
            );
            Ok(())
        }
    }
}

fn verdict(ownership: Ownership) -> Verdict {
    let mode = ownership.mode;
    match (ownership.ours, ownership.in_our_group) {
        (true, _) if mode & 0o077 == 0 => Verdict::Accept,
        (true, _) => Verdict::Restrict,
        (false, true) if mode & 0o007 == 0 => Verdict::AcceptGroup,
        (false, _) => Verdict::Refuse,
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn who_may_have_access() {
        use Verdict::*;
        for (ours, in_our_group, mode, want) in [
            (true, true, 0o600, Accept),
            (true, false, 0o700, Accept),
            (true, false, 0o400, Accept),
            (true, true, 0o640, Restrict),
            (true, true, 0o604, Restrict),
            (true, true, 0o660, Restrict),
            (true, false, 0o755, Restrict),
            // Owned by root, of the fsGroup.
            (false, true, 0o640, AcceptGroup),
            (false, true, 0o660, AcceptGroup),
            (false, true, 0o770, AcceptGroup),
            (false, true, 0o600, AcceptGroup),
            (false, true, 0o644, Refuse),
            (false, true, 0o777, Refuse),
            (false, false, 0o600, Refuse),
            (false, false, 0o640, Refuse),
        ] {
            let ownership = Ownership {
                ours,
                roots: false,
                in_our_group,
                owner: 12345,
                mode,
                links: 1,
            };
            assert_eq!(verdict(ownership), want, "{ownership:?} {mode:o}");
        }
    }

    #[test]
    fn what_is_ours_is_tightened() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("auth.json");
        fs::write(&file, "x").unwrap();
        for wide in [0o644, 0o660, 0o666, 0o604] {
            set_mode(&file, wide);
            assert_eq!(read(&file).unwrap().unwrap().bytes.as_slice(), b"x");
            assert_eq!(mode(&file), 0o600);
        }
        set_mode(home.path(), 0o755);
        assert!(check_directory(home.path()).unwrap());
        assert_eq!(mode(home.path()), 0o700);
        assert!(!check_directory(&home.path().join("none")).unwrap());
        assert!(read(&home.path().join("none")).unwrap().is_none());
    }

    #[test]
    fn what_a_link_points_to_is_not_changed() {
        let home = tempfile::tempdir().unwrap();
        let (target, link) = (home.path().join("target"), home.path().join("auth.json"));
        fs::write(&target, "x").unwrap();
        symlink(&target, &link).unwrap();
        set_mode(&target, 0o644);
        assert!(matches!(
            read(&link),
            Err(SecretError::Permissions { mode: 0o644, .. })
        ));
        assert_eq!(mode(&target), 0o644);
        set_mode(&target, 0o600);
        assert_eq!(read(&link).unwrap().unwrap().bytes.as_slice(), b"x");
    }

    #[test]
    fn only_regular_files_of_a_sane_size_are_read() {
        let home = tempfile::tempdir().unwrap();
        assert!(matches!(read(home.path()), Err(SecretError::Io { .. })));
        assert!(matches!(
            check_directory(Path::new("/dev/null")),
            Err(SecretError::Io { .. })
        ));
        let big = home.path().join("big");
        fs::write(&big, vec![0; 2 << 20]).unwrap();
        assert!(matches!(read(&big), Err(SecretError::Io { .. })));
        let pipe = home.path().join("pipe");
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        assert!(matches!(read(&pipe), Err(SecretError::Io { .. })));
    }

    #[test]
    fn what_belongs_to_another_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("auth.json");
        fs::write(&file, "x").unwrap();
        set_mode(&file, 0o600);
        // Only root can give a file away.
        if chown(&file, Some(12345), Some(12345)).is_err() {
            println!("skipped: giving a file to another user takes root");
            return;
        }
        assert!(matches!(
            read(&file),
            Err(SecretError::Permissions {
                owner: 12345,
                mode: 0o600,
                ..
            })
        ));
        chown(
            &file,
            Some(12345),
            Some(rustix::process::getegid().as_raw()),
        )
        .unwrap();
        set_mode(&file, 0o640);
        assert_eq!(read(&file).unwrap().unwrap().bytes.as_slice(), b"x");
        assert_eq!(mode(&file), 0o640, "not ours to change");
    }

    #[test]
    fn a_mark_tells_a_file_from_the_next() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("auth.json");
        assert_eq!(Mark::of(&file), None);
        crate::replace(&file, b"one").unwrap();
        let first = Mark::of(&file).unwrap();
        assert_eq!(read(&file).unwrap().unwrap().mark, first);
        crate::replace(&file, b"two").unwrap();
        assert_ne!(Mark::of(&file), Some(first));
    }

    #[test]
    fn a_directory_that_could_be_made_is_writable() {
        let home = tempfile::tempdir().unwrap();
        assert!(is_writable(home.path()) && is_writable(&home.path().join("a/b")));
        assert!(!is_writable(Path::new("/dev/null/x")));
    }
}
