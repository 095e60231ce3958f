//! Proofs of possession (RFC 9449): a token that is bound to a key passes only with a proof that
//! its sender has the key, made for this request, a moment ago, and never seen before.
//!
//! `jose` takes a proof apart and verifies its signature; this file says whether it is one for the
//! request and the token, `nonce` gives out what a proof may have to hold, and `replays` remembers
//! which proofs were used.

mod nonce;
mod replays;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jose::clock::{self, UnixTime};
use jose::{Proof, TokenError};
use ring::digest::{SHA256, digest};
use ring::error::Unspecified;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::Value;
use tokio::sync::OnceCell;

use self::nonce::Nonces;
use self::replays::Replays;
pub use self::replays::{ProofId, ProofStore, ProofsStatus};
use super::outcome::{ProofError, Refusal};
use super::trace::Trace;
use crate::config::{Dpop, DpopNonce, JwtAlgorithm};

/// The field that a proof comes in.
pub(crate) const DPOP: HeaderName = HeaderName::from_static("dpop");
/// The field that tells what the next one has to hold.
pub(crate) const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
/// How far ahead of ours the clock of a client may be.
const AHEAD: Duration = Duration::from_secs(5);

/// A request as its client sees it, and what the proof for it was found to be.
#[derive(Debug, Clone, Copy)]
pub struct RequestTarget<'a> {
    /// The method.
    pub method: &'a Method,
    /// The URL.
    pub url: &'a dyn TargetUrl,
    /// One for each request.
    pub proof: &'a ProofMemo,
}

/// The URL of a request. It is shown to the operator who asks.
pub trait TargetUrl: fmt::Debug + Sync {
    /// Whether a URL names it, whatever the spelling; query and fragment do not count.
    fn is_named_by(&self, url: &str) -> bool;
}

/// What the proof of one request was found to be: however many steps ask, it is verified once, and
/// used once.
#[derive(Debug, Default)]
pub struct ProofMemo(OnceLock<Box<Memo>>);

#[derive(Debug)]
struct Memo {
    verified: Result<Proof, ProofError>,
    first_use: OnceCell<Result<(), Refusal>>,
}

/// What the steps of a process share.
#[derive(Debug)]
pub(super) struct Proofs {
    /// When the process began: nobody knows which proofs were used before.
    started: UnixTime,
    nonce_key: [u8; 32],
    replays: Replays,
}

impl Proofs {
    pub(super) fn new() -> Result<Self, Unspecified> {
        let mut nonce_key = [0; 32];
        SystemRandom::new().fill(&mut nonce_key)?;
        Ok(Self {
            started: clock::now(),
            nonce_key,
            replays: Replays::default(),
        })
    }

    /// Lets a store tell what other processes have seen.
    pub(super) fn share(&self, store: Option<Arc<dyn ProofStore>>) {
        self.replays.share(store);
    }

    pub(super) fn status(&self) -> ProofsStatus {
        self.replays.status()
    }
}

/// The proofs that one step takes.
#[derive(Debug)]
pub(super) struct Verifier {
    settings: Dpop,
    nonces: Option<Nonces>,
    proofs: Arc<Proofs>,
}

impl Verifier {
    pub(super) fn new(settings: &Dpop, proofs: &Arc<Proofs>) -> Self {
        let nonces = settings.nonce.as_ref().map(|nonce| match nonce {
            DpopNonce::OfProcess => Nonces::new(&proofs.nonce_key),
            DpopNonce::OfFleet(secret) => Nonces::new(secret.expose().as_bytes()),
        });
        Self {
            nonces,
            settings: settings.clone(),
            proofs: proofs.clone(),
        }
    }

    /// What proofs may be signed with.
    pub(super) fn algorithms(&self) -> &[JwtAlgorithm] {
        &self.settings.algorithms
    }

    /// Whether a token without a proof never passes.
    pub(super) fn is_required(&self) -> bool {
        self.settings.required
    }

    /// What the next proof has to hold; `None`: nothing.
    pub(super) fn next_nonce(&self, now: UnixTime) -> Option<HeaderValue> {
        self.nonces.as_ref().map(|nonces| nonces.at(now))
    }

    /// Whether a request has a proof that the sender of `token` has the key of this thumbprint.
    pub(super) async fn verify(
        &self,
        token: &[u8],
        key: [u8; 32],
        headers: &HeaderMap,
        target: Option<RequestTarget<'_>>,
        now: UnixTime,
        trace: &mut Trace,
    ) -> Result<(), Refusal> {
        let mut fields = headers.get_all(DPOP).iter();
        let text = match (fields.next(), fields.next()) {
            (None, _) => return Err(ProofError::Missing.into()),
            (Some(_), Some(_)) => return Err(ProofError::Repeated.into()),
            (Some(field), None) => field.as_bytes(),
        };
        let target = target.ok_or(ProofError::WrongUrl)?;
        let memo = target.proof.0.get_or_init(|| {
            Box::new(Memo {
                verified: Proof::verify(text).map_err(ProofError::from),
                first_use: OnceCell::new(),
            })
        });
        let proof = memo.verified.as_ref().map_err(|error| *error)?;
        self.judge(proof, token, key, target, now, trace)?;
        let id = proof.claims().get("jti").and_then(Value::as_str);
        let id = id.filter(|id| !id.is_empty()).ok_or(ProofError::NoId)?;
        if trace.is_on() {
            trace.detail(|| "whether the proof was used before is not looked at".to_owned());
            return Ok(());
        }
        self.check_not_before_start(proof)?;
        let id = ProofId::new(&key, id);
        let keep = self.settings.max_age + AHEAD;
        let first_use = || self.proofs.replays.first_use(key, id, now, keep);
        *memo.first_use.get_or_init(first_use).await
    }

    /// Whether a proof that was judged well was certainly not used before the process began. In
    /// whole seconds, one that was made in the second of the start may be older; a nonce of this
    /// process is younger.
    fn check_not_before_start(&self, proof: &Proof) -> Result<(), ProofError> {
        if matches!(self.settings.nonce, Some(DpopNonce::OfProcess)) {
            return Ok(());
        }
        let made = proof.claims().get("iat").and_then(Value::as_f64);
        match made {
            Some(made) if made >= self.proofs.started => Ok(()),
            _ => Err(ProofError::BeforeStart),
        }
    }

    /// Whether a proof is one for this request and this token, and made now.
    fn judge(
        &self,
        proof: &Proof,
        token: &[u8],
        key: [u8; 32],
        target: RequestTarget<'_>,
        now: UnixTime,
        trace: &mut Trace,
    ) -> Result<(), ProofError> {
        let claims = proof.claims();
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if !self.settings.algorithms.contains(&proof.algorithm()) {
            trace.detail(|| format!("alg of the proof is {:?}", proof.algorithm().name()));
            return Err(ProofError::WrongAlgorithm);
        }
        if proof.thumbprint() != key {
            return Err(ProofError::WrongKey);
        }
        if text("htm") != Some(target.method.as_str()) {
            trace.detail(|| format!("htm is {:?}", text("htm")));
            return Err(ProofError::WrongMethod);
        }
        if !text("htu").is_some_and(|url| target.url.is_named_by(url)) {
            trace.detail(|| {
                format!(
                    "htu is {:?}, the request is for {:?}",
                    text("htu"),
                    target.url
                )
            });
            return Err(ProofError::WrongUrl);
        }
        let hash = URL_SAFE_NO_PAD.encode(digest(&SHA256, token));
        if text("ath") != Some(&hash) {
            return Err(ProofError::WrongToken);
        }
        let made = claims.get("iat").and_then(Value::as_f64);
        let made = made.ok_or(ProofError::Malformed)?;
        let too_old = now - made > self.settings.max_age.as_secs_f64();
        let validity = claims.validity_if_any(AHEAD);
        match validity.map_err(|_| ProofError::Malformed)?.check(now) {
            Ok(()) if too_old => Err(ProofError::TooOld),
            Ok(()) => Ok(()),
            Err(TokenError::Expired) => Err(ProofError::TooOld),
            Err(_) => Err(ProofError::NotYetValid),
        }
        .inspect_err(|_| trace.detail(|| format!("iat of the proof is {made}, now is {now:.0}")))?;
        match &self.nonces {
            Some(nonces) if !text("nonce").is_some_and(|nonce| nonces.has_given(nonce, now)) => {
                Err(ProofError::Nonce)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
