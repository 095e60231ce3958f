//! Verifying a JSON Web Token: RFC 7519, signed as RFC 7515 says, as strictly as RFC 8725 asks.
//!
//! In this order, and nothing later is looked at before what comes earlier has passed: the compact
//! form, the header, the key, the signature, the claims. The token chooses neither the algorithm
//! nor where a key comes from; among several issuers it says whose keys are to verify it, and what
//! it says is checked with the rest. Whatever is wrong, the client gets one and the same answer.
//!
//! In reading order: `verified_cache` knows the token from an earlier request, [`jose`] takes it
//! apart and verifies it, `trust` and `source` have the keys, `claims` makes an identity of it, and
//! `introspection` asks its issuer whether it is still active, where the step says so. Each of them
//! says by `mismatch` what in a token does not fit, where somebody asks.

mod mismatch;
mod source;
mod trust;
mod verified_cache;

use std::sync::Arc;
use std::time::Duration;

use jose::clock::{self, UnixTime};
use jose::{Claims, CompactJws, Header, KeySets, Keys, TokenError};
use serde_json::Value;

use self::trust::Trusted;
use self::verified_cache::{CacheSlot, VerifiedCache};
use super::claims;
use super::error::BuildCause;
use super::identity::{AuthMethod, Identity};
use super::introspection::{IntrospectionRequest, Introspections, Introspector};
use super::outcome::{Reason, Refusal};
use super::request_source::RequestSource;
use super::token_cache::{TokenCache, Verified};
use super::trace::Trace;
use crate::config::{ClaimRules, CredentialLocation, Jwt};

/// What verifies the tokens of a `jwt-auth` step.
#[derive(Debug)]
pub(super) struct Verifier {
    settings: Arc<Jwt>,
    issuers: Vec<Trusted>,
    cache: VerifiedCache,
    /// Who is asked whether a token that has verified is active.
    introspector: Option<Arc<Introspector>>,
}

impl Verifier {
    /// Reads key files and registers key sets.
    pub(super) fn build(
        settings: &Arc<Jwt>,
        key_sets: &KeySets,
        introspections: &Introspections,
        tokens: TokenCache,
    ) -> Result<Self, BuildCause> {
        let issuers = trust::build(settings, key_sets)?;
        let client = settings.introspection.as_ref();
        let introspector = client.map(|client| introspections.of(client, key_sets));
        Ok(Self {
            introspector: introspector.transpose()?,
            cache: VerifiedCache::new(settings, &issuers, tokens),
            settings: settings.clone(),
            issuers,
        })
    }

    /// How far clocks may be apart.
    pub(super) fn leeway(&self) -> Duration {
        self.settings.rules.leeway
    }

    /// Where the token is looked for.
    pub(super) fn location(&self) -> &CredentialLocation {
        &self.settings.location
    }

    /// What the claims have to be.
    pub(super) fn rules(&self) -> &ClaimRules {
        &self.settings.rules
    }

    /// Whether it takes tokens of the issuer of this one, as far as is known.
    pub(super) fn trusts(&self, identity: &Identity) -> bool {
        let of_issuer = |issuer: &Trusted| {
            let names = issuer.names();
            names.is_none_or(|names| identity.is_of_issuer(&names))
        };
        identity.method() == AuthMethod::Jwt && self.issuers.iter().any(of_issuer)
    }

    /// Accepted values of `iss` of all issuers, as far as they are known. Empty: any.
    fn issuer_names(&self) -> Vec<String> {
        let known = || self.issuers.iter().filter_map(Trusted::names);
        if known().any(|names| names.is_empty()) {
            return Vec::new();
        }
        known().flat_map(|names| names.to_vec()).collect()
    }

    pub(super) fn introspector(&self) -> Option<&Introspector> {
        self.introspector.as_deref()
    }

    /// What is remembered of a token.
    pub(super) fn known(&self, token: &[u8]) -> Option<Verified> {
        let slot = self.cache.slot(token, &self.issuers)?;
        self.cache.tokens().peek(&slot.key)
    }

    /// Verifies a token, unless it is remembered. `has_passed`: it is known to have passed before,
    /// whatever the cache remembers.
    pub(super) async fn recall_or_verify(
        &self,
        token: &[u8],
        source: RequestSource<'_>,
        has_passed: bool,
        now: UnixTime,
        trace: &mut Trace,
    ) -> Result<Verified, Refusal> {
        let slot = self.cache.slot(token, &self.issuers);
        let request = |slot: &CacheSlot, cacheable, passed_before| IntrospectionRequest {
            token,
            key: slot.key,
            cacheable,
            source,
            passed_before,
        };
        if let Some(known) = slot.as_ref().and_then(|slot| self.cache.recall(slot)) {
            known.validity.check(now)?;
            return match (&slot, &self.introspector) {
                (Some(slot), Some(introspector)) if known.is_due() => {
                    self.introspect(introspector, request(slot, true, true), known, trace)
                        .await
                }
                _ => Ok(known),
            };
        }
        let verified = self.verify(token, now, trace).await;
        if let (Some(slot), Ok((issuer, verified)), None) = (&slot, &verified, &self.introspector) {
            self.cache.keep(slot, *issuer, verified);
        }
        // A verification takes as long as a whole request: now it is the others' turn. What they
        // and this one send next then goes out together, and wakes upstreams once.
        tokio::task::yield_now().await;
        let (issuer, verified) = verified?;
        match (&self.introspector, &slot) {
            (None, _) => Ok(verified),
            (Some(introspector), Some(slot)) => {
                let request = request(slot, slot.may_keep(issuer), has_passed);
                self.introspect(introspector, request, verified, trace)
                    .await
            }
            // Without a slot there is no asking, and nobody passes unasked.
            (Some(_), None) => Err(Reason::IntrospectionFailed.into()),
        }
    }

    /// Asks whether a token that has verified is active.
    async fn introspect(
        &self,
        introspector: &Arc<Introspector>,
        request: IntrospectionRequest<'_>,
        verified: Verified,
        trace: &mut Trace,
    ) -> Result<Verified, Refusal> {
        if let Some(refusal) = introspector.refused(&request.key) {
            return Err(refusal);
        }
        let (settings, issuers) = (self.settings.clone(), self.issuer_names());
        // What it was verified to be stays; the answer can only take away.
        let to_verdict = move |answer: Claims, trace: &mut Trace| {
            let now = clock::now();
            claims::check_not_contradicted(&answer, &issuers, &settings.rules, trace)?;
            let answered = claims::validity_if_any(&answer, &settings.rules, now, trace)?;
            let validity = verified.validity.and(answered);
            let said = claims::confirmation(&answer, trace)?;
            let confirmation = match (verified.confirmation.as_deref(), said) {
                (Some(one), Some(other)) => Some(one.and(other)?),
                (one, other) => one.copied().or(other),
            };
            let until = Some(validity.until).filter(|until| until.is_finite());
            let certificate = confirmation.and_then(|it| it.certificate);
            Ok(Verified {
                identity: verified.identity.narrowed(until, certificate),
                validity,
                confirmation: confirmation.map(Arc::new),
                ..verified
            })
        };
        let tokens = self.cache.tokens();
        introspector.ask(request, tokens, trace, to_verdict).await
    }

    /// Verifies a token, and tells whose it is.
    async fn verify(
        &self,
        token: &[u8],
        now: UnixTime,
        trace: &mut Trace,
    ) -> Result<(usize, Verified), Refusal> {
        let jws = CompactJws::split(token)
            .inspect_err(|error| trace.detail(|| mismatch::form(*error)))?;
        let (index, issuer, claims) = self.verify_signature(&jws, trace).await?;
        let settings = &self.settings;
        let rules = &settings.rules;
        let validity = claims::validity(&claims, rules, now, trace)?;
        if settings.access_token_profile {
            claims::check_access_token(&claims, trace)?;
        }
        // Without a document there would have been no keys either, unless it went just now.
        let names = issuer.names().ok_or(TokenError::NoKeys)?;
        let method = AuthMethod::Jwt;
        let verified = claims::examine(&claims, &names, rules, validity, method, trace)?;
        Ok((index, verified))
    }

    /// Verifies a token that is no credential but tells something, and gives its claims. Its header
    /// has to name a type that is accepted; `expires`: it has to say when it expires.
    pub(super) async fn verify_notice(
        &self,
        token: &[u8],
        now: UnixTime,
        expires: bool,
        trace: &mut Trace,
    ) -> Result<Claims, Refusal> {
        let jws = CompactJws::split(token)?;
        let (_, issuer, claims) = self.verify_signature(&jws, trace).await?;
        let header: Option<Value> = serde_json::from_slice(jws.header()).ok();
        if header.is_none_or(|header| header.get("typ").is_none()) {
            return Err(TokenError::WrongType.into());
        }
        let rules = &self.settings.rules;
        match expires {
            true => claims::validity(&claims, rules, now, trace)?,
            false => claims::validity_if_any(&claims, rules, now, trace)?,
        };
        let names = issuer.names().ok_or(TokenError::NoKeys)?;
        claims.check_issuer(&names)?;
        claims.check_audience(&rules.audiences)?;
        Ok(claims)
    }

    /// Verifies the header and the signature of a token, and tells whose it is.
    async fn verify_signature(
        &self,
        jws: &CompactJws<'_>,
        trace: &mut Trace,
    ) -> Result<(usize, &Trusted, Claims), Refusal> {
        let settings = &self.settings;
        let header = Header::read(jws, &[settings.algorithm], &settings.accepted_types)
            .inspect_err(|error| trace.detail(|| mismatch::header(jws, *error, settings)))?;
        if settings.access_token_profile && !header.has_type {
            trace.detail(|| "typ is absent".to_owned());
            return Err(TokenError::WrongType.into());
        }
        let (index, issuer) = self.issuer(jws, trace).await?;
        let claims = issuer.keys.verify(jws, &header).await;
        let claims = claims.map_err(|error| {
            trace.detail(|| mismatch::key(&header, error, &issuer.keys));
            refusal(&issuer.keys, error)
        })?;
        Ok((index, issuer, claims))
    }

    /// Whose keys are to verify a token. With one issuer, its claims are not looked at.
    async fn issuer(
        &self,
        jws: &CompactJws<'_>,
        trace: &mut Trace,
    ) -> Result<(usize, &Trusted), Refusal> {
        let index = match &*self.issuers {
            [_] => 0,
            several => {
                let claims = jws
                    .unverified_claims()
                    .inspect_err(|_| trace.detail(mismatch::no_claims))?;
                trust::select(several, &claims)
                    .await
                    .inspect_err(|refusal| {
                        trace.detail(|| mismatch::issuer(&claims, several, refusal))
                    })?
            }
        };
        let issuer = self.issuers.get(index).ok_or(TokenError::WrongIssuer)?;
        Ok((index, issuer))
    }
}

fn refusal(keys: &Keys, error: TokenError) -> Refusal {
    let without_keys = error == TokenError::NoKeys;
    Refusal {
        reason: error.into(),
        retry_after: without_keys.then(|| keys.retry_after()).flatten(),
    }
}

#[cfg(test)]
mod tests;
