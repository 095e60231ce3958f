//! Tokens that verified, remembered so that the next request with one costs a short hash instead of
//! a signature.
//!
//! One cache for the process; it survives reloads. What a verdict belongs to is its caller's
//! business: here it is a text, of which 16 bytes are kept ([`TokenKey`]). Only successes are kept,
//! no token is, and whether a token counts at a moment is asked on every hit ([`Validity`]).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;
use jose::{Validity, clock};
use moka::Expiry;
use moka::sync::Cache;
use ring::rand::{SecureRandom, SystemRandom};

use super::confirmation::Confirmation;
use super::identity::Identity;

/// What an entry takes besides its identity, in bytes: its key, its places in the cache's table,
/// queues and timer, its share of the frequency sketch, and what the allocator adds. Measured by
/// `benches/tokens.rs`.
const OVERHEAD: usize = 600;

/// No entry is kept longer, however late its token expires.
const LONGEST: Duration = Duration::from_secs(86_400);

/// A token that verified.
#[derive(Clone)]
pub(super) struct Verified {
    pub(crate) identity: Identity,
    pub(crate) validity: Validity,
    /// When its issuer has to be asked about it again. `None`: never.
    pub(crate) next_check: Option<Instant>,
    /// What its sender has to have. `None`: it is bound to nothing.
    pub(crate) confirmation: Option<Arc<Confirmation>>,
}

impl Verified {
    /// Whether its issuer has to be asked about it again, before it passes.
    pub(crate) fn is_due(&self) -> bool {
        self.next_check.is_some_and(|due| Instant::now() >= due)
    }
}

/// What a verdict belongs to: a hash, under a secret of the process, of a token and of everything
/// else that the verdict depends on.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TokenKey([u8; 16]);

/// The cache. A clone is the same cache.
#[derive(Clone)]
pub(crate) struct TokenCache {
    /// `None`: switched off.
    entries: Option<Cache<TokenKey, Verified>>,
    secret: Arc<LessSafeKey>,
    limit: u64,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
}

/// How the verified-token cache stands, for a status page or a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenCacheStatus {
    /// Tokens that were found, since the process began.
    pub hits: u64,
    /// Tokens that had to be verified, since the process began; good or not.
    pub misses: u64,
    /// How many are remembered.
    pub entries: u64,
    /// About how many bytes they take.
    pub bytes: u64,
    /// How many bytes they may take. 0: switched off.
    pub limit: u64,
}

impl TokenCache {
    /// An empty cache that is switched off. Fails when the system provides no random numbers.
    pub(crate) fn off() -> Result<Self, Unspecified> {
        let mut secret = [0; 16];
        // The system's own random numbers: those of aws-lc take 30 ms to begin with.
        SystemRandom::new()
            .fill(&mut secret)
            .map_err(|_| Unspecified)?;
        Ok(Self {
            entries: None,
            secret: Arc::new(LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &secret)?)),
            limit: 0,
            counters: Arc::default(),
        })
    }

    /// This cache; or an empty one that goes on counting, if the limit in bytes is another. 0
    /// switches it off.
    pub(crate) fn limited_to(&self, limit: u64) -> Self {
        if limit == self.limit {
            return self.clone();
        }
        let build = || {
            Cache::builder()
                .max_capacity(limit)
                .weigher(|_, verified: &Verified| weight(verified))
                .expire_after(AtExpiry)
                .build()
        };
        Self {
            entries: (limit > 0).then(build),
            secret: self.secret.clone(),
            limit,
            counters: self.counters.clone(),
        }
    }

    /// The key of a text. `None`: it cannot be had, so nothing is remembered of it.
    ///
    /// It is the authentication tag of AES-GCM: several times as fast as a SHA-256 where the
    /// processor has no instructions for that. To whoever knows neither the secret nor a tag, two
    /// texts have the same one with a probability of their length in blocks over 2^128 (McGrew and
    /// Viega, "The Security and Performance of the Galois/Counter Mode", 2004); no tag leaves the
    /// process, so one nonce will do.
    pub(crate) fn key(&self, text: &[u8]) -> Option<TokenKey> {
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let tag = self
            .secret
            .seal_in_place_separate_tag(nonce, Aad::from(text), &mut [])
            .ok()?;
        Some(TokenKey(tag.as_ref().try_into().ok()?))
    }

    /// Whether nothing is ever remembered.
    pub(crate) fn is_off(&self) -> bool {
        self.entries.is_none()
    }

    /// Looks a verdict up, and counts.
    pub(crate) fn get(&self, key: &TokenKey) -> Option<Verified> {
        let found = self.entries.as_ref()?.get(key);
        let counter = match &found {
            Some(_) => &self.counters.hits,
            None => &self.counters.misses,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// The same without counting a hit or a miss, for a second look-up of the same request.
    pub(crate) fn peek(&self, key: &TokenKey) -> Option<Verified> {
        self.entries.as_ref()?.get(key)
    }

    /// Forgets a verdict.
    pub(crate) fn remove(&self, key: &TokenKey) {
        if let Some(entries) = &self.entries {
            entries.invalidate(key);
        }
    }

    /// Remembers a verdict.
    pub(crate) fn insert(&self, key: TokenKey, verified: Verified) {
        if let Some(entries) = &self.entries {
            entries.insert(key, verified);
        }
    }

    /// How it stands.
    pub(crate) fn status(&self) -> TokenCacheStatus {
        let entries = self.entries.as_ref();
        if let Some(entries) = entries {
            // What was inserted or has expired a moment ago is not counted yet.
            entries.run_pending_tasks();
        }
        TokenCacheStatus {
            hits: self.counters.hits.load(Ordering::Relaxed),
            misses: self.counters.misses.load(Ordering::Relaxed),
            entries: entries.map_or(0, Cache::entry_count),
            bytes: entries.map_or(0, Cache::weighted_size),
            limit: self.limit,
        }
    }
}

/// Shows no identity.
impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.status().fmt(f)
    }
}

fn weight(verified: &Verified) -> u32 {
    let confirmation = verified.confirmation.as_ref();
    let confirmation = confirmation.map_or(0, |_| 16 + size_of::<Confirmation>());
    u32::try_from(OVERHEAD + verified.identity.bytes() + confirmation).unwrap_or(u32::MAX)
}

/// Lets an entry go when its token is no longer good.
struct AtExpiry;

impl Expiry<TokenKey, Verified> for AtExpiry {
    fn expire_after_create(
        &self,
        _: &TokenKey,
        verified: &Verified,
        _: Instant,
    ) -> Option<Duration> {
        let left = (verified.validity.until - clock::now()).max(0.0);
        Some(Duration::try_from_secs_f64(left).map_or(LONGEST, |left| left.min(LONGEST)))
    }

    fn expire_after_update(
        &self,
        key: &TokenKey,
        verified: &Verified,
        now: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(key, verified, now)
    }
}
