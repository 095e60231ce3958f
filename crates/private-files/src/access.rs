//! Whose a file is and what it is, by the file that was opened, not by its name.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// What stands where a name points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
}

/// Opens a file or a directory, which is relative to `at`, for reading. Nothing that stands there
/// can block us: a pipe without a writer is opened all the same, and refused. Without `links`, so
/// is a symbolic link. `None`: nothing is there.
pub(super) fn open(
    at: impl AsFd,
    path: &Path,
    kind: Kind,
    links: bool,
) -> io::Result<Option<(File, Metadata)>> {
    let mut flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    flags.set(OFlags::NOFOLLOW, !links);
    let file = match rustix::fs::openat(at, path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::LOOP) if !links => {
            return Err(io::Error::other("it is a symbolic link"));
        }
        Err(error) if io::Error::from(error).kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let found = file.metadata()?;
    match kind {
        Kind::File if !found.is_file() => Err(io::Error::other("not a regular file")),
        Kind::Directory if !found.is_dir() => Err(ErrorKind::NotADirectory.into()),
        _ => Ok(Some((file, found))),
    }
}

/// Reads to the end, which comes within `limit` bytes.
pub(super) fn read_within(limit: u64, file: &File, into: &mut Vec<u8>) -> io::Result<()> {
    file.take(limit + 1).read_to_end(into)?;
    if into.len() as u64 > limit {
        return Err(ErrorKind::FileTooLarge.into());
    }
    Ok(())
}

/// Who this process is, to the owner of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) ours: bool,
    pub(super) roots: bool,
    pub(super) in_our_group: bool,
}

impl Standing {
    pub(super) fn towards(found: &Metadata) -> Self {
        let group = found.gid();
        Self {
            ours: rustix::process::geteuid().as_raw() == found.uid(),
            roots: found.uid() == 0,
            in_our_group: rustix::process::getegid().as_raw() == group
                || rustix::process::getgroups()
                    .is_ok_and(|groups| groups.iter().any(|one| one.as_raw() == group)),
        }
    }
}
