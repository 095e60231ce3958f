//! Why a request goes no further, and everything that the response to it depends on.

use http::header::{ALLOW, HeaderName, LOCATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Method};

use super::head::{Head, HeadError};
use crate::auth::{Denial, ProofError, Reason};
use crate::gateway::PathError;
use crate::policy;

/// Why a request is not forwarded, or why that failed.
#[derive(Debug)]
pub(crate) struct Rejection {
    pub(crate) status: u16,
    /// Stable label for logs and metrics; never sent.
    pub(crate) reason: &'static str,
    /// Empty: the response has no body.
    pub(crate) message: &'static str,
    /// Challenges, `Allow`, `Location`.
    pub(crate) fields: Vec<(HeaderName, HeaderValue)>,
    pub(crate) retry_after: Option<u32>,
    /// What the client's next proof has to hold (RFC 9449 section 8).
    pub(crate) dpop_nonce: Option<HeaderValue>,
    pub(crate) close: bool,
    /// What exactly is wrong with the head or the path; never sent either.
    pub(crate) cause: Option<Cause>,
}

#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(crate) enum Cause {
    #[error(transparent)]
    Head(HeadError),
    #[error(transparent)]
    Path(PathError),
}

impl Rejection {
    fn new(status: u16, reason: &'static str, message: &'static str) -> Self {
        Self {
            status,
            reason,
            message,
            fields: Vec::new(),
            retry_after: None,
            dpop_nonce: None,
            close: false,
            cause: None,
        }
    }

    pub(crate) fn not_found() -> Self {
        Self::new(404, "no_route", "nothing is served here")
    }

    /// The same place by https; 443 is not named.
    pub(crate) fn redirect_to_https(head: &Head, port: u16) -> Self {
        let mut url = format!("https://{}", head.written_host()).into_bytes();
        if port != 443 {
            url.extend_from_slice(format!(":{port}").as_bytes());
        }
        url.extend_from_slice(&head.path);
        if let Some(query) = &head.query {
            url.push(b'?');
            url.extend_from_slice(query);
        }
        match HeaderValue::from_bytes(&url) {
            Ok(location) => Self {
                fields: vec![(LOCATION, location)],
                ..Self::new(301, "force_https", "")
            },
            Err(_) => Self::bad_request("target"),
        }
    }

    pub(crate) fn method_not_allowed(allowed: &[&Method]) -> Self {
        let allow = allowed
            .iter()
            .map(|method| method.as_str())
            .collect::<Vec<_>>()
            .join(", ");
        let allow = HeaderValue::from_str(&allow).ok();
        Self {
            fields: allow.into_iter().map(|allow| (ALLOW, allow)).collect(),
            ..Self::new(405, "method", "the method is not served here")
        }
    }

    pub(crate) fn body_too_large() -> Self {
        Self {
            close: true,
            ..Self::new(
                413,
                "body_too_large",
                "the body is larger than this endpoint accepts",
            )
        }
    }

    /// It has gone on until a credential ended that let it in.
    pub(crate) fn credential_ended() -> Self {
        Self {
            close: true,
            ..Self::new(401, "credential_ended", "a valid credential is required")
        }
    }

    /// Pages of the origin that a preflight comes from may not use the pipeline.
    pub(crate) fn origin_not_allowed() -> Self {
        Self::new(403, "cors_origin", "the origin is not allowed")
    }

    /// It expects what is not known here (RFC 9110 section 15.5.18).
    pub(crate) fn unknown_expectation() -> Self {
        Self::new(417, "expectation", "the expectation is not known")
    }

    pub(crate) fn body_timeout() -> Self {
        Self {
            close: true,
            ..Self::new(408, "body_timeout", "the body did not arrive in time")
        }
    }

    /// The client has as many in progress as it may.
    pub(crate) fn too_many_in_progress() -> Self {
        Self {
            retry_after: Some(1),
            ..Self::new(429, "too_many_in_progress", "too many concurrent requests")
        }
    }

    /// Upstreams may be at too many requests that the client has given up.
    pub(crate) fn too_many_cancelled() -> Self {
        Self {
            retry_after: Some(5),
            ..Self::new(
                429,
                "given_up_too_often",
                "too many requests were cancelled",
            )
        }
    }

    /// A logout token that does not pass.
    pub(crate) fn invalid_logout_token() -> Self {
        Self::new(400, "invalid_logout_token", "the logout token is not valid")
    }

    /// Too many posts from one address did not pass.
    pub(crate) fn too_many_failures(seconds: u32) -> Self {
        Self {
            retry_after: Some(seconds),
            ..Self::new(429, "too_many_failures", "too many invalid tokens")
        }
    }

    /// What was revoked cannot be verified or kept now.
    pub(crate) fn cannot_revoke(seconds: u32) -> Self {
        Self {
            retry_after: Some(seconds),
            ..Self::new(503, "cannot_revoke", "the revocation cannot be taken now")
        }
    }

    pub(crate) fn bad_request(reason: &'static str) -> Self {
        Self {
            close: true,
            ..Self::new(400, reason, "the request is malformed")
        }
    }

    /// Nobody may be there to read it.
    pub(crate) fn client_gone() -> Self {
        Self {
            close: true,
            ..Self::new(408, "client_gone", "the client closed the connection")
        }
    }

    pub(crate) fn internal_error() -> Self {
        Self::new(500, "internal_error", "the request could not be processed")
    }

    pub(crate) fn bad_gateway(reason: &'static str) -> Self {
        Self::new(
            502,
            reason,
            "the upstream could not be reached or sent no valid response",
        )
    }

    pub(crate) fn upstream_unresolved() -> Self {
        Self {
            retry_after: Some(1),
            ..Self::new(
                503,
                "upstream_unresolved",
                "the address of the upstream is not known yet",
            )
        }
    }

    /// The upstream refused the request, each time that it was sent, without processing it.
    pub(crate) fn upstream_busy() -> Self {
        Self {
            retry_after: Some(1),
            ..Self::new(503, "upstream_refused", "the upstream refused the request")
        }
    }

    pub(crate) fn too_many_connections(reason: &'static str) -> Self {
        Self {
            retry_after: Some(1),
            ..Self::new(503, reason, "too many connections")
        }
    }

    pub(crate) fn upstreams_drained() -> Self {
        Self {
            retry_after: Some(1),
            ..Self::new(503, "upstreams_drained", "the service is being changed")
        }
    }

    pub(crate) fn gateway_timeout(reason: &'static str) -> Self {
        Self::new(504, reason, "the upstream took too long")
    }
}

impl From<HeadError> for Rejection {
    fn from(error: HeadError) -> Self {
        let message = match error {
            HeadError::TooLarge => "the header is too large",
            _ => "the request is malformed",
        };
        Self {
            close: true,
            cause: Some(Cause::Head(error)),
            ..Self::new(error.status(), error.reason(), message)
        }
    }
}

impl From<PathError> for Rejection {
    fn from(error: PathError) -> Self {
        Self {
            cause: Some(Cause::Path(error)),
            ..Self::bad_request("path")
        }
    }
}

impl From<Denial> for Rejection {
    fn from(denial: Denial) -> Self {
        let status = denial.status();
        let message = match status {
            _ if denial.reason() == Reason::Proof(ProofError::TooMany) => "too many requests",
            401 => "a valid credential is required",
            403 => "the credential does not permit this",
            503 => "the credential cannot be checked now",
            429 => "too many failed attempts",
            _ => "the credential is malformed",
        };
        let challenges = denial.challenges().iter();
        Self {
            fields: challenges
                .map(|challenge| (WWW_AUTHENTICATE, challenge.clone()))
                .collect(),
            retry_after: denial.retry_after(),
            dpop_nonce: denial.nonce().cloned(),
            ..Self::new(status, denial.reason().as_str(), message)
        }
    }
}

impl From<policy::Denial> for Rejection {
    fn from(denial: policy::Denial) -> Self {
        let (message, retry_after) = match denial {
            policy::Denial::ByPolicy => ("the request is not permitted", None),
            policy::Denial::RateLimited { retry_after } => ("too many requests", Some(retry_after)),
            policy::Denial::ConcurrencyLimited => ("too many concurrent requests", Some(1)),
            policy::Denial::ByPathFilter => ("", None),
        };
        Self {
            retry_after,
            ..Self::new(denial.status(), denial.as_str(), message)
        }
    }
}
