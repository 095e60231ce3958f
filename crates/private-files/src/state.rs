//! State that is believed when it is read: key sets, and what the cloud sent. Whoever could put
//! something there would be believed too, so it has to be ours.

use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use crate::access::{self, Handle};
use crate::{IoError, Kind, Ownership, read_within};

/// Why state is not believed.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Others may have written it.
    #[error(
        "{path}: others may have written it (owner: user {owner}, mode {mode:03o}); it must \
         belong to the user of this process (or to root and a group of ours, as under a \
         Kubernetes fsGroup), and nobody else may write to it: look at what is in it, then change \
         owner and mode, or remove it"
    )]
    Writable {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The user id of its owner.
        owner: u32,
    },
    /// It may be another file of ours, to which somebody has given this name.
    #[error("{path}: it has {links} hard links, and must have no other name; remove it")]
    Links {
        /// The file.
        path: PathBuf,
        /// How many names it has.
        links: u64,
    },
    /// The system refused, or it is no such thing.
    #[error(transparent)]
    Io(#[from] IoError),
}

/// A directory of ours, or one that a Kubernetes fsGroup lends us (root's, of our group), in which
/// nobody outside of our group may write.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    directory: Handle,
}

impl StateDir {
    /// Opens the state directory. It may be a link (systemd makes one for `DynamicUser=`), if it is
    /// ours or root's. `None`: there is none.
    ///
    /// # Errors
    ///
    /// Why it is not to be trusted.
    pub fn open(path: &Path) -> Result<Option<Self>, StateError> {
        if let Ok(link) = path.symlink_metadata()
            && link.is_symlink()
        {
            let ownership = Ownership::of(&link);
            if !(ownership.ours || ownership.roots) {
                return Err(writable(path, ownership));
            }
        }
        Self::judge(path, access::open(path, Kind::Directory))
    }

    /// Opens a directory in it, which may not be a link.
    ///
    /// # Errors
    ///
    /// Why it is not to be trusted.
    pub fn subdirectory(&self, name: &str) -> Result<Option<Self>, StateError> {
        let path = self.path.join(name);
        let opened = access::open_in(&self.directory, Path::new(name), Kind::Directory);
        Self::judge(&path, opened)
    }

    /// Reads a file in it, which may not be a link, nor be larger than `limit` bytes. `None`: there
    /// is none.
    ///
    /// # Errors
    ///
    /// Why it is not to be trusted, or what the system says.
    pub fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, StateError> {
        let path = self.path.join(name);
        let failed = |error| IoError::new("read", &path, error);
        let opened = access::open_in(&self.directory, Path::new(name), Kind::File);
        let Some((file, found)) = opened.map_err(failed)? else {
            return Ok(None);
        };
        judge_file(&path, &found)?;
        let mut content = Vec::new();
        access::content(&file)
            .and_then(|file| read_within(limit, file, &mut content))
            .map_err(failed)?;
        Ok(Some(content))
    }

    /// Opens a file in it to write at its end; it is made, with mode 0600, if it is missing. It may
    /// not be a link.
    ///
    /// # Errors
    ///
    /// Why it is not to be trusted, or what the system says.
    pub fn append(&self, name: &str) -> Result<File, StateError> {
        let path = self.path.join(name);
        let (file, found) = access::append_in(&self.directory, Path::new(name))
            .map_err(|error| IoError::new("open", &path, error))?;
        judge_file(&path, &found)?;
        Ok(file)
    }

    fn judge(
        path: &Path,
        opened: io::Result<Option<(Handle, Metadata)>>,
    ) -> Result<Option<Self>, StateError> {
        let opened = opened.map_err(|error| IoError::new("open", path, error))?;
        let Some((directory, found)) = opened else {
            return Ok(None);
        };
        let ownership = Ownership::of(&found);
        if !is_ours_alone(ownership) {
            return Err(writable(path, ownership));
        }
        Ok(Some(Self {
            path: path.to_owned(),
            directory,
        }))
    }
}

/// Whether a file in the directory can only have been written by us, under this name.
fn judge_file(path: &Path, found: &Metadata) -> Result<(), StateError> {
    let ownership = Ownership::of(found);
    if !is_ours_alone(ownership) {
        return Err(writable(path, ownership));
    }
    // Somebody else may have given a file of ours this name.
    match ownership.links {
        0 | 1 => Ok(()),
        links => Err(StateError::Links {
            path: path.to_owned(),
            links,
        }),
    }
}

/// Whether what has this owner and mode can only have been written by us, or in our name.
fn is_ours_alone(ownership: Ownership) -> bool {
    let Ownership {
        ours,
        roots,
        in_our_group,
        mode,
        ..
    } = ownership;
    let by_its_group = mode & 0o020 != 0 && !in_our_group;
    (ours || roots && in_our_group) && mode & 0o002 == 0 && !by_its_group
}

fn writable(path: &Path, ownership: Ownership) -> StateError {
    StateError::Writable {
        path: path.to_owned(),
        mode: ownership.mode,
        owner: ownership.owner,
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests;
