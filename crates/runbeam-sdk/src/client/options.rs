//! How a client behaves, and why one cannot be used.

use std::time::Duration;

use crate::error::RunbeamError;

/// How a [`super::RunbeamClient`] behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientOptions {
    /// The limit of a call with everything that belongs to it. Default 30 s.
    pub timeout: Duration,
    /// The limit of making a connection. Default 5 s.
    pub connect_timeout: Duration,
    /// The most attempts of a call, at least one. Default 3.
    pub attempts: u32,
    /// Whether any certificate will do. Only for a cloud on this machine (`localhost`,
    /// `127.0.0.0/8`, `::1`); with another address it is an error. Default false.
    pub accept_invalid_certs: bool,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            attempts: 3,
            accept_invalid_certs: false,
        }
    }
}

/// Why a client cannot be used: kept until the first call asks.
#[derive(Debug, Clone)]
pub(super) enum SetupFailure {
    Address {
        address: String,
        problem: &'static str,
    },
    Setup(String),
}

impl From<&SetupFailure> for RunbeamError {
    fn from(failure: &SetupFailure) -> Self {
        match failure.clone() {
            SetupFailure::Address { address, problem } => Self::Address { address, problem },
            SetupFailure::Setup(cause) => Self::Setup(cause),
        }
    }
}

impl From<RunbeamError> for SetupFailure {
    fn from(error: RunbeamError) -> Self {
        match error {
            RunbeamError::Address { address, problem } => Self::Address { address, problem },
            other => Self::Setup(other.to_string()),
        }
    }
}
