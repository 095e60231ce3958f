//! A call to be made, and the errors that name it.

use http::Method;
use jose::with_causes;
use serde_json::Value;

use crate::error::{ApiError, RunbeamError};

/// A call to be made.
pub(super) struct Request {
    pub(super) call: &'static str,
    pub(super) method: Method,
    /// Below the root, with its query.
    pub(super) path: String,
    pub(super) body: Option<Value>,
    idempotent: bool,
}

impl Request {
    /// An idempotent call.
    pub(super) fn new(call: &'static str, method: Method, path: impl Into<String>) -> Self {
        Self {
            call,
            method,
            path: path.into(),
            body: None,
            idempotent: true,
        }
    }

    pub(super) fn get(call: &'static str, path: impl Into<String>) -> Self {
        Self::new(call, Method::GET, path)
    }

    /// An idempotent POST.
    pub(super) fn post(call: &'static str, path: impl Into<String>) -> Self {
        Self::new(call, Method::POST, path)
    }

    /// A POST that makes something, each time anew: not idempotent.
    pub(super) fn creating(call: &'static str, path: impl Into<String>) -> Self {
        let idempotent = false;
        Self {
            idempotent,
            ..Self::post(call, path)
        }
    }

    pub(super) fn with(self, body: Value) -> Self {
        let body = Some(body);
        Self { body, ..self }
    }

    pub(super) fn is_idempotent(&self) -> bool {
        self.idempotent
    }

    /// A response with a problem.
    pub(super) fn malformed(&self, problem: String) -> RunbeamError {
        ApiError::Parse {
            call: self.call,
            problem,
        }
        .into()
    }

    pub(super) fn network_error(&self, error: &reqwest::Error) -> RunbeamError {
        let (call, connected) = (self.call, !error.is_connect());
        ApiError::Network {
            call,
            cause: with_causes(error),
            connected,
        }
        .into()
    }
}
