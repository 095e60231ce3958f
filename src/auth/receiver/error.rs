//! Why a post to a receiver is not accepted.

use jose::TokenError;

use crate::auth::outcome::{Class, Reason, Refusal};
use crate::auth::revocation::RevokeError;

/// After how many seconds a post that could not be kept may be tried again.
pub(super) const RETRY_AFTER: u32 = 60;

/// Why a post is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiveError {
    /// It is not what it should be.
    Invalid(Invalid),
    /// Too many posts from this address have failed: seconds until another try.
    TooManyFailures(u32),
    /// It cannot be verified or kept now.
    Unavailable {
        /// Seconds until another try.
        retry_after: u32,
        /// For the log.
        why: String,
    },
}

/// What is wrong with a post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The error code of RFC 8935 section 2.4.
    pub code: &'static str,
    /// For the log.
    pub why: String,
    /// Whether a transmitter signed it, who may tell of subjects that are unknown here: it is not
    /// counted as a failure, since the next one may be about a known subject.
    pub from_transmitter: bool,
}

impl Invalid {
    pub(super) fn request(why: impl Into<String>) -> Self {
        Self {
            code: "invalid_request",
            why: why.into(),
            from_transmitter: false,
        }
    }
}

impl ReceiveError {
    pub(super) fn unavailable(why: impl Into<String>) -> Self {
        Self::Unavailable {
            retry_after: RETRY_AFTER,
            why: why.into(),
        }
    }
}

impl From<Invalid> for ReceiveError {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

impl From<Refusal> for ReceiveError {
    fn from(refusal: Refusal) -> Self {
        let Refusal {
            reason,
            retry_after,
        } = refusal;
        let code = match reason {
            Reason::Token(TokenError::WrongIssuer) => "invalid_issuer",
            Reason::Token(TokenError::WrongAudience) => "invalid_audience",
            Reason::Token(
                TokenError::BadSignature | TokenError::UnknownKid | TokenError::WrongAlgorithm,
            ) => "invalid_key",
            reason if reason.class() == Class::Unavailable => {
                return Self::Unavailable {
                    retry_after: retry_after.unwrap_or(RETRY_AFTER),
                    why: reason.as_str().to_owned(),
                };
            }
            _ => "invalid_request",
        };
        Self::Invalid(Invalid {
            code,
            why: reason.as_str().to_owned(),
            from_transmitter: false,
        })
    }
}

impl From<TokenError> for ReceiveError {
    fn from(error: TokenError) -> Self {
        Refusal::from(error).into()
    }
}

impl From<RevokeError> for ReceiveError {
    fn from(error: RevokeError) -> Self {
        Self::unavailable(error.to_string())
    }
}
