//! API keys: the presented one is hashed and looked up. The keys themselves are known nowhere here.
//!
//! A key is long and random, or it should be: one round of SHA-256 is enough to store it, unlike a
//! password. Guesses are counted by client address all the same, for those that are not.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use foldhash::quality::RandomState;
use http::HeaderValue;
use ring::{digest, hmac};

use super::error::BuildCause;
use super::extractor::{self, Found};
use super::failures::{FailureLimit, Failures};
use super::identity::{AuthMethod, Content, Credential, Identity};
use super::outcome::{Outcome, Reason, Refusal};
use super::request::AuthRequest;
use crate::common::WeakMap;
use crate::config::{ApiKey, CredentialLocation, KeyDigest};
use jose::clock::UnixTime;

/// An `api-key` step, ready to look keys up.
#[derive(Debug)]
pub(crate) struct Verifier {
    name: Arc<str>,
    settings: Arc<ApiKey>,
    keys: HashMap<KeyDigest, Key>,
    /// Whether any key is stored as plain SHA-256; if not, that hash is skipped.
    plain: bool,
    pepper: Option<hmac::Key>,
    uses: Arc<KeyUses>,
}

/// What the `api-key` steps of a process know of their clients. A reload keeps it, and so do two
/// pipelines with the same step.
#[derive(Debug)]
pub(super) struct KeyUses {
    pub(super) failures: Failures,
    /// By step and key.
    users: WeakMap<(Arc<str>, KeyDigest), Users>,
    hasher: RandomState,
}

impl KeyUses {
    pub(super) fn new() -> Self {
        Self {
            failures: Failures::new(),
            users: WeakMap::default(),
            hasher: RandomState::default(),
        }
    }
}

#[derive(Debug)]
struct Key {
    digest: KeyDigest,
    identity: Identity,
    expires_at: Option<UnixTime>,
    has_scopes: bool,
    users: Arc<Users>,
}

impl Key {
    fn verdict(&self, now: UnixTime) -> Result<(), Reason> {
        if self.expires_at.is_some_and(|end| now >= end) {
            return Err(Reason::Expired);
        }
        match self.has_scopes {
            true => Ok(()),
            false => Err(Reason::ScopeMissing),
        }
    }
}

/// How many of the addresses that have used a key are remembered.
const USERS: usize = 16;

/// The addresses that have used a key lately, by their hashes; 0: none.
#[derive(Debug, Default)]
struct Users {
    recent: [AtomicU64; USERS],
    next: AtomicUsize,
}

impl Users {
    fn hold(&self, user: u64) -> bool {
        let mut recent = self.recent.iter();
        recent.any(|known| known.load(Ordering::Relaxed) == user)
    }

    /// Replaces the oldest one.
    fn add(&self, user: u64) {
        let next = self.next.fetch_add(1, Ordering::Relaxed) % USERS;
        self.recent[next].store(user, Ordering::Relaxed);
    }
}

impl Verifier {
    /// Makes the table of digests. `name` is the step's: failures are counted under it.
    pub(super) fn build(
        name: &Arc<str>,
        settings: &Arc<ApiKey>,
        uses: &Arc<KeyUses>,
    ) -> Result<Self, BuildCause> {
        let mut keys = HashMap::new();
        for entry in &settings.keys {
            let subject = HeaderValue::from_str(&entry.id).map_err(|_| BuildCause::UnfitSubject)?;
            #[allow(clippy::cast_precision_loss, reason = "exact for 285 million years")]
            let expires_at = entry.expires_at.map(|seconds| seconds as UnixTime);
            let key = Key {
                digest: entry.digest.clone(),
                identity: Identity::new(Content {
                    method: AuthMethod::ApiKey,
                    subject: Some(subject),
                    headers: Vec::new(),
                    valid_until: expires_at,
                    credential: Credential::ApiKey(entry.digest.clone()),
                    claims: None,
                    key_scopes: entry.scopes.clone().into(),
                }),
                expires_at,
                has_scopes: settings
                    .required_scopes
                    .iter()
                    .all(|scope| entry.scopes.contains(scope)),
                users: uses
                    .users
                    .get_or_make((name.clone(), entry.digest.clone()), |_| Arc::default()),
            };
            keys.insert(entry.digest.clone(), key);
        }
        let is_plain = |digest: &KeyDigest| matches!(digest, KeyDigest::Sha256(_));
        let pepper = settings
            .pepper
            .as_ref()
            .map(|pepper| hmac::Key::new(hmac::HMAC_SHA256, pepper.expose().as_bytes()));
        if pepper.is_none() && !keys.keys().all(is_plain) {
            return Err(BuildCause::NoPepper);
        }
        Ok(Self {
            name: name.clone(),
            settings: settings.clone(),
            plain: keys.keys().any(is_plain),
            keys,
            pepper,
            uses: uses.clone(),
        })
    }

    /// Where the key is looked for.
    pub(crate) fn location(&self) -> &CredentialLocation {
        &self.settings.location
    }

    /// The identity of a key that has passed before, as it is now; `None`: the key does not pass.
    pub(crate) fn current(&self, identity: &Identity, now: UnixTime) -> Option<Identity> {
        let Credential::ApiKey(digest) = identity.credential() else {
            return None;
        };
        let key = self.keys.get(digest)?;
        (key.verdict(now)).map(|()| key.identity.clone()).ok()
    }

    /// Examines the request's key.
    pub(crate) fn authenticate(&self, request: &AuthRequest<'_>, now: UnixTime) -> Outcome {
        let presented = match extractor::find(&self.settings.location, request) {
            Found::Nothing => return Outcome::NotPresented,
            Found::Repeated => return Outcome::Rejected(Reason::Repeated.into()),
            Found::One(presented) => presented,
        };
        if presented.is_empty() {
            return Outcome::Rejected(Reason::Malformed.into());
        }
        let key = match self.look_up_within_limit(&presented, request.source.client) {
            Ok(key) => key,
            Err(refusal) => return Outcome::Rejected(refusal),
        };
        let verdict = match key {
            None => Err(Reason::UnknownKey),
            Some(key) => key.verdict(now).map(|()| key.identity.clone()),
        };
        verdict.into()
    }

    /// Beyond the limit, an address finds only the keys that it has used before, so the refusal
    /// does not tell whether a key is right.
    fn look_up_within_limit(
        &self,
        presented: &[u8],
        client: Option<IpAddr>,
    ) -> Result<Option<&Key>, Refusal> {
        let key = self.look_up(presented);
        let limit = FailureLimit::new(&self.name, self.settings.max_failures, client);
        let user = limit
            .client()
            .map(|client| self.uses.hasher.hash_one(client) | 1);
        if limit.is_none()
            || key
                .zip(user)
                .is_some_and(|(key, user)| key.users.hold(user))
        {
            return Ok(key);
        }
        let attempt = self.uses.failures.try_attempt(&limit)?;
        match (key, user) {
            (None, _) => attempt.failed(),
            (Some(key), Some(user)) => key.users.add(user),
            // Nobody knows whether it is the same client again.
            (Some(_), None) => {}
        }
        Ok(key)
    }

    /// A client cannot steer the digest of what it guesses, so the table gives nothing away; the
    /// comparison that counts takes constant time all the same.
    fn look_up(&self, presented: &[u8]) -> Option<&Key> {
        let plain = self
            .plain
            .then(|| array(digest::digest(&digest::SHA256, presented).as_ref()))
            .flatten()
            .map(KeyDigest::Sha256);
        let peppered = self
            .pepper
            .as_ref()
            .and_then(|pepper| array(hmac::sign(pepper, presented).as_ref()))
            .map(KeyDigest::HmacSha256);
        [plain, peppered].into_iter().flatten().find_map(|digest| {
            let key = self.keys.get(&digest)?;
            verify_slices_are_equal(key.digest.bytes(), digest.bytes()).ok()?;
            Some(key)
        })
    }
}

fn array(bytes: &[u8]) -> Option<[u8; 32]> {
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests;
