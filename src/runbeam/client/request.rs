//! A call to be made, and the errors that name it.

use http::Method;
use serde_json::Value;

use crate::auth::with_causes;
use crate::runbeam::error::RunbeamError;

/// A call to be made.
pub(super) struct Request {
    pub(super) call: &'static str,
    pub(super) method: Method,
    /// Below the root, with its query.
    pub(super) path: String,
    pub(super) body: Option<Value>,
    repeatable: bool,
}

impl Request {
    /// A call that may be made twice: the second time changes nothing.
    pub(super) fn new(call: &'static str, method: Method, path: impl Into<String>) -> Self {
        Self {
            call,
            method,
            path: path.into(),
            body: None,
            repeatable: true,
        }
    }

    pub(super) fn get(call: &'static str, path: impl Into<String>) -> Self {
        Self::new(call, Method::GET, path)
    }

    /// A POST that may be made twice.
    pub(super) fn post(call: &'static str, path: impl Into<String>) -> Self {
        Self::new(call, Method::POST, path)
    }

    /// A POST that makes something, each time anew.
    pub(super) fn creating(call: &'static str, path: impl Into<String>) -> Self {
        let repeatable = false;
        Self {
            repeatable,
            ..Self::post(call, path)
        }
    }

    pub(super) fn with(self, body: Value) -> Self {
        let body = Some(body);
        Self { body, ..self }
    }

    pub(super) fn is_repeatable(&self) -> bool {
        self.repeatable
    }

    /// An answer with a problem.
    pub(super) fn unusable(&self, problem: String) -> RunbeamError {
        RunbeamError::Answer {
            call: self.call,
            problem,
        }
    }

    pub(super) fn unreachable(&self, error: &reqwest::Error) -> RunbeamError {
        RunbeamError::Unreachable {
            call: self.call,
            cause: with_causes(error),
            connected: !error.is_connect(),
        }
    }
}
