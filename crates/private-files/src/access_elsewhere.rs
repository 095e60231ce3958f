//! The same where files have no owner and mode as Unix knows them: whatever the user's profile
//! directory protects is taken for ours. Only what a file is and how large it is is looked at.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::{Kind, Ownership};

/// Where it is: a directory cannot be opened as a file.
pub(crate) type Handle = PathBuf;

/// Finds a file or a directory. `None`: nothing is there.
pub(crate) fn open(path: &Path, kind: Kind) -> io::Result<Option<(Handle, Metadata)>> {
    found(path, fs::metadata(path), kind)
}

/// The same in a directory, and a symbolic link is refused.
pub(crate) fn open_in(
    directory: &Handle,
    name: &Path,
    kind: Kind,
) -> io::Result<Option<(Handle, Metadata)>> {
    let path = directory.join(name);
    match fs::symlink_metadata(&path) {
        Ok(link) if link.is_symlink() => Err(io::Error::other("it is a symbolic link")),
        metadata => found(&path, metadata, kind),
    }
}

fn found(
    path: &Path,
    metadata: io::Result<Metadata>,
    kind: Kind,
) -> io::Result<Option<(Handle, Metadata)>> {
    match metadata {
        Ok(metadata) => {
            kind.check(&metadata)?;
            Ok(Some((path.to_owned(), metadata)))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens a file in a directory to write at its end, and makes it if it is missing. A symbolic link
/// is refused.
pub(crate) fn append_in(directory: &Handle, name: &Path) -> io::Result<(File, Metadata)> {
    let path = directory.join(name);
    open_in(directory, name, Kind::File)?;
    let file = File::options().append(true).create(true).open(path)?;
    let found = file.metadata()?;
    Ok((file, found))
}

/// What a file holds.
pub(crate) fn content(path: &Handle) -> io::Result<File> {
    File::open(path)
}

/// There is no mode to set.
pub(crate) fn set_mode(_: &Handle, _: u32) -> io::Result<()> {
    Ok(())
}

/// Whether the directory is not marked read-only.
pub(crate) fn may_write(directory: &Path) -> bool {
    fs::metadata(directory).is_ok_and(|found| !found.permissions().readonly())
}

impl Ownership {
    /// What Unix would say of a file that is ours alone.
    pub(crate) fn of(_: &Metadata) -> Self {
        Self {
            ours: true,
            roots: false,
            in_our_group: false,
            owner: 0,
            mode: 0o600,
            links: 1,
        }
    }
}
