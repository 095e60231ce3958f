//! Authentication: what a request presents in, an identity or a denial out.
//!
//! A pipeline's authentication steps become one [`Chain`] when its configuration is built; a
//! request asks [`Chain::admit`]. What it gets is an [`Admission`] with an [`Identity`] or without
//! one (anonymous), or a [`Denial`]. Deciding ends there: this room reads nothing of a request but
//! what an [`AuthRequest`] holds, writes no response, and knows nothing of the server that calls
//! it.
//!
//! In reading order: `outcome` and `identity` are the vocabulary; `chain` joins steps into groups,
//! each step an `authenticator`, and `trace` is told what each of them makes of a request.
//! `token_step` takes tokens: `token_extractor` finds the token, `jwt` verifies it with the keys
//! and key sets of [`jose`], `introspection` asks its issuer about it, `claims` judges what it
//! says, `token_cache` remembers it, and where it is bound to a `sender`, that one proves it with
//! `dpop` or its certificate. `basic` checks passwords, `api_key` keys, which `extractor` finds;
//! `mutual_tls` looks at the client's `certificate`. Whatever verified, `revocation` may have ended
//! before its time; `receiver` is told so by issuers. `locations` tells which credentials the
//! upstream may see. What outlives any one configuration is [`Shared`].

mod api_key;
mod authenticator;
mod basic;
mod bearer;
mod certificate;
mod chain;
mod challenge;
mod claims;
mod confirmation;
mod dpop;
mod error;
mod extractor;
mod failures;
mod fetching;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod identity;
mod introspection;
mod jwt;
mod locations;
mod mutual_tls;
mod outcome;
mod receiver;
mod request;
mod request_source;
mod revocation;
mod sender;
mod settings_digest;
mod shared;
#[cfg(test)]
pub(crate) mod testing;
mod token_cache;
mod token_extractor;
mod token_step;
mod trace;

pub(crate) use bearer::is_tchar;
pub use bearer::{RepeatedAuthorization, single_bearer};
pub(crate) use certificate::ip_address;
pub use certificate::{CertificateTrust, ClientCertificate, PresentedCertificate};
pub(crate) use chain::Member;
pub use chain::{Admission, Admitted, Chain, RecheckOutcome};
pub(crate) use claims::claim_text;
pub(crate) use dpop::{DPOP, DPOP_NONCE};
pub use dpop::{ProofId, ProofMemo, ProofStore, ProofsStatus, RequestTarget, TargetUrl};
pub use error::BuildError;
pub use failures::SharedFailures;
pub use identity::{AuthMethod, Credential, Identity, TokenIds};
pub use introspection::IntrospectionStatus;
pub use locations::{CredentialLocations, VerifiedLocations};
pub use outcome::{Class, Denial, ProofError, Reason};
pub use receiver::{Invalid, ReceiveError, Received, Receiver, ReceiverStatus};
pub use request::AuthRequest;
pub use request_source::RequestSource;
pub use revocation::{
    Change, Deletion, FormError, InvalidId, JournalError, Revocation, RevocationId, Revocations,
    RevocationsStatus, RevokeError, Target, TokenSelector,
};
pub use shared::{PasswordsStatus, Shared, SharedError};
pub use token_cache::TokenCacheStatus;
pub use trace::{Entry, Trace};

pub use jose::{IssuerStatus, KeySetStatus, KeySets};

pub use crate::config::CredentialLocation;
