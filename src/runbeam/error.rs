//! What can go wrong: one error for the whole SDK.
//!
//! Its text is for a log or an operator. A service that answers clients of its own decides by the
//! methods, not by the text.

use std::error::Error;
use std::time::Duration;

/// Why a call, a token or a store failed. No token, secret or body of an answer is in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunbeamError {
    /// An address that is not used.
    #[error("the address {address:?} {problem}")]
    Address {
        /// The address, without user name, password and query.
        address: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Something on this machine stands in the way of every call: no HTTP client can be made, for
    /// want of certificates of the system for instance. Says what, and why.
    #[error("{0}")]
    Setup(String),
    /// The cloud renewed a machine token with one for another gateway, which is not used.
    #[error(
        "the cloud answered with a machine token for gateway {given:?}, not for {expected:?}: it is not used"
    )]
    OtherGateway {
        /// The id of the gateway that the old token is for.
        expected: String,
        /// The id of the gateway that the new one is for.
        given: String,
    },
    /// Nobody can tell which gateway a bare machine token is for.
    #[error(
        "RUNBEAM_MACHINE_TOKEN: the cloud knows {count} gateways and none named {instance}: set proxy.id to the gateway's code, or give the token as JSON with its gateway_id"
    )]
    UnknownGateway {
        /// How many gateways the token may see.
        count: usize,
        /// The name that was looked for, `proxy.id`.
        instance: String,
    },
    /// A token that no `Authorization` header can carry. Nothing was sent.
    #[error("the token is empty, or holds characters that no header can carry")]
    UnusableToken,
    /// An id that no path can name. Nothing was sent.
    #[error("{0:?} is no id")]
    UnusableId(
        /// The id.
        String,
    ),
    /// The network failed.
    #[error("{call}: cannot reach the cloud: {cause}")]
    Unreachable {
        /// What was asked of the cloud.
        call: &'static str,
        /// What the system says.
        cause: String,
        /// Whether the connection stood: then the cloud may have carried the call out.
        connected: bool,
    },
    /// The time limit passed.
    #[error("{call}: no answer from the cloud within {} s", .limit.as_secs_f32())]
    TimedOut {
        /// What was asked of the cloud.
        call: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// The cloud refused or failed.
    #[error("{call}: the cloud answered {status}{}", said(.message))]
    Status {
        /// What was asked of the cloud.
        call: &'static str,
        /// The status code.
        status: u16,
        /// What the cloud said about it, in at most 300 characters, none of them a control
        /// character. Empty: nothing. Not for third parties.
        message: String,
        /// `Retry-After`, at most an hour.
        retry_after: Option<Duration>,
    },
    /// The cloud answered something else than the API says.
    #[error("{call}: the answer of the cloud {problem}")]
    Answer {
        /// What was asked of the cloud.
        call: &'static str,
        /// What is wrong with the answer.
        problem: String,
    },
    /// A user's token does not pass.
    #[error("the user token is refused: {0}")]
    UserToken(#[from] UserTokenProblem),
    /// The keys for a user's token cannot be had, so that nothing is known about the token.
    #[error("the key set {url} cannot be had: {cause}")]
    KeySet {
        /// Where they should have come from.
        url: String,
        /// Why they did not.
        cause: String,
        /// Whether it was for want of an answer in time.
        timed_out: bool,
        /// After which another try may end differently.
        retry_after: Option<Duration>,
    },
    /// The secret for HS256 cannot be used.
    #[error(
        "the secret for HS256 user tokens (RUNBEAM_JWT_SECRET) has {length} bytes; at least {least} are needed"
    )]
    ShortSecret {
        /// How long it is.
        length: usize,
        /// How long it would have to be.
        least: usize,
    },
    /// A token store failed.
    #[error("token store: {0}")]
    Store(#[source] Box<dyn Error + Send + Sync>),
}

/// Why a user's token does not pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UserTokenProblem {
    /// `iss` is absent, or no trusted issuer.
    #[error("its issuer {issuer:?} is not trusted; trusted are {}", .trusted.join(", "))]
    UntrustedIssuer {
        /// What it names, in at most 100 characters.
        issuer: String,
        /// The origins that are trusted.
        trusted: Vec<String>,
    },
    /// It is signed with a shared secret, and none is there.
    #[error(
        "it is signed with HS256, which is accepted only while RUNBEAM_JWT_SECRET is set to the secret that the cloud signs with"
    )]
    NoSecret,
    /// Anything else.
    #[error("{0}")]
    Invalid(
        /// A stable label in snake case: `malformed`, `wrong_algorithm`, `bad_signature`,
        /// `expired`, `not_yet_valid`, `unknown_kid`, `claim_missing`, ...
        &'static str,
    ),
}

impl RunbeamError {
    /// The status code that the cloud answered, if this is about one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the cloud does not accept the token: 401 or 403.
    pub fn is_rejected(&self) -> bool {
        matches!(self.status(), Some(401 | 403))
    }

    /// Whether a user's token was refused here, without the cloud: the answer to whoever presented
    /// it is 401.
    pub fn is_bad_user_token(&self) -> bool {
        matches!(
            self,
            Self::UserToken(_) | Self::ShortSecret { .. } | Self::UnusableToken
        )
    }

    /// Whether there was no answer in time, for a call or for a key set.
    pub fn is_timeout(&self) -> bool {
        matches!(
            self,
            Self::TimedOut { .. }
                | Self::KeySet {
                    timed_out: true,
                    ..
                }
        )
    }

    /// Whether the cloud or its key set could not be reached, for another reason than time.
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::KeySet {
                    timed_out: false,
                    ..
                }
        )
    }

    /// After which time another try may end differently, if the cloud said so; at most an hour.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } | Self::KeySet { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// What the cloud said about a status: for a log, not for third parties.
    pub fn cloud_message(&self) -> Option<&str> {
        match self {
            Self::Status { message, .. } if !message.is_empty() => Some(message),
            _ => None,
        }
    }
}

fn said(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    }
}
