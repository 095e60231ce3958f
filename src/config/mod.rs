//! Configuration: text, then what the user wrote with its place, then what the program uses.
//!
//! `reader` turns the main file and its pipelines directory into values with their places, `tables`
//! reads each table of them into the types of `model`, `cloud` merges what Runbeam Cloud sent into
//! the local document, and is the way back (`cloud::upload`). Every error is collected; nothing
//! stops at the first one. Not here: key files and key sets (the auth room), and anything that
//! listens.

mod cloud;
mod model;
mod reader;
mod tables;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use cloud::{CloudText, Upload};
pub(crate) use model::change_name;
pub use model::*;
pub use reader::{Environment, Local, ProcessEnvironment, toml_files};
pub(crate) use tables::{bcrypt_hash, is_subject};

/// Reads, fills in and checks the file at `path` and its pipelines directory.
///
/// # Errors
///
/// Every error in them, in the order of files and lines. A file that is not TOML counts by its
/// syntax errors only.
pub fn load(path: &Path, env: &dyn Environment) -> Result<Config, Errors> {
    alone(load_with(path, env, Local::default(), &[]))
}

/// The same for a text at hand, as if it stood in a file at `path`.
///
/// # Errors
///
/// As [`load`].
pub fn parse(path: &Path, text: &str, env: &dyn Environment) -> Result<Config, Errors> {
    alone(load_with(path, env, Local::of(path, text), &[]))
}

fn load_with(
    path: &Path,
    env: &dyn Environment,
    local: Local,
    texts: &[CloudText<'_>],
) -> Result<(Config, Local), LoadError> {
    let (config, local) = tables::load(path, env, local)?;
    if texts.is_empty() {
        return Ok((config, local));
    }
    let config = cloud::merge(path, env, &local, config, texts);
    Ok((config, local))
}

/// The configuration or its errors, without what only a reload needs.
fn alone(loaded: Result<(Config, Local), LoadError>) -> Result<Config, Errors> {
    loaded
        .map(|(config, _)| config)
        .map_err(|failed| failed.errors)
}

/// Where the local configuration is read from. Cheap to clone.
#[derive(Clone)]
pub struct Source {
    path: Arc<Path>,
    text: Option<Arc<str>>,
    env: Arc<dyn Environment + Send + Sync>,
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
    /// As [`load`].
    pub fn load(&self) -> Result<Config, Errors> {
        alone(self.read(&[]))
    }

    /// Where the Management API answers, whatever is to be said of the rest of the configuration.
    /// `None`: it is off.
    ///
    /// # Errors
    ///
    /// The file is not TOML, or what it says of this is wrong.
    pub fn management_address(&self) -> Result<Option<ManagementAddress>, Errors> {
        tables::load_management_address(&self.path, &*self.env, self.local())
    }

    /// The local files as they are now, with what the cloud adds, and their texts. Entries of the
    /// cloud that cannot serve are set aside ([`Config::cloud`]).
    ///
    /// # Errors
    ///
    /// Every error of the local files; never one of the cloud's.
    pub fn read(&self, cloud: &[CloudText<'_>]) -> Result<(Config, Local), LoadError> {
        load_with(&self.path, &*self.env, self.local(), cloud)
    }

    /// The text, if it is at hand.
    fn local(&self) -> Local {
        match &self.text {
            Some(text) => Local::of(&self.path, text),
            None => Local::default(),
        }
    }

    /// The same with texts that were read before.
    ///
    /// # Errors
    ///
    /// As [`Source::read`]: the environment and the files that the texts name may have changed.
    pub fn read_again(&self, local: &Local, cloud: &[CloudText<'_>]) -> Result<Config, LoadError> {
        load_with(&self.path, &*self.env, local.clone(), cloud).map(|(config, _)| config)
    }

    /// The local texts as one, for the cloud: references as they are written.
    ///
    /// # Errors
    ///
    /// The key path of every secret that stands in the files as it is, and of what one text cannot
    /// hold.
    pub fn upload(&self, local: &Local) -> Result<Upload, Errors> {
        cloud::upload(&self.path, &*self.env, local.clone())
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.path).finish()
    }
}
