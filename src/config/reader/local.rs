//! The local files: where they are, and their texts as they were read.
//!
//! A change from the cloud is built on the texts that serve, so that a file that an operator is
//! just editing neither fails it nor goes live with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, fs, io};

use zeroize::Zeroizing;

use crate::config::cloud::upload;
use crate::config::model::{Config, Errors};
use crate::config::{CloudText, Environment, ProcessEnvironment, Upload, cloud};

/// Where the local configuration is read from. Cheap to clone.
#[derive(Clone)]
pub struct Source {
    path: Arc<Path>,
    text: Option<Arc<str>>,
    env: Arc<dyn Environment + Send + Sync>,
}

/// The texts of the local files, as one run of the loader read them.
#[derive(Clone, Default)]
pub struct Local {
    texts: BTreeMap<PathBuf, Zeroizing<String>>,
    listing: Option<Vec<PathBuf>>,
    complete: bool,
}

/// What was read does not make a configuration.
#[derive(Debug)]
pub struct Failed {
    /// Everything that is wrong.
    pub errors: Errors,
    /// Every file that was read or named, for the watcher.
    pub files: Vec<PathBuf>,
    /// The pipelines directory.
    pub pipelines_dir: Option<PathBuf>,
}

impl Source {
    /// A file, its pipelines directory, and the environment of the process.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into().into(),
            text: None,
            env: Arc::new(ProcessEnvironment),
        }
    }

    /// A text as if it stood in a file at `path`.
    pub fn text(path: impl Into<PathBuf>, text: &str) -> Self {
        Self {
            text: Some(text.into()),
            ..Self::file(path)
        }
    }

    /// The same with another environment.
    #[must_use]
    pub fn with_environment(mut self, env: impl Environment + Send + Sync + 'static) -> Self {
        self.env = Arc::new(env);
        self
    }

    /// The local files alone.
    ///
    /// # Errors
    ///
    /// As [`load`](super::load).
    pub fn load(&self) -> Result<Config, Errors> {
        self.read(&[])
            .map(|(config, _)| config)
            .map_err(|failed| failed.errors)
    }

    /// The local files as they are now, with what the cloud adds, and their texts. Entries of the
    /// cloud that cannot serve are set aside ([`Config::cloud`]).
    ///
    /// # Errors
    ///
    /// Every error of the local files; never one of the cloud's.
    pub fn read(&self, cloud: &[CloudText<'_>]) -> Result<(Config, Local), Failed> {
        let mut local = Local::default();
        if let Some(text) = &self.text {
            let text = Zeroizing::new(text.to_string());
            local.texts.insert(self.path.to_path_buf(), text);
        }
        cloud::load(&self.path, &*self.env, local, cloud)
    }

    /// The same with texts that were read before.
    ///
    /// # Errors
    ///
    /// As [`Source::read`]: the environment and the files that the texts name may have changed.
    pub fn read_again(&self, local: &Local, cloud: &[CloudText<'_>]) -> Result<Config, Failed> {
        cloud::load(&self.path, &*self.env, local.clone(), cloud).map(|(config, _)| config)
    }

    /// The local texts as one, for the cloud: references as they are written.
    ///
    /// # Errors
    ///
    /// The key path of every secret that stands in the files as it is, and of what one text cannot
    /// hold.
    pub fn upload(&self, local: &Local) -> Result<Upload, Errors> {
        upload::text(&self.path, &*self.env, local.clone())
    }
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

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.path).finish()
    }
}

/// Names only: the texts may hold secrets.
impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Local")
            .field(&self.texts.keys().collect::<Vec<_>>())
            .finish()
    }
}
