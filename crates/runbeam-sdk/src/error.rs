//! What can go wrong: one error for the whole SDK.
//!
//! Its text is for a log or an operator. A service that answers clients of its own decides by the
//! variants and methods, not by the text.

use std::time::Duration;

use super::store::StorageError;
use super::validation::ValidationError;

/// Why a call, a token or a store failed. No token, secret or body of a response is in it.
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
    /// No HTTP client can be made, for want of the system's root certificates for instance. Says
    /// what failed, and why.
    #[error("{0}")]
    Setup(String),
    /// A call of the API failed.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// A user's token does not pass.
    #[error("the user token is refused: {0}")]
    JwtValidation(#[from] JwtError),
    /// The keys for a user's token cannot be fetched, so that nothing is known about the token.
    #[error("the key set {url} is not available: {cause}")]
    KeySet {
        /// Where they should have come from.
        url: String,
        /// Why they did not.
        cause: String,
        /// Whether it was for want of a response in time.
        timed_out: bool,
        /// After which another attempt may end differently.
        retry_after: Option<Duration>,
    },
    /// The secret for HS256 cannot be used.
    #[error(
        "the secret for HS256 user tokens (RUNBEAM_JWT_SECRET) has {length} bytes; at least \
         {minimum} are needed"
    )]
    ShortSecret {
        /// How long it is.
        length: usize,
        /// How long it would have to be.
        minimum: usize,
    },
    /// A token store failed.
    #[error("token store: {0}")]
    Storage(#[source] Box<StorageError>),
    /// A document does not pass its schema.
    #[error(transparent)]
    Validation(#[from] ValidationError),
}

/// Why a call of the API failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// A token that no `Authorization` header can carry. Nothing was sent.
    #[error("the token is empty, or holds characters that no header can carry")]
    InvalidToken,
    /// An id that no path can name. Nothing was sent.
    #[error("{0:?} is no id")]
    InvalidId(
        /// The id.
        String,
    ),
    /// The network failed.
    #[error("{call}: cannot reach the cloud: {cause}")]
    Network {
        /// The call: `authorize`, `list gateways`, ...
        call: &'static str,
        /// What the system says.
        cause: String,
        /// Whether the connection stood: then the cloud may have carried the call out.
        connected: bool,
    },
    /// The time limit passed.
    #[error("{call}: no answer from the cloud within {} s", .limit.as_secs_f32())]
    TimedOut {
        /// The call.
        call: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// The cloud refused or failed.
    #[error("{call}: the cloud answered {status}{}", suffix(.message))]
    Http {
        /// The call.
        call: &'static str,
        /// The status code.
        status: u16,
        /// What the cloud said about it, in at most 300 characters, none of them a control
        /// character. Empty: nothing. Not for third parties.
        message: String,
        /// `Retry-After`, at most an hour.
        retry_after: Option<Duration>,
    },
    /// The response is not what the API promises.
    #[error("{call}: the answer of the cloud {problem}")]
    Parse {
        /// The call.
        call: &'static str,
        /// What is wrong with the response.
        problem: String,
    },
}

/// Why a user's token does not pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwtError {
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
        "it is signed with HS256, which is accepted only while RUNBEAM_JWT_SECRET is set to the \
         secret that the cloud signs with"
    )]
    NoSecret,
    /// An `Authorization` header that holds no Bearer token.
    #[error("the Authorization header is not `Bearer` and one token")]
    NotBearer,
    /// Anything else.
    #[error("{0}")]
    Invalid(
        /// A stable label in snake case: `malformed`, `wrong_algorithm`, `bad_signature`,
        /// `expired`, `not_yet_valid`, `unknown_kid`, `claim_missing`, ...
        &'static str,
    ),
}

impl RunbeamError {
    /// The status code of the cloud's response, if this is about one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Api(ApiError::Http { status, .. }) => Some(*status),
            _ => None,
        }
    }

    /// Whether the cloud does not accept the token: 401 or 403.
    pub fn is_rejected(&self) -> bool {
        matches!(self.status(), Some(401 | 403))
    }

    /// Whether a user's token was refused here, without the cloud: whoever presented it is answered
    /// with 401.
    pub fn is_bad_user_token(&self) -> bool {
        matches!(
            self,
            Self::JwtValidation(_) | Self::ShortSecret { .. } | Self::Api(ApiError::InvalidToken)
        )
    }

    /// Whether no response came in time, for a call or for a key set.
    pub fn is_timeout(&self) -> bool {
        matches!(
            self,
            Self::Api(ApiError::TimedOut { .. })
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
            Self::Api(ApiError::Network { .. })
                | Self::KeySet {
                    timed_out: false,
                    ..
                }
        )
    }

    /// Whether the response was not what the API promises.
    pub fn is_malformed_response(&self) -> bool {
        matches!(self, Self::Api(ApiError::Parse { .. }))
    }

    /// After which time another attempt may end differently, if the cloud said so; at most an hour.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Api(ApiError::Http { retry_after, .. }) | Self::KeySet { retry_after, .. } => {
                *retry_after
            }
            _ => None,
        }
    }

    /// The cloud's own message about a status: for a log, not for third parties.
    pub fn cloud_message(&self) -> Option<&str> {
        match self {
            Self::Api(ApiError::Http { message, .. }) if !message.is_empty() => Some(message),
            _ => None,
        }
    }
}

impl From<StorageError> for RunbeamError {
    fn from(error: StorageError) -> Self {
        Self::Storage(Box::new(error))
    }
}

fn suffix(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    }
}
