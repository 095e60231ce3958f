//! Why the server does not start.

use crate::auth::SharedError;
use crate::config;
use crate::gateway::RootsError;
use crate::telemetry::spans::SpanError;

use super::handover::TakeOverError;
use super::sockets::SocketError;

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration does not build.
    #[error("{0}")]
    Config(#[from] config::Errors),
    /// What authentication keeps for the life of the process cannot be made.
    #[error("{0}")]
    Shared(#[from] SharedError),
    /// The system's certificate authorities cannot be used.
    #[error("{0}")]
    Roots(#[from] RootsError),
    /// A listener's socket cannot be had.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// Spans cannot be exported as `[tracing]` has it.
    #[error(transparent)]
    Spans(#[from] SpanError),
    /// The running process did not hand its listeners over. It goes on.
    #[error(transparent)]
    TakeOver(#[from] TakeOverError),
}
