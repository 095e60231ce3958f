//! What authentication keeps for the life of the process, whatever configuration serves.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use jose::{KeySets, NoTlsProvider};

use super::api_key::KeyUses;
use super::basic::Passwords;
use super::dpop::{ProofStore, Proofs, ProofsStatus};
use super::failures::SharedFailures;
use super::fetching::USER_AGENT;
use super::introspection::{IntrospectionStatus, Introspections};
use super::jwt;
use super::receiver::{Kind, Receiver, ReceiverStatus, SharedReceivers};
use super::revocation::{JournalError, Revocations};
use super::token_cache::{TokenCache, TokenCacheStatus};
use crate::config::{BackchannelLogout, Jwt, SecurityEvents};

/// Why there is nothing to share.
#[derive(Debug, thiserror::Error)]
pub enum SharedError {
    /// Key sets cannot be kept.
    #[error("key sets: {0}")]
    KeySets(#[from] NoTlsProvider),
    /// What was revoked cannot be read.
    #[error(transparent)]
    Revocations(#[from] JournalError),
    /// The system is in no state to keep a secret.
    #[error("the system provides no random numbers")]
    NoRandomNumbers,
}

/// The hashing of passwords, for a status page or a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordsStatus {
    /// How many were hashed since the process began.
    pub hashed: u64,
    /// How many wait for a thread that hashes.
    pub waiting: u64,
}

/// Key sets, tokens that verified, and what is known of passwords. Made once; a clone is the same.
/// A reload builds its chains over it, so that nothing has to be fetched or hashed again.
#[derive(Debug, Clone)]
pub struct Shared {
    pub(super) key_sets: KeySets,
    /// Questions about tokens.
    pub(super) introspections: Introspections,
    /// Of every step, whatever its keys.
    tokens: Arc<ArcSwap<TokenCache>>,
    pub(super) passwords: Passwords,
    pub(super) key_uses: Arc<KeyUses>,
    pub(super) revocations: Revocations,
    pub(super) receivers: Arc<SharedReceivers>,
    pub(super) proofs: Arc<Proofs>,
    /// The same for steps in shadow.
    shadow: Arc<ShadowShared>,
}

/// What steps in shadow have for themselves, so that they lock nobody out, and nobody waits or is
/// turned away because of what they hash or ask.
#[derive(Debug)]
struct ShadowShared {
    introspections: Introspections,
    passwords: Passwords,
    key_uses: Arc<KeyUses>,
    proofs: Arc<Proofs>,
}

impl Shared {
    /// Good key sets and revocations are also kept under `state_dir`.
    pub fn new(state_dir: Option<PathBuf>) -> Result<Self, SharedError> {
        let revocations = Revocations::open(state_dir.clone())?;
        let proofs = Proofs::new(state_dir.as_deref());
        let proofs = proofs.map_err(|_| SharedError::NoRandomNumbers)?;
        Self::over(KeySets::new(USER_AGENT, state_dir)?, revocations, proofs)
    }

    /// The same over key sets that are there already.
    pub(super) fn over(
        key_sets: KeySets,
        revocations: Revocations,
        proofs: Proofs,
    ) -> Result<Self, SharedError> {
        let tokens = TokenCache::off().map_err(|_| SharedError::NoRandomNumbers)?;
        let in_shadow = Proofs::for_shadow().map_err(|_| SharedError::NoRandomNumbers)?;
        let passwords = || Passwords::new().map_err(|_| SharedError::NoRandomNumbers);
        Ok(Self {
            key_sets,
            introspections: Introspections::default(),
            tokens: Arc::new(ArcSwap::from_pointee(tokens)),
            passwords: passwords()?,
            key_uses: Arc::new(KeyUses::new()),
            revocations,
            receivers: Arc::new(SharedReceivers::new()),
            proofs: Arc::new(proofs),
            shadow: Arc::new(ShadowShared {
                introspections: Introspections::default(),
                passwords: passwords()?,
                key_uses: Arc::new(KeyUses::new()),
                proofs: Arc::new(in_shadow),
            }),
        })
    }

    /// The same for steps in shadow, which hash, ask, count failures and use proofs up apart
    /// from those that are enforced.
    #[must_use]
    pub fn for_shadow(&self) -> Self {
        Self {
            introspections: self.shadow.introspections.clone(),
            passwords: self.shadow.passwords.clone(),
            key_uses: self.shadow.key_uses.clone(),
            proofs: self.shadow.proofs.clone(),
            ..self.clone()
        }
    }

    /// Counts failed passwords and API keys together with other nodes from now on.
    pub fn share(&self, store: &Arc<dyn SharedFailures>) {
        self.passwords.share(store.clone());
        self.key_uses.failures.share(store.clone());
    }

    /// How the hashing of passwords stands.
    pub fn passwords(&self) -> PasswordsStatus {
        PasswordsStatus {
            hashed: self.passwords.hashed(),
            waiting: self.passwords.waiting(),
        }
    }

    /// How many proofs of possession are remembered (RFC 9449).
    pub fn proofs(&self) -> ProofsStatus {
        self.proofs.status()
    }

    /// Lets a store tell which proofs other processes have seen; `None`: none does.
    pub fn share_proofs(&self, store: Option<Arc<dyn ProofStore>>) {
        self.proofs.share(store);
    }

    /// How the questions about tokens stand.
    pub fn introspections(&self) -> IntrospectionStatus {
        self.introspections.status()
    }

    /// Sets how many bytes of verified tokens are remembered, for chains that are built from now
    /// on; 0, as at first, remembers none. Another limit than before begins anew.
    pub fn remember_tokens(&self, bytes: u64) {
        let tokens = self.tokens().limited_to(bytes);
        self.tokens.store(Arc::new(tokens));
    }

    /// How the cache of verified tokens stands.
    pub fn token_cache(&self) -> TokenCacheStatus {
        self.tokens.load().status()
    }

    /// The cache of verified tokens.
    pub(super) fn tokens(&self) -> TokenCache {
        (**self.tokens.load()).clone()
    }

    /// What takes the posts of an endpoint with `service = "backchannel-logout"`. Reads key files
    /// and registers key sets.
    ///
    /// # Errors
    ///
    /// Why the issuer's keys cannot be used.
    pub fn backchannel_logout(
        &self,
        endpoint: &Arc<str>,
        settings: &BackchannelLogout,
    ) -> Result<Receiver, String> {
        let kind = Kind::BackchannelLogout(settings.clone());
        self.receiver(endpoint, kind, &settings.tokens)
    }

    /// The same with `service = "security-events"`.
    ///
    /// # Errors
    ///
    /// Why the transmitter's keys cannot be used.
    pub fn security_events(
        &self,
        endpoint: &Arc<str>,
        settings: &SecurityEvents,
    ) -> Result<Receiver, String> {
        let kind = Kind::SecurityEvents(settings.clone());
        self.receiver(endpoint, kind, &settings.tokens)
    }

    fn receiver(
        &self,
        endpoint: &Arc<str>,
        kind: Kind,
        tokens: &Arc<Jwt>,
    ) -> Result<Receiver, String> {
        let (key_sets, questions) = (&self.key_sets, &self.introspections);
        let verifier = jwt::Verifier::build(tokens, key_sets, questions, self.tokens());
        let verifier = verifier.map_err(|cause| cause.to_string())?;
        let (receivers, list) = (&self.receivers, &self.revocations);
        Ok(Receiver::new(endpoint, kind, verifier, receivers, list))
    }

    /// How posts to endpoints that are told of revocations ended.
    pub fn receivers(&self) -> [ReceiverStatus; 2] {
        self.receivers.status()
    }

    /// What was revoked before its time.
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// Those of all steps with a `jwks_url`, fetched in the background.
    pub fn key_sets(&self) -> &KeySets {
        &self.key_sets
    }
}
