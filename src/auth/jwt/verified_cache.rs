//! What one step remembers of tokens that verified, in the cache of the process.
//!
//! A verdict is found only under the settings and the keys that it was reached with: both are part
//! of what its key is a hash of. A change of either, by a reload or by a refresh of a key set,
//! leaves it unreachable.

use std::hash::Hash;

use super::source::{self, Generation};
use super::trust::Trusted;
use crate::auth::introspection;
use crate::auth::settings_digest::SettingsDigest;
use crate::auth::token_cache::{TokenCache, TokenKey, Verified};
use crate::config::Jwt;

/// The part of the cache that belongs to one step.
pub(super) struct VerifiedCache {
    cache: TokenCache,
    /// The SHA-256 of the settings and the keys that do not change.
    settings: [u8; 32],
    /// Whether the issuer is asked about tokens, so that a location is needed even where nothing is
    /// remembered.
    introspects: bool,
}

/// Where the verdict on a token belongs, as the keys stood when it was asked for.
pub(super) struct CacheSlot {
    pub(super) key: TokenKey,
    /// The issuers, by index, whose keys were at hand: only under these may a verdict be kept.
    settled: u64,
}

impl VerifiedCache {
    /// Takes in everything that a verdict depends on, but for the tokens and the keys that are
    /// fetched.
    pub(super) fn new(settings: &Jwt, issuers: &[Trusted], cache: TokenCache) -> Self {
        // Without `..`: a setting that is added later has to be taken in too.
        let Jwt {
            algorithm,
            issuers: written,
            rules,
            introspection,
            accepted_types,
            access_token_profile,
            location,
            // A proof is judged for each request.
            dpop: _,
        } = settings;
        let mut sink = SettingsDigest::new();
        (algorithm, rules, accepted_types, location).hash(&mut sink);
        access_token_profile.hash(&mut sink);
        introspection.is_some().hash(&mut sink);
        if let Some(client) = introspection {
            introspection::hash_client(client, &mut sink);
        }
        for (issuer, written) in issuers.iter().zip(written) {
            written.names.hash(&mut sink);
            source::tell_apart(&issuer.keys, &written.keys, &mut sink);
        }
        Self {
            cache,
            settings: sink.digest(),
            introspects: introspection.is_some(),
        }
    }

    /// The location of a token. `None`: nothing is remembered at all.
    pub(super) fn slot(&self, token: &[u8], issuers: &[Trusted]) -> Option<CacheSlot> {
        if self.cache.is_off() && !self.introspects {
            return None;
        }
        let length = self.settings.len() + 8 * issuers.len() + token.len();
        let mut text = Vec::with_capacity(length);
        text.extend_from_slice(&self.settings);
        let mut settled = 0;
        for (index, issuer) in issuers.iter().enumerate() {
            let generation = match Generation::of(&issuer.keys) {
                Generation::Fixed => 0,
                Generation::Of(generation) => generation,
                Generation::Unsettled => {
                    text.extend_from_slice(&u64::MAX.to_le_bytes());
                    continue;
                }
            };
            settled |= bit(index);
            text.extend_from_slice(&generation.to_le_bytes());
        }
        text.extend_from_slice(token);
        Some(CacheSlot {
            key: self.cache.key(&text)?,
            settled,
        })
    }

    /// The verdict that is kept in a location. Whether the token counts now is not looked at.
    pub(super) fn recall(&self, slot: &CacheSlot) -> Option<Verified> {
        self.cache.get(&slot.key)
    }

    /// Keeps the verdict on a token of the issuer with this index, unless that issuer's keys
    /// arrived only after the location was asked for.
    pub(super) fn keep(&self, slot: &CacheSlot, issuer: usize, verified: &Verified) {
        if slot.may_keep(issuer) {
            self.cache.insert(slot.key, verified.clone());
        }
    }

    /// The cache itself.
    pub(super) fn tokens(&self) -> &TokenCache {
        &self.cache
    }
}

impl CacheSlot {
    /// Whether the keys of the issuer with this index were at hand when the location was asked for.
    pub(super) fn may_keep(&self, issuer: usize) -> bool {
        self.settled & bit(issuer) != 0
    }
}

/// One bit per issuer; none for an issuer beyond the 64 that a configuration can have.
fn bit(index: usize) -> u64 {
    u32::try_from(index)
        .ok()
        .and_then(|index| 1_u64.checked_shl(index))
        .unwrap_or(0)
}

/// Shows neither keys nor tokens.
impl std::fmt::Debug for VerifiedCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifiedCache").finish_non_exhaustive()
    }
}
