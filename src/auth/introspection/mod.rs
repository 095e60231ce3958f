//! Asking the issuer about tokens (RFC 7662): opaque ones, and JSON Web Tokens that have to be
//! active besides.
//!
//! `client` makes one call, `introspector` sees to it that few are made, within the limits of
//! `in_flight`, `registry` keeps who is asked across reloads, and this file makes verdicts of the
//! answers.

mod client;
mod counters;
mod in_flight;
mod introspector;
mod registry;

use std::hash::Hash;
use std::sync::Arc;

use jose::clock::{self, UnixTime};
use jose::{Claims, KeySets};

pub use self::counters::IntrospectionStatus;
pub(super) use self::in_flight::IntrospectionRequest;
pub(super) use self::introspector::Introspector;
pub(super) use self::registry::Introspections;
use super::claims;
use super::error::BuildCause;
use super::identity::{AuthMethod, Identity};
use super::outcome::{Reason, Refusal};
use super::request_source::RequestSource;
use super::settings_digest::SettingsDigest;
use super::token_cache::{TokenCache, Verified};
use super::trace::Trace;
use crate::config::{ClaimRules, CredentialLocation, Introspection, IntrospectionClient, Secret};

/// What asks about the tokens of an `introspection` step.
#[derive(Debug)]
pub(super) struct Verifier {
    settings: Arc<Introspection>,
    introspector: Arc<Introspector>,
    cache: TokenCache,
    /// What the verdicts of this step depend on, besides the token.
    digest: [u8; 32],
}

impl Verifier {
    /// Registers the issuer's document, and the questions that outlive a configuration.
    pub(super) fn build(
        settings: &Arc<Introspection>,
        introspections: &Introspections,
        key_sets: &KeySets,
        cache: TokenCache,
    ) -> Result<Self, BuildCause> {
        Ok(Self {
            introspector: introspections.of(&settings.client, key_sets)?,
            settings: settings.clone(),
            cache,
            digest: digest(settings),
        })
    }

    /// Where the token is looked for.
    pub(super) fn location(&self) -> &CredentialLocation {
        &self.settings.location
    }

    /// What the answer has to say.
    pub(super) fn rules(&self) -> &ClaimRules {
        &self.settings.rules
    }

    /// Whether it takes tokens of the issuer of this one.
    pub(super) fn trusts(&self, identity: &Identity) -> bool {
        let named = self.introspector.token_issuers();
        let issuers = named.as_ref().unwrap_or(&self.settings.issuers);
        identity.method() == AuthMethod::Introspection && identity.is_of_issuer(issuers)
    }

    pub(super) fn introspector(&self) -> &Introspector {
        &self.introspector
    }

    /// What is remembered of a token.
    pub(super) fn known(&self, token: &[u8]) -> Option<Verified> {
        let text = [&self.digest, token].concat();
        self.cache.peek(&self.cache.key(&text)?)
    }

    /// Asks about a token, unless the answer is remembered. `has_passed`: it is known to have
    /// passed before, whatever the cache remembers.
    pub(super) async fn recall_or_ask(
        &self,
        token: &[u8],
        source: RequestSource<'_>,
        has_passed: bool,
        now: UnixTime,
        trace: &mut Trace,
    ) -> Result<Verified, Refusal> {
        let text = [&self.digest, token].concat();
        let key = self.cache.key(&text).ok_or(Reason::Malformed)?;
        let known = self.cache.get(&key);
        let passed_before = known.is_some();
        if let Some(known) = known {
            known.validity.check(now)?;
            if !known.is_due() {
                return Ok(known);
            }
        }
        if let Some(refusal) = self.introspector.refused(&key) {
            return Err(refusal);
        }
        let request = IntrospectionRequest {
            token,
            key,
            cacheable: true,
            source,
            passed_before: has_passed || passed_before,
        };
        let (settings, introspector) = (self.settings.clone(), self.introspector.clone());
        let to_verdict = move |claims: Claims, trace: &mut Trace| {
            let named = introspector.token_issuers();
            let issuers = named.as_ref().unwrap_or(&settings.issuers);
            let validity = claims::validity_if_any(&claims, &settings.rules, clock::now(), trace)?;
            let method = AuthMethod::Introspection;
            Ok(claims::examine(
                &claims,
                issuers,
                &settings.rules,
                validity,
                method,
                trace,
            )?)
        };
        self.introspector
            .ask(request, &self.cache, trace, to_verdict)
            .await
    }
}

/// An answer, for cargo-fuzz: its members if the token is active.
#[cfg(fuzzing)]
pub(super) fn answer(text: &[u8]) -> Result<Option<serde_json::Value>, impl std::fmt::Display> {
    client::parse(text).map(|answer| match answer {
        client::Answer::Active(claims) => Some(claims.into_map().into()),
        client::Answer::Inactive => None,
    })
}

/// Everything that a verdict depends on, but for the token.
fn digest(settings: &Introspection) -> [u8; 32] {
    // Without `..`: a setting that is added later has to be taken in too.
    let Introspection {
        issuers,
        rules,
        location,
        // A proof is judged for each request.
        dpop: _,
        client,
    } = settings;
    let mut sink = SettingsDigest::new();
    ("introspection", issuers, rules, location).hash(&mut sink);
    hash_client(client, &mut sink);
    sink.digest()
}

/// Takes in who is asked, and how.
pub(super) fn hash_client(client: &IntrospectionClient, sink: &mut SettingsDigest) {
    let IntrospectionClient {
        endpoint,
        client_id,
        client_secret,
        client_auth,
        cache,
        max_in_flight: _,
    } = client;
    (endpoint, client_id, client_auth, cache).hash(sink);
    client_secret.as_ref().map(Secret::expose).hash(sink);
}
