//! Dispatches to the authentication method of a step.

use std::sync::Arc;

use http::HeaderValue;

use super::api_key;
use super::basic;
use super::challenge::Offer;
use super::error::BuildCause;
use super::mutual_tls;
use super::outcome::{Outcome, Reason};
use super::request::AuthRequest;
use super::shared::Shared;
use super::token_step::TokenStep;
use super::trace::Trace;
use crate::config::{AuthSettings, CredentialLocation};
use jose::clock::UnixTime;

/// What examines one kind of credential.
#[derive(Debug)]
pub(super) enum Authenticator {
    /// `jwt-auth` or `introspection`.
    Token(TokenStep),
    /// `basic-auth`.
    Basic(basic::Verifier),
    /// `api-key`.
    ApiKey(api_key::Verifier),
    /// `mutual-tls`.
    MutualTls(mutual_tls::Verifier),
}

impl Authenticator {
    /// Reads key files, and registers with `shared` what outlives a configuration. `name` is the
    /// step's.
    pub(super) fn build(
        name: &Arc<str>,
        settings: &AuthSettings,
        shared: &Shared,
    ) -> Result<Self, BuildCause> {
        Ok(match settings {
            AuthSettings::Jwt(settings) => Self::Token(TokenStep::jwt(settings, shared)?),
            AuthSettings::Introspection(settings) => {
                Self::Token(TokenStep::introspection(settings, shared)?)
            }
            AuthSettings::Basic(settings) => {
                Self::Basic(basic::Verifier::build(name, settings, &shared.passwords)?)
            }
            AuthSettings::ApiKey(settings) => {
                Self::ApiKey(api_key::Verifier::build(name, settings, &shared.key_uses)?)
            }
            AuthSettings::MutualTls(settings) => {
                Self::MutualTls(mutual_tls::Verifier::new(settings))
            }
        })
    }

    /// What its challenges offer.
    pub(super) fn offers<'a>(&'a self, realm: &'a str) -> Vec<Offer<'a>> {
        match self {
            Self::Token(step) => step.offers(realm),
            Self::Basic(_) => vec![Offer::Basic { realm }],
            Self::ApiKey(_) => vec![Offer::ApiKey { realm }],
            Self::MutualTls(_) => vec![Offer::ClientCertificate { realm }],
        }
    }

    /// What the next proof of the request's client has to hold, if anything (RFC 9449 section 8).
    /// `refused_for`: what this request came to.
    pub(super) fn next_nonce(
        &self,
        request: &AuthRequest<'_>,
        refused_for: Option<Reason>,
        now: UnixTime,
    ) -> Option<HeaderValue> {
        match self {
            Self::Token(step) => step.next_nonce(request, refused_for, now),
            Self::Basic(_) | Self::ApiKey(_) | Self::MutualTls(_) => None,
        }
    }

    /// Where in the request it looks for its credential; `None`: a certificate is no part of a
    /// request.
    pub(super) fn location(&self) -> Option<&CredentialLocation> {
        match self {
            Self::Token(step) => Some(step.location()),
            Self::Basic(_) => Some(&CredentialLocation::Authorization),
            Self::ApiKey(verifier) => Some(verifier.location()),
            Self::MutualTls(_) => None,
        }
    }

    /// Examines the credential of a request. The trace gets the detail that the reason leaves out.
    pub(super) async fn authenticate(
        &self,
        request: &AuthRequest<'_>,
        now: UnixTime,
        trace: &mut Trace,
    ) -> Outcome {
        match self {
            Self::Token(step) => step.authenticate(request, now, trace).await,
            Self::Basic(verifier) => verifier.authenticate(request).await,
            Self::ApiKey(verifier) => verifier.authenticate(request, now),
            Self::MutualTls(verifier) => verifier.authenticate(request, now),
        }
    }

    /// Whether it may take long, because a password has to be hashed.
    pub(super) fn may_wait(&self, request: &AuthRequest<'_>) -> bool {
        match self {
            Self::Basic(_) => basic::Verifier::may_wait(request.headers),
            Self::Token(_) | Self::ApiKey(_) | Self::MutualTls(_) => false,
        }
    }
}
