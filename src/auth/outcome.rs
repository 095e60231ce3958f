//! How an authentication step ends, and what a denied request is told.
//!
//! The reason of a denial is for the log and a metric; the answer depends on its [`Class`] alone,
//! so that no client can tell one bad token from another.

use std::sync::Arc;

use http::HeaderValue;
use jose::TokenError;

use super::identity::Identity;

/// How one authentication step ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The request carries a good credential.
    Authenticated(Identity),
    /// The request carries no credential of this kind.
    NotPresented,
    /// It carries one, and it does not pass.
    Rejected(Refusal),
}

/// That of a credential which was presented.
impl<E: Into<Refusal>> From<Result<Identity, E>> for Outcome {
    fn from(verdict: Result<Identity, E>) -> Self {
        match verdict {
            Ok(identity) => Self::Authenticated(identity),
            Err(refusal) => Self::Rejected(refusal.into()),
        }
    }
}

/// Why a presented credential does not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    /// Seconds after which another try may end differently.
    pub(crate) retry_after: Option<u32>,
}

impl Refusal {
    /// Too many passwords wait to be hashed: another try in five seconds.
    pub(crate) const QUEUE_FULL: Self = Self {
        reason: Reason::HashQueueFull,
        retry_after: Some(5),
    };

    /// The hash was not made in time: another try in five seconds.
    pub(crate) const HASH_TIMED_OUT: Self = Self {
        reason: Reason::HashTimedOut,
        retry_after: Some(5),
    };

    /// Too many attempts of one client address wait: another try in a second.
    pub(crate) const TOO_MANY_ATTEMPTS: Self = Self {
        reason: Reason::TooManyAttempts,
        retry_after: Some(1),
    };
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            retry_after: None,
        }
    }
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        Reason::from(error).into()
    }
}

/// Why a request was denied: a stable label for a log or a metric, never for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A token does not pass.
    Token(TokenError),
    /// No credential was presented.
    Missing,
    /// `Authorization` came more than once, or one kind of credential did.
    Repeated,
    /// The credential is not of the form that its scheme asks for.
    Malformed,
    /// The password is longer than 72 bytes.
    TooLong,
    /// `sub` could not be carried in a header.
    UnsafeSubject,
    /// No user has this name.
    UnknownUser,
    /// The password is not the user's.
    WrongPassword,
    /// No such API key.
    UnknownKey,
    /// The API key lacks a required scope.
    ScopeMissing,
    /// The API key or the client's certificate has expired.
    Expired,
    /// The client's certificate is not valid yet.
    NotYetValid,
    /// The client's certificate is of an authority that no longer counts.
    UntrustedCertificate,
    /// The client's certificate is good, and of somebody who is not listed.
    SubjectNotAllowed,
    /// Too many wrong passwords or API keys from one client address.
    TooManyFailures,
    /// Too many attempts from one client address wait, while others of its attempts may yet fail.
    TooManyAttempts,
    /// Too many passwords wait to be hashed.
    HashQueueFull,
    /// The password was not hashed within the time that a request waits for it.
    HashTimedOut,
    /// The credential was revoked before its time.
    Revoked,
    /// The issuer says that the token is not active.
    Inactive,
    /// The token is bound to its sender, and came without a proof; or to something that is not
    /// known here.
    SenderBound,
    /// The token is bound to another certificate than the client showed.
    WrongCertificate,
    /// The token is bound to no key, and has to be.
    NotBound,
    /// The proof that its sender has the key does not pass.
    Proof(ProofError),
    /// The token is no access token as RFC 9068 has them.
    WrongProfile,
    /// The issuer was asked about the token, and there is no usable answer.
    IntrospectionFailed,
    /// Too many questions about tokens are under way.
    IntrospectionQueueFull,
}

/// What is wrong with a proof of possession (RFC 9449 section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProofError {
    /// There is none.
    Missing,
    /// There are several.
    Repeated,
    /// It is no signed token of its type with a public key in its header, or a claim has the wrong
    /// form.
    Malformed,
    /// It is signed with an algorithm that is not accepted.
    WrongAlgorithm,
    /// Its key is private, weak, or not one for its algorithm.
    BadKey,
    /// Its signature does not verify.
    BadSignature,
    /// It is good, and of another key than the token is bound to.
    WrongKey,
    /// It is for another method.
    WrongMethod,
    /// It is for another URL.
    WrongUrl,
    /// It is for another token.
    WrongToken,
    /// It was made too long ago.
    TooOld,
    /// It was made in the future.
    NotYetValid,
    /// A process before this one may have used it: with a nonce of this process it would pass.
    BeforeStart,
    /// It has no nonce, or one that does not count.
    Nonce,
    /// It has no `jti`.
    NoId,
    /// It was used before.
    Replayed,
    /// Too many proofs of its key were used a moment ago.
    TooMany,
}

impl ProofError {
    fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "dpop_missing",
            Self::Repeated => "dpop_repeated",
            Self::Malformed => "dpop_malformed",
            Self::WrongAlgorithm => "dpop_wrong_algorithm",
            Self::BadKey => "dpop_bad_key",
            Self::BadSignature => "dpop_bad_signature",
            Self::WrongKey => "dpop_wrong_key",
            Self::WrongMethod => "dpop_wrong_method",
            Self::WrongUrl => "dpop_wrong_url",
            Self::WrongToken => "dpop_wrong_token",
            Self::TooOld => "dpop_too_old",
            Self::NotYetValid => "dpop_not_yet_valid",
            Self::BeforeStart => "dpop_before_start",
            Self::Nonce => "dpop_nonce",
            Self::NoId => "dpop_no_id",
            Self::Replayed => "dpop_replayed",
            Self::TooMany => "dpop_too_many",
        }
    }

    /// A good proof of another key says that the token is not its sender's (RFC 9449 section 7.1).
    fn class(self) -> Class {
        match self {
            Self::WrongKey => Class::InvalidCredential,
            Self::Nonce | Self::BeforeStart => Class::NonceRequired,
            Self::TooMany => Class::TooManyRequests,
            _ => Class::InvalidProof,
        }
    }
}

impl From<TokenError> for ProofError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::WrongAlgorithm => Self::WrongAlgorithm,
            TokenError::KeyDoesNotFit => Self::BadKey,
            TokenError::BadSignature => Self::BadSignature,
            _ => Self::Malformed,
        }
    }
}

impl From<ProofError> for Reason {
    fn from(error: ProofError) -> Self {
        Self::Proof(error)
    }
}

impl From<ProofError> for Refusal {
    fn from(error: ProofError) -> Self {
        Reason::from(error).into()
    }
}

impl From<TokenError> for Reason {
    fn from(error: TokenError) -> Self {
        Self::Token(error)
    }
}

impl Reason {
    /// The label, in snake case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token(error) => error.as_str(),
            Self::Missing => "missing",
            Self::Repeated => "repeated",
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
            Self::UnsafeSubject => "unsafe_subject",
            Self::UnknownUser => "unknown_user",
            Self::WrongPassword => "wrong_password",
            Self::UnknownKey => "unknown_key",
            Self::ScopeMissing => "scope_missing",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::UntrustedCertificate => "untrusted_certificate",
            Self::SubjectNotAllowed => "subject_not_allowed",
            Self::TooManyFailures => "too_many_failures",
            Self::TooManyAttempts => "too_many_attempts",
            Self::HashQueueFull => "hash_queue_full",
            Self::HashTimedOut => "hash_timed_out",
            Self::Revoked => "revoked",
            Self::Inactive => "inactive",
            Self::SenderBound => "sender_bound",
            Self::WrongCertificate => "wrong_certificate",
            Self::NotBound => "not_bound",
            Self::Proof(error) => error.as_str(),
            Self::WrongProfile => "wrong_profile",
            Self::IntrospectionFailed => "introspection_failed",
            Self::IntrospectionQueueFull => "introspection_queue_full",
        }
    }

    /// What kind of answer it gets.
    pub fn class(self) -> Class {
        match self {
            Self::Missing => Class::NotPresented,
            Self::Repeated => Class::InvalidRequest,
            Self::Token(TokenError::ClaimMissing | TokenError::ScopeMissing)
            | Self::ScopeMissing
            | Self::SubjectNotAllowed => Class::InsufficientScope,
            Self::TooManyFailures | Self::TooManyAttempts => Class::TooManyRequests,
            Self::Token(TokenError::NoKeys)
            | Self::HashQueueFull
            | Self::HashTimedOut
            | Self::IntrospectionFailed
            | Self::IntrospectionQueueFull => Class::Unavailable,
            Self::Proof(error) => error.class(),
            _ => Class::InvalidCredential,
        }
    }
}

/// What kind of answer a denial gets. A later one weighs more when several steps of a group failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// 401 with plain challenges (RFC 9110 section 11.6.1).
    NotPresented,
    /// 401; Bearer says `invalid_token` (RFC 6750 section 3.1).
    InvalidCredential,
    /// 401; DPoP says `invalid_dpop_proof` (RFC 9449 section 7.1).
    InvalidProof,
    /// 401 with `DPoP-Nonce`; DPoP says `use_dpop_nonce` (RFC 9449 section 9).
    NonceRequired,
    /// 403; Bearer says `insufficient_scope` (RFC 6750 section 3.1).
    InsufficientScope,
    /// 429 with `Retry-After`, and no challenge (RFC 6585 section 4). Weighs more than a verdict:
    /// this credential was not looked at.
    TooManyRequests,
    /// 503 with `Retry-After`, and no challenge: a better credential would not help.
    Unavailable,
    /// 400; Bearer says `invalid_request` (RFC 6750 section 3.1).
    InvalidRequest,
}

impl Class {
    /// The status code of the answer.
    pub fn status(self) -> u16 {
        match self {
            Self::NotPresented
            | Self::InvalidCredential
            | Self::InvalidProof
            | Self::NonceRequired => 401,
            Self::InsufficientScope => 403,
            Self::TooManyRequests => 429,
            Self::Unavailable => 503,
            Self::InvalidRequest => 400,
        }
    }
}

/// A request that must not pass, and what its answer says.
#[derive(Debug, Clone)]
pub struct Denial {
    pub(crate) reason: Reason,
    pub(crate) challenges: Arc<[HeaderValue]>,
    pub(crate) retry_after: Option<u32>,
    pub(crate) nonce: Option<HeaderValue>,
}

impl Denial {
    /// The status code of the answer.
    pub fn status(&self) -> u16 {
        self.class().status()
    }

    /// What kind of answer it gets.
    pub fn class(&self) -> Class {
        self.reason.class()
    }

    /// Why; for the log and a metric only.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The values of `WWW-Authenticate`, one per scheme (RFC 9110 section 11.6.1).
    pub fn challenges(&self) -> &[HeaderValue] {
        &self.challenges
    }

    /// `DPoP-Nonce`: what the next proof has to hold (RFC 9449 section 8).
    pub fn nonce(&self) -> Option<&HeaderValue> {
        self.nonce.as_ref()
    }

    /// `Retry-After`, in seconds.
    pub fn retry_after(&self) -> Option<u32> {
        self.retry_after
    }
}
