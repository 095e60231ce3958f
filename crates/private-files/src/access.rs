//! Whose a file is and what it is, by the file that was opened, not by its name.

use std::fs::{File, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Access, CWD, Mode, OFlags};

use crate::{Kind, Ownership};

/// What was opened.
pub(crate) type Handle = File;

/// Opens a file or a directory for reading. Nothing that stands there can block us: a pipe without
/// a writer is opened all the same, and refused. `None`: nothing is there.
pub(crate) fn open(path: &Path, kind: Kind) -> io::Result<Option<(Handle, Metadata)>> {
    open_at(CWD, path, kind, OFlags::empty())
}

/// The same in a directory, and a symbolic link is refused too.
pub(crate) fn open_in(
    directory: &Handle,
    name: &Path,
    kind: Kind,
) -> io::Result<Option<(Handle, Metadata)>> {
    open_at(directory, name, kind, OFlags::NOFOLLOW)
}

fn open_at(
    at: impl AsFd,
    path: &Path,
    kind: Kind,
    flags: OFlags,
) -> io::Result<Option<(Handle, Metadata)>> {
    let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match rustix::fs::openat(at, path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::LOOP) if flags.contains(OFlags::NOFOLLOW) => {
            return Err(io::Error::other("it is a symbolic link"));
        }
        Err(error) if io::Error::from(error).kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let found = file.metadata()?;
    kind.check(&found)?;
    Ok(Some((file, found)))
}

/// Opens a file in a directory to write at its end, and makes it, with mode 0600, if it is missing.
/// A symbolic link is refused.
pub(crate) fn append_in(directory: &Handle, name: &Path) -> io::Result<(File, Metadata)> {
    let flags = OFlags::WRONLY
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::NOFOLLOW
        | OFlags::CLOEXEC
        | OFlags::NONBLOCK
        | OFlags::NOCTTY;
    let file = rustix::fs::openat(directory, name, flags, Mode::RUSR | Mode::WUSR)?;
    let file = File::from(file);
    let found = file.metadata()?;
    Kind::File.check(&found)?;
    Ok((file, found))
}

/// What a file holds.
pub(crate) fn content(file: &Handle) -> io::Result<&File> {
    Ok(file)
}

/// Sets the permission bits.
pub(crate) fn set_mode(file: &Handle, mode: u32) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(mode))
}

/// Whether this process may make files in a directory.
pub(crate) fn may_write(directory: &Path) -> bool {
    rustix::fs::access(directory, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

impl Ownership {
    pub(crate) fn of(found: &Metadata) -> Self {
        let group = found.gid();
        Self {
            ours: rustix::process::geteuid().as_raw() == found.uid(),
            roots: found.uid() == 0,
            in_our_group: rustix::process::getegid().as_raw() == group
                || rustix::process::getgroups()
                    .is_ok_and(|groups| groups.iter().any(|one| one.as_raw() == group)),
            owner: found.uid(),
            mode: found.mode() & 0o7777,
            links: found.nlink(),
        }
    }
}
