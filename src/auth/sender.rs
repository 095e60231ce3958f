//! Whether a token comes from the sender that it is bound to: from whoever has the key (RFC 9449)
//! or the certificate (RFC 8705). Asked for each request, after the token, which may be remembered.

use std::sync::Arc;

use http::HeaderValue;
use jose::clock::UnixTime;

use super::challenge::Offer;
use super::confirmation::Confirmation;
use super::dpop::{self, Proofs};
use super::identity::Identity;
use super::outcome::{Reason, Refusal};
use super::request::AuthRequest;
use super::token_cache::Verified;
use super::token_extractor::TokenScheme;
use super::trace::Trace;
use crate::config::{ClaimRules, Dpop};

/// What a step that takes tokens asks of their senders.
#[derive(Debug)]
pub(super) struct SenderCheck {
    dpop: Option<dpop::Verifier>,
}

impl SenderCheck {
    /// `None`: no proof is looked at.
    pub(super) fn new(dpop: Option<&Dpop>, proofs: &Arc<Proofs>) -> Self {
        Self {
            dpop: dpop.map(|settings| dpop::Verifier::new(settings, proofs)),
        }
    }

    /// Whether the step takes tokens under the scheme `DPoP`.
    pub(super) fn takes_proofs(&self) -> bool {
        self.dpop.is_some()
    }

    /// What its challenges offer.
    pub(super) fn offers<'a>(
        &'a self,
        realm: &'a str,
        rules: &'a ClaimRules,
    ) -> impl Iterator<Item = Offer<'a>> {
        let scopes = &rules.required_scopes;
        let bearer = !self.dpop.as_ref().is_some_and(dpop::Verifier::is_required);
        let bearer = bearer.then_some(Offer::Bearer { realm, scopes });
        let dpop = self.dpop.as_ref().map(|dpop| Offer::Dpop {
            realm,
            scopes,
            algorithms: dpop.algorithms(),
        });
        bearer.into_iter().chain(dpop)
    }

    /// What the next proof of a client that makes proofs has to hold, if anything. `refused_for`:
    /// what this request came to.
    pub(super) fn next_nonce(
        &self,
        request: &AuthRequest<'_>,
        refused_for: Option<Reason>,
        now: UnixTime,
    ) -> Option<HeaderValue> {
        let dpop = self.dpop.as_ref()?;
        let presents = request.headers.contains_key(dpop::DPOP);
        presents
            .then(|| dpop.next_nonce(refused_for, now))
            .flatten()
    }

    /// The identity of a token that has verified, if its sender may use it.
    pub(super) async fn admit(
        &self,
        verified: Verified,
        token: &[u8],
        scheme: TokenScheme,
        request: &AuthRequest<'_>,
        now: UnixTime,
        trace: &mut Trace,
    ) -> Result<Identity, Refusal> {
        let required = self.dpop.as_ref().is_some_and(dpop::Verifier::is_required);
        let confirmation = verified.confirmation.as_deref().copied();
        let Confirmation { key, certificate } = match (confirmation, scheme) {
            (None, TokenScheme::Bearer) if !required => return Ok(verified.identity),
            (None, _) => Confirmation::default(),
            (Some(confirmation), _) => confirmation,
        };
        if let Some(wanted) = certificate {
            match request
                .certificate
                .map(|presented| presented.certificate.sha256())
            {
                Some(presented) if presented == wanted => {}
                Some(_) => return Err(Reason::WrongCertificate.into()),
                None => {
                    trace.detail(|| "it is bound to a certificate, and none was shown".to_owned());
                    return Err(Reason::SenderBound.into());
                }
            }
        }
        match (key, scheme, &self.dpop) {
            (None, TokenScheme::Bearer, _) if !required => {}
            (None, _, _) => {
                trace.detail(|| "cnf.jkt is absent: it is bound to no key".to_owned());
                return Err(Reason::NotBound.into());
            }
            (Some(key), TokenScheme::Dpop, Some(dpop)) => {
                // In a box: few requests need its state, and every one would have room for it.
                Box::pin(dpop.verify(token, key, request.headers, request.target, now, trace))
                    .await?;
            }
            (Some(_), _, _) => {
                trace.detail(|| "it is bound to a key, and came without a proof".to_owned());
                return Err(Reason::SenderBound.into());
            }
        }
        Ok(verified.identity)
    }
}
