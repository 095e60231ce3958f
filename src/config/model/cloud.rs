//! What Runbeam Cloud added to a configuration, and what of it does not serve.

use std::fmt;
use std::sync::Arc;

use super::{Error, Errors, KeyPath};

/// What the cloud added to a configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cloud {
    /// Names of pipelines that came from the cloud and serve.
    pub pipelines: Vec<Arc<str>>,
    /// What does not serve.
    pub set_aside: Vec<SetAside>,
}

/// A part of a change that does not serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// The change that brought it.
    pub change: String,
    /// The table: `pipelines.api`; empty for the whole text.
    pub entry: KeyPath,
    /// Why.
    pub errors: Vec<Error>,
    /// Whether nothing is wrong with it but that it refers to something that was set aside.
    pub follows: bool,
}

impl SetAside {
    /// A whole change.
    pub(crate) fn whole(change: &str, errors: Errors) -> Self {
        Self {
            change: change.to_owned(),
            entry: KeyPath::default(),
            errors: errors.into_iter().collect(),
            follows: false,
        }
    }
}

impl fmt::Display for SetAside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&change_name(&self.change))?;
        if !self.entry.is_empty() {
            write!(f, ", {}", self.entry)?;
        }
        f.write_str(": set aside")?;
        for error in &self.errors {
            write!(f, "; {error}")?;
        }
        Ok(())
    }
}

/// What stands for the file's name in errors. An id is the cloud's word, and ends up in logs.
pub(crate) fn change_name(id: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "-_.:".contains(c) {
            c
        } else {
            '?'
        }
    };
    let id: String = id.chars().take(64).map(plain).collect();
    format!("cloud change {id}")
}
