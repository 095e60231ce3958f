//! What is wrong with a configuration, where, and what to do about it.
//!
//! Not here: how errors are found (the readers) or shown (the command line). An error never holds
//! the value of a secret or of a filled-in reference.

use std::fmt;
use std::path::{Path, PathBuf};

use super::KeyPath;

/// One thing that is wrong with a configuration.
///
/// Shown as `FILE:LINE: KEY.PATH: what is wrong; what to do`, leaving out what is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    file: Option<PathBuf>,
    line: Option<usize>,
    key: KeyPath,
    kind: ErrorKind,
    help: Option<String>,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A file is not there or cannot be read.
    #[error("{what} cannot be read: {why}")]
    Unreadable {
        /// The file, or what it is.
        what: String,
        /// The system's reason.
        why: String,
    },
    /// The text is not TOML.
    #[error("{0}")]
    Syntax(String),
    /// A key that nothing reads.
    #[error("unknown key {0:?}")]
    UnknownKey(String),
    /// A name that nothing bears.
    #[error("unknown {what} {name}")]
    UnknownName {
        /// What it should name: `network`, `backend`, `step type`.
        what: &'static str,
        /// The name, quoted, or a word for one that was filled in.
        name: String,
    },
    /// A key that has to be there.
    #[error("is missing")]
    Missing,
    /// A value of another type.
    #[error("expected {expected}, found {found}")]
    WrongType {
        /// The type that it should have.
        expected: &'static str,
        /// The type that it has.
        found: &'static str,
    },
    /// A number outside its range.
    #[error("must be from {min} to {max}")]
    OutOfRange {
        /// The least that is allowed.
        min: i64,
        /// The most that is allowed.
        max: i64,
    },
    /// Known, and to come in a later version.
    #[error("{0} is not served by this version")]
    NotServed(String),
    /// Known, and nothing that an HTTP edge will ever do.
    #[error("{0} is not something that an HTTP edge does")]
    Foreign(String),
    /// Two files, or two spellings, give the same thing.
    #[error("{what} is defined twice: also at {other}")]
    DefinedTwice {
        /// What it is.
        what: String,
        /// The other place.
        other: String,
    },
    /// `${NAME}` without a default, and the environment does not have it.
    #[error("environment variable {0} is not set")]
    UnsetVariable(String),
    /// Anything else, as a sentence.
    #[error("{0}")]
    Other(String),
}

impl From<String> for ErrorKind {
    fn from(sentence: String) -> Self {
        Self::Other(sentence)
    }
}

impl From<&str> for ErrorKind {
    fn from(sentence: &str) -> Self {
        Self::Other(sentence.to_owned())
    }
}

impl Error {
    /// An error at a key path (which may be empty), with no place in a file yet.
    pub fn new(key: impl Into<KeyPath>, kind: impl Into<ErrorKind>) -> Self {
        Self {
            file: None,
            line: None,
            key: key.into(),
            kind: kind.into(),
            help: None,
        }
    }

    /// The same, in a file, at a line that counts from 1.
    #[must_use]
    pub fn at(mut self, file: impl Into<PathBuf>, line: Option<usize>) -> Self {
        self.file = Some(file.into());
        self.line = line;
        self
    }

    /// The same, with what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The file, if it is known.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The line, from 1, if it is known.
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// The key path; empty for a whole file.
    pub fn key(&self) -> &KeyPath {
        &self.key
    }

    /// What is wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}", file.display())?;
            if let Some(line) = self.line {
                write!(f, ":{line}")?;
            }
            f.write_str(": ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}", self.kind)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// What was read does not make a configuration.
#[derive(Debug)]
pub struct LoadError {
    /// Everything that is wrong.
    pub errors: Errors,
    /// Every file that was read or named, for the watcher.
    pub files: Vec<PathBuf>,
    /// The pipelines directory.
    pub pipelines_dir: Option<PathBuf>,
}

/// Every error of one run. Shown one per line, without a newline at the end.
///
/// What [`load`](crate::config::load) returns is never empty; who collects their own says
/// [`Errors::into_result`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errors(Vec<Error>);

impl Errors {
    /// `value` if there is no error.
    ///
    /// # Errors
    ///
    /// `self`, if it holds any.
    pub fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The errors, in the order of the files and lines.
    pub fn iter(&self) -> std::slice::Iter<'_, Error> {
        self.0.iter()
    }
}

impl From<Error> for Errors {
    fn from(error: Error) -> Self {
        Self(vec![error])
    }
}

impl FromIterator<Error> for Errors {
    fn from_iter<I: IntoIterator<Item = Error>>(errors: I) -> Self {
        Self(errors.into_iter().collect())
    }
}

impl IntoIterator for Errors {
    type Item = Error;
    type IntoIter = std::vec::IntoIter<Error>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Errors {
    type Item = &'a Error;
    type IntoIter = std::slice::Iter<'a, Error>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_one_line() {
        let whole = Error::new(["a", "b"], "is odd")
            .at("x.toml", Some(3))
            .help("make it even");
        assert_eq!(whole.to_string(), "x.toml:3: a.b: is odd; make it even");
        assert_eq!(Error::new([], ErrorKind::Missing).to_string(), "is missing");
        assert_eq!(
            Error::new(["k"], "odd").at("x.toml", None).to_string(),
            "x.toml: k: odd"
        );
    }

    #[test]
    fn errors_are_one_per_line() {
        let errors = Errors::from_iter([Error::new(["a"], "x"), Error::new(["b"], "y")]);
        assert_eq!(errors.to_string(), "a: x\nb: y");
        assert_eq!(errors.clone().into_result(()), Err(errors));
        assert_eq!(Errors::from_iter([]).into_result(1), Ok(1));
    }
}
