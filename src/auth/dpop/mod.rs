//! Proofs of possession (RFC 9449): a token that is bound to a key passes only with a proof that
//! its sender has the key, made for this request, a moment ago, and never seen before.
//!
//! `jose` takes a proof apart and verifies its signature; this file says whether it is one for the
//! request and the token, `nonce` gives out what a proof may have to hold, `replays` remembers
//! which proofs were used, and `earlier` which ones processes before this one may have used.

mod earlier;
mod nonce;
mod replays;

use std::fmt;
use std::path::Path;
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

use self::earlier::EarlierProcesses;
use self::nonce::Nonces;
pub use self::replays::{ProofId, ProofStore, ProofsStatus};
use self::replays::{Replays, Witness};
use super::outcome::{ProofError, Reason, Refusal};
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
    /// When the process began.
    started: UnixTime,
    earlier: EarlierProcesses,
    /// Those of this process: whatever holds one was made after it began.
    nonces: Nonces,
    replays: Replays,
}

impl Proofs {
    /// What was used before stands in a state directory.
    pub(super) fn new(state_dir: Option<&Path>) -> Result<Self, Unspecified> {
        Self::after(EarlierProcesses::of(state_dir, clock::now()))
    }

    /// For steps in shadow, which use no proof up.
    pub(super) fn for_shadow() -> Result<Self, Unspecified> {
        Self::after(EarlierProcesses::none(clock::now()))
    }

    fn after(earlier: EarlierProcesses) -> Result<Self, Unspecified> {
        let mut nonce_key = [0; 32];
        SystemRandom::new().fill(&mut nonce_key)?;
        Ok(Self {
            started: clock::now().floor(),
            earlier,
            nonces: Nonces::new(&nonce_key),
            replays: Replays::default(),
        })
    }

    /// Whether a proof that was made well was certainly not used before: `Witness::Store` knows of
    /// other processes, and a nonce of this one is younger than they are. A proof that is older
    /// than the process is never taken without one.
    async fn check_unused_before(
        &self,
        proof: &Proof,
        key: [u8; 32],
        id: &str,
        now: UnixTime,
    ) -> Result<(), Refusal> {
        let claims = proof.claims();
        let made = claims.get("iat").and_then(Value::as_f64).unwrap_or(0.0);
        let nonce = claims.get("nonce").and_then(Value::as_str);
        self.earlier.record(made).await;
        let id = ProofId::new(&key, id);
        let witness = self.replays.first_use(key, id, made, now).await?;
        let in_doubt = match witness {
            Witness::Store => made < self.started,
            Witness::Process => made < self.started || self.earlier.may_have_used(made),
        };
        if in_doubt && !nonce.is_some_and(|nonce| self.nonces.has_given(nonce, now)) {
            return Err(ProofError::BeforeStart.into());
        }
        Ok(())
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
    /// Those of `dpop_nonce_secret`.
    fleet_nonces: Option<Nonces>,
    proofs: Arc<Proofs>,
}

impl Verifier {
    pub(super) fn new(settings: &Dpop, proofs: &Arc<Proofs>) -> Self {
        proofs.replays.remember_for(settings.max_age, clock::now());
        let fleet_nonces = match &settings.nonce {
            Some(DpopNonce::OfFleet(secret)) => Some(Nonces::new(secret.expose().as_bytes())),
            Some(DpopNonce::OfProcess) | None => None,
        };
        Self {
            fleet_nonces,
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

    /// What the next proof has to hold; `None`: nothing. `refused_for`: what this one came to.
    pub(super) fn next_nonce(
        &self,
        refused_for: Option<Reason>,
        now: UnixTime,
    ) -> Option<HeaderValue> {
        let of_process = refused_for == Some(Reason::Proof(ProofError::BeforeStart));
        match (&self.fleet_nonces, &self.settings.nonce) {
            (Some(nonces), _) if !of_process => Some(nonces.at(now)),
            (None, None) if !of_process => None,
            _ => Some(self.proofs.nonces.at(now)),
        }
    }

    /// Whether a proof holds a nonce that the step takes. One of this process is as good as one of
    /// the fleet.
    fn takes_nonce(&self, nonce: &str, now: UnixTime) -> bool {
        let of_fleet = self.fleet_nonces.as_ref();
        of_fleet.is_some_and(|nonces| nonces.has_given(nonce, now))
            || self.proofs.nonces.has_given(nonce, now)
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
        self.check_claims(proof, token, key, target, now, trace)?;
        let id = proof.claims().get("jti").and_then(Value::as_str);
        let id = id.filter(|id| !id.is_empty()).ok_or(ProofError::NoId)?;
        if trace.is_explain() {
            trace.detail(|| "whether the proof was used before is not looked at".to_owned());
            return Ok(());
        }
        let first_use = || self.proofs.check_unused_before(proof, key, id, now);
        *memo.first_use.get_or_init(first_use).await
    }

    /// Whether a proof is one for this request and this token, and made now.
    fn check_claims(
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
        let is_taken = |nonce: &str| self.takes_nonce(nonce, now);
        match self.settings.nonce {
            Some(_) if !text("nonce").is_some_and(is_taken) => Err(ProofError::Nonce),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
