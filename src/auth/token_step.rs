//! A step that takes tokens, `jwt-auth` or `introspection`: it finds the token, has it verified,
//! and sees whether its sender may use it.

use std::sync::Arc;

use http::HeaderValue;
use jose::clock::{self, UnixTime};

use super::challenge::Offer;
use super::error::BuildCause;
use super::identity::Identity;
use super::introspection::{self, Introspector};
use super::jwt;
use super::outcome::{Outcome, Reason, Refusal};
use super::request::AuthRequest;
use super::request_source::RequestSource;
use super::sender::SenderCheck;
use super::shared::Shared;
use super::token_cache::Verified;
use super::token_extractor;
use super::trace::Trace;
use crate::config::{ClaimRules, CredentialLocation, Introspection, Jwt};

/// A `jwt-auth` or `introspection` step.
#[derive(Debug)]
pub(super) struct TokenStep {
    verifier: Verifier,
    sender: SenderCheck,
}

/// What verifies the token itself.
#[derive(Debug)]
enum Verifier {
    Jwt(jwt::Verifier),
    Introspection(introspection::Verifier),
}

impl TokenStep {
    /// Reads key files, and registers key sets and issuers.
    pub(super) fn jwt(settings: &Arc<Jwt>, shared: &Shared) -> Result<Self, BuildCause> {
        let verifier = jwt::Verifier::build(
            settings,
            &shared.key_sets,
            &shared.introspections,
            shared.tokens(),
        )?;
        Ok(Self {
            verifier: Verifier::Jwt(verifier),
            sender: SenderCheck::new(settings.dpop.as_ref(), &shared.proofs),
        })
    }

    /// Registers the issuer.
    pub(super) fn introspection(
        settings: &Arc<Introspection>,
        shared: &Shared,
    ) -> Result<Self, BuildCause> {
        let verifier = introspection::Verifier::build(
            settings,
            &shared.introspections,
            &shared.key_sets,
            shared.tokens(),
        )?;
        Ok(Self {
            verifier: Verifier::Introspection(verifier),
            sender: SenderCheck::new(settings.dpop.as_ref(), &shared.proofs),
        })
    }

    /// What its challenges offer.
    pub(super) fn offers<'a>(&'a self, realm: &'a str) -> Vec<Offer<'a>> {
        self.sender.offers(realm, self.rules()).collect()
    }

    /// What the next proof of the request's client has to hold, if anything.
    pub(super) fn next_nonce(
        &self,
        request: &AuthRequest<'_>,
        refused_for: Option<Reason>,
        now: UnixTime,
    ) -> Option<HeaderValue> {
        self.sender.next_nonce(request, refused_for, now)
    }

    /// Where it looks for the token.
    pub(super) fn location(&self) -> &CredentialLocation {
        match &self.verifier {
            Verifier::Jwt(verifier) => verifier.location(),
            Verifier::Introspection(verifier) => verifier.location(),
        }
    }

    fn rules(&self) -> &ClaimRules {
        match &self.verifier {
            Verifier::Jwt(verifier) => verifier.rules(),
            Verifier::Introspection(verifier) => verifier.rules(),
        }
    }

    /// Examines the request's token.
    pub(super) async fn authenticate(
        &self,
        request: &AuthRequest<'_>,
        now: UnixTime,
        trace: &mut Trace,
    ) -> Outcome {
        let sender = &self.sender;
        let (token, scheme) =
            match token_extractor::find(request, self.location(), sender.takes_proofs()) {
                Ok(Some(found)) => found,
                Ok(None) => return Outcome::NotPresented,
                Err(error) => return Outcome::Rejected(error.into()),
            };
        match self.verify(&token, request.source, false, now, trace).await {
            Ok(verified) => {
                let admitted = sender.admit(verified, &token, scheme, request, now, trace);
                admitted.await.into()
            }
            Err(refusal) => Outcome::Rejected(refusal),
        }
    }

    /// Verifies a token that has passed before, and asks its issuer, unless an answer still counts.
    pub(super) async fn reintrospect(
        &self,
        token: &[u8],
        source: RequestSource<'_>,
    ) -> Result<Verified, Refusal> {
        let (now, mut trace) = (clock::now(), Trace::off());
        self.verify(token, source, true, now, &mut trace).await
    }

    /// `has_passed`: the token is known to have passed before, whatever the cache remembers.
    async fn verify(
        &self,
        token: &[u8],
        source: RequestSource<'_>,
        has_passed: bool,
        now: UnixTime,
        trace: &mut Trace,
    ) -> Result<Verified, Refusal> {
        match &self.verifier {
            Verifier::Jwt(verifier) => {
                let verified = verifier.recall_or_verify(token, source, has_passed, now, trace);
                verified.await
            }
            Verifier::Introspection(verifier) => {
                let verified = verifier.recall_or_ask(token, source, has_passed, now, trace);
                verified.await
            }
        }
    }

    /// What is remembered of a token.
    pub(super) fn known(&self, token: &[u8]) -> Option<Verified> {
        match &self.verifier {
            Verifier::Jwt(verifier) => verifier.known(token),
            Verifier::Introspection(verifier) => verifier.known(token),
        }
    }

    /// Whether it takes tokens of the issuer of this one, as far as is known.
    pub(super) fn trusts(&self, identity: &Identity) -> bool {
        match &self.verifier {
            Verifier::Jwt(verifier) => verifier.trusts(identity),
            Verifier::Introspection(verifier) => verifier.trusts(identity),
        }
    }

    /// Who is asked about its tokens.
    pub(super) fn introspector(&self) -> Option<&Introspector> {
        match &self.verifier {
            Verifier::Jwt(verifier) => verifier.introspector(),
            Verifier::Introspection(verifier) => Some(verifier.introspector()),
        }
    }
}
