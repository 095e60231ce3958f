//! The content of files as one digest: whether anything changed, whatever the clock says.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use ring::digest::{Context, Digest, SHA256};
use zeroize::Zeroizing;

use crate::common::Hex;
use crate::config::{Local, toml_files};

/// SHA-256 over the content of files.
#[derive(Clone)]
pub struct Fingerprint(Digest);

/// What to watch: a change of any of it may change the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchedFiles {
    /// Files that were read or named, be they there or not.
    pub files: Vec<PathBuf>,
    /// Pipelines directories, be they there or not.
    pub directories: Vec<PathBuf>,
}

impl Fingerprint {
    /// Of these files; of those that were read, as they were read. One that is gone counts as
    /// empty; whether it matters, building tells.
    pub(super) fn of(files: &[PathBuf], local: &Local) -> Self {
        let mut context = Context::new(&SHA256);
        for file in files {
            match local.text(file) {
                Some(text) => add(&mut context, text.as_bytes()),
                None => add_file(&mut context, file),
            }
        }
        Self(context.finish())
    }

    /// In hexadecimal.
    pub fn hex(&self) -> String {
        Hex(self.0.as_ref()).to_string()
    }
}

impl WatchedFiles {
    /// The same, and what another one has.
    #[must_use]
    pub(super) fn and(mut self, other: &Self) -> Self {
        self.files.extend_from_slice(&other.files);
        self.files.sort_unstable();
        self.files.dedup();
        self.directories.extend_from_slice(&other.directories);
        self.directories.sort_unstable();
        self.directories.dedup();
        self
    }

    /// The content of all of it. Reads files: not for a worker that serves requests.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut context = Context::new(&SHA256);
        for file in &self.files {
            context.update(file.as_os_str().as_encoded_bytes());
            add_file(&mut context, file);
        }
        for directory in &self.directories {
            for file in toml_files(directory).unwrap_or_default() {
                context.update(file.as_os_str().as_encoded_bytes());
                add_file(&mut context, &file);
            }
        }
        Fingerprint(context.finish())
    }
}

/// A pipe or a device would be read for ever.
fn add_file(context: &mut Context, file: &Path) {
    let regular = fs::metadata(file).is_ok_and(|metadata| metadata.is_file());
    let content = regular.then(|| fs::read(file).ok()).flatten();
    add(context, &Zeroizing::new(content.unwrap_or_default()));
}

fn add(context: &mut Context, content: &[u8]) {
    context.update(&content.len().to_le_bytes());
    context.update(content);
}

impl PartialEq for Fingerprint {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_ref() == other.0.as_ref()
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}
