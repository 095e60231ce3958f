//! Verifying a JSON Web Token: RFC 7519, signed as RFC 7515 says, as strictly as RFC 8725 asks.
//!
//! In this order, and nothing later is looked at before what comes earlier has passed: the compact
//! form, the header, the key, the signature, the claims. The token chooses neither the algorithm
//! nor where a key comes from; among several issuers it says whose keys are to verify it, and what
//! it says is checked with the rest. Whatever is wrong, the client gets one and the same answer.
//!
//! In reading order: `place` finds the token, `memory` knows it from an earlier request, `compact`
//! and `header` take it apart, `trust` and `source` have the keys, `claims` and `carried` make an
//! identity of it. `detached` does the same for those who need the claims themselves, outside any
//! chain; `explain` says what in a token does not fit.

mod carried;
mod claims;
mod compact;
mod detached;
mod explain;
mod header;
mod memory;
mod place;
mod source;
mod trust;

use std::sync::Arc;

use self::compact::{Compact, MAX_TOKEN};
use self::header::Header;
use self::memory::Memory;
use self::place::FoundToken;
use self::trust::Trusted;
use super::clock::UnixTime;
use super::error::BuildCause;
use super::identity::Identity;
use super::jwks::KeySets;
use super::outcome::{Outcome, Reason, Refusal};
use super::presented::Presented;
use super::tokens::Verified;
use crate::config::{CredentialLocation, Jwt};

pub(crate) use detached::{DetachedKeys, Unverified};

/// A `jwt-auth` step, ready to verify.
#[derive(Debug)]
pub(crate) struct Verifier {
    settings: Arc<Jwt>,
    issuers: Vec<Trusted>,
    memory: Memory,
}

impl Verifier {
    /// Reads key files and registers key sets.
    pub(crate) fn build(settings: &Arc<Jwt>, key_sets: &KeySets) -> Result<Self, BuildCause> {
        let issuers = trust::build(settings, key_sets)?;
        Ok(Self {
            memory: Memory::new(settings, &issuers, key_sets.tokens()),
            settings: settings.clone(),
            issuers,
        })
    }

    /// Where it looks for the token.
    pub(crate) fn place(&self) -> &CredentialLocation {
        &self.settings.place
    }

    /// Examines the request's token.
    pub(crate) async fn authenticate(&self, request: &Presented<'_>, now: UnixTime) -> Outcome {
        let verdict = match place::find(request, &self.settings.place) {
            FoundToken::Nothing => return Outcome::NotPresented,
            FoundToken::Malformed => Err(Reason::Malformed.into()),
            FoundToken::Token(token) if token.len() > MAX_TOKEN => Err(Reason::TooLong.into()),
            FoundToken::Token(token) => self.recall_or_verify(&token, now).await,
        };
        match verdict {
            Ok(identity) => Outcome::Authenticated(identity),
            Err(refusal) => Outcome::Rejected(refusal),
        }
    }

    async fn recall_or_verify(&self, token: &[u8], now: UnixTime) -> Result<Identity, Refusal> {
        let place = self.memory.place(token, &self.issuers);
        if let Some(known) = place.as_ref().and_then(|place| self.memory.recall(place)) {
            known.validity.check(now)?;
            return Ok(known.identity);
        }
        let verified = self.verify(token, now).await;
        if let (Some(place), Ok((issuer, verified))) = (&place, &verified) {
            self.memory.keep(place, *issuer, verified);
        }
        // A verification takes as long as a whole request: now it is the others' turn. What they
        // and this one send next then goes out together, and wakes upstreams once.
        tokio::task::yield_now().await;
        Ok(verified?.1.identity)
    }

    /// Verifies a token, and tells whose it is.
    async fn verify(&self, token: &[u8], now: UnixTime) -> Result<(usize, Verified), Refusal> {
        let compact = Compact::split(token)?;
        let settings = &self.settings;
        let accepted = std::slice::from_ref(&settings.algorithm);
        let header = Header::read(&compact.header, accepted, &settings.accepted_types)?;
        let (index, issuer) = self.issuer(&compact)?;
        let signed = issuer
            .keys
            .verifies(
                header.algorithm,
                header.kid.as_deref(),
                compact.signing_input,
                &compact.signature,
            )
            .await?;
        if !signed {
            return Err(Reason::BadSignature.into());
        }
        let claims = claims::parse(&compact.claims)?;
        let verified = claims::examine(&claims, issuer, &self.settings, now)?;
        Ok((index, verified))
    }

    /// Whose keys are to verify a token. With one issuer, its claims are not looked at.
    fn issuer(&self, compact: &Compact<'_>) -> Result<(usize, &Trusted), Reason> {
        let index = match &*self.issuers {
            [_] => 0,
            several => trust::select(several, &claims::parse(&compact.claims)?)?,
        };
        let issuer = self.issuers.get(index).ok_or(Reason::WrongIssuer)?;
        Ok((index, issuer))
    }
}

#[cfg(test)]
mod tests;
