//! The texts of the local files, as they were read.
//!
//! A change from the cloud is built on the texts that serve, so that a file that an operator is
//! just editing neither fails it nor goes live with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use zeroize::Zeroizing;

/// The texts of the local files, as one run of the loader read them.
#[derive(Clone, Default)]
pub struct Local {
    texts: BTreeMap<PathBuf, Zeroizing<String>>,
    listing: Option<Vec<PathBuf>>,
    complete: bool,
}

impl Local {
    /// One text that was read already.
    pub(crate) fn of(path: &Path, text: &str) -> Self {
        let texts = BTreeMap::from([(path.to_owned(), Zeroizing::new(text.to_owned()))]);
        Self {
            texts,
            ..Self::default()
        }
    }

    /// The text of a file that was read.
    pub fn text(&self, path: &Path) -> Option<&str> {
        self.texts.get(path).map(|text| text.as_str())
    }

    pub(crate) fn read(&mut self, path: &Path) -> io::Result<Zeroizing<String>> {
        if let Some(text) = self.texts.get(path) {
            return Ok(text.clone());
        }
        let text = Zeroizing::new(fs::read_to_string(path)?);
        self.texts.insert(path.to_owned(), text.clone());
        Ok(text)
    }

    pub(crate) fn list(&mut self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        if let Some(listing) = &self.listing {
            return Ok(listing.clone());
        }
        let listing = toml_files(directory)?;
        self.listing = Some(listing.clone());
        Ok(listing)
    }

    pub(crate) fn has_directory(&self, directory: &Path) -> bool {
        if self.complete {
            self.listing.is_some()
        } else {
            directory.is_dir()
        }
    }

    /// From now on, what is not here is not there.
    pub(crate) fn complete(mut self) -> Self {
        self.complete = true;
        self
    }
}

/// The `*.toml` of a directory, sorted by name.
///
/// # Errors
///
/// What the system says about the directory.
pub fn toml_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let named = path
            .extension()
            .is_some_and(|extension| extension == "toml");
        if named && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Names only: the texts may hold secrets.
impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Local")
            .field(&self.texts.keys().collect::<Vec<_>>())
            .finish()
    }
}
