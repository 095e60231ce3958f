//! Why a token does not pass; and errors in words.

use std::error::Error;
use std::fmt;

/// Why a token does not pass. It holds nothing of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenError {
    /// It is not three segments in base64url, or its header or claims are no JSON objects, or one
    /// of their members has the wrong type.
    Malformed,
    /// It is longer than [`MAX_TOKEN`](crate::MAX_TOKEN).
    TooLong,
    /// `alg` is none of the accepted algorithms.
    WrongAlgorithm,
    /// One of [`Header::UNSUPPORTED`](crate::Header::UNSUPPORTED) is there.
    UnsupportedHeader,
    /// `typ` is none of the accepted types.
    WrongType,
    /// No `kid`, and the key set holds several keys for the algorithm, or none.
    NoKid,
    /// The key set holds no key of that `kid`.
    UnknownKid,
    /// The key of that `kid` is not one for the algorithm.
    KeyDoesNotFit,
    /// No usable key set is at hand.
    NoKeys,
    /// The signature does not verify.
    BadSignature,
    /// `exp` is absent.
    NoExpiry,
    /// `exp` has passed.
    Expired,
    /// `nbf` or `iat` lies ahead.
    NotYetValid,
    /// `iss` is absent or none of the accepted issuers.
    WrongIssuer,
    /// `aud` is absent or holds none of the accepted audiences.
    WrongAudience,
    /// A required claim is absent or has another value.
    ClaimMissing,
    /// A required scope was not granted.
    ScopeMissing,
}

impl TokenError {
    /// The label for a log or a metric, in snake case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
            Self::WrongAlgorithm => "wrong_algorithm",
            Self::UnsupportedHeader => "unsupported_header",
            Self::WrongType => "wrong_type",
            Self::NoKid => "no_kid",
            Self::UnknownKid => "unknown_kid",
            Self::KeyDoesNotFit => "key_does_not_fit",
            Self::NoKeys => "no_keys",
            Self::BadSignature => "bad_signature",
            Self::NoExpiry => "no_expiry",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::ClaimMissing => "claim_missing",
            Self::ScopeMissing => "scope_missing",
        }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Error for TokenError {}

/// An error with its causes, in one line.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
