//! Where something stands in the files or in what the cloud sent.

use std::fmt;
use std::path::Path;
use std::rc::Rc;

use crate::config::model::Owner;

/// Where something stands.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Span {
    /// The file, as it was named.
    pub(crate) file: Rc<Path>,
    /// The line, from 1; `None` for a file as a whole.
    pub(crate) line: Option<usize>,
    /// Whether the text came from the cloud: nothing there may name a file or refer to a secret.
    pub(crate) cloud: bool,
}

impl Span {
    /// A file of this machine as a whole.
    pub(crate) fn of_file(file: &Path) -> Self {
        Self {
            file: file.into(),
            line: None,
            cloud: false,
        }
    }

    /// Who wrote what stands there.
    pub(crate) fn owner(&self) -> Owner {
        match self.cloud {
            true => Owner::Cloud,
            false => Owner::Local,
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}
