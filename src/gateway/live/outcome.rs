//! How the configuration stands, and how a try to change it ended.

use std::path::PathBuf;
use std::time::SystemTime;

use crate::config::Errors;
use crate::gateway::Diff;

/// How the configuration stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigStatus {
    /// Grows with every configuration that was put in service; the first is 1.
    pub generation: u64,
    /// Where the configuration that serves came from: `file`, or `file+cloud`.
    pub source: &'static str,
    /// When the configuration that serves was put in service.
    pub applied_at: SystemTime,
    /// When a change was last tried; before the first, when the process began to serve.
    pub tried_at: SystemTime,
    /// Why the last change was refused; `None` after one that was not.
    pub last_error: Option<String>,
    /// The same, one sentence for each thing that was wrong.
    pub last_errors: Vec<String>,
    /// How the changes so far ended.
    pub reloads: Reloads,
}

/// Counts of reloads and of other changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reloads {
    /// Put another configuration in service.
    pub reloaded: u64,
    /// Found nothing changed.
    pub unchanged: u64,
    /// Were refused.
    pub refused: u64,
}

/// How a change ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Reload {
    /// Nothing of what serves has changed.
    Unchanged,
    /// The new configuration serves.
    Reloaded(Diff),
}

/// Why a change was rejected. The previous configuration stays in service.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] Errors),
    /// Something changed that a running process cannot change.
    #[error(
        "restart required: {} changed; nothing was applied; to change it without losing a \
         request, start a new process with --upgrade, or send SIGUSR2 to this one",
        .0.join(", ")
    )]
    RestartRequired(Vec<String>),
    /// What the cloud sent cannot be kept, so a restart would lose it.
    #[error("it cannot be kept in {}: {source}", .path.display())]
    NotKept {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl ReloadError {
    /// One sentence for each thing that is wrong.
    pub fn details(&self) -> Vec<String> {
        match self {
            Self::Config(errors) => errors.iter().map(ToString::to_string).collect(),
            other => vec![other.to_string()],
        }
    }
}
