//! What was revoked before its time: tokens by `jti`, `sid`, `sub`, `client_id` or their issuer,
//! API keys, and client certificates.
//!
//! The list is asked after a credential has verified, remembered or not. An identity, which the
//! cache of tokens shares, remembers the generation of the list in which nothing named it: while
//! the list is the same, asking again compares two numbers.

mod entry;
mod index;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use jose::clock;
use tokio::sync::watch;

use super::identity::Identity;
use index::Index;

pub use entry::{
    Change, Deletion, FormError, InvalidId, Revocation, RevocationId, Target, TokenSelector,
};

/// The list of revocations. A clone is the same list.
#[derive(Debug, Clone)]
pub struct Revocations(Arc<List>);

#[derive(Debug)]
struct List {
    /// 0: there has never been an entry.
    generation: AtomicU64,
    index: RwLock<Index>,
    changes: watch::Sender<u64>,
    keep_secs: AtomicU64,
}

impl Default for Revocations {
    fn default() -> Self {
        Self(Arc::new(List {
            generation: AtomicU64::new(0),
            index: RwLock::default(),
            changes: watch::Sender::new(0),
            keep_secs: AtomicU64::new(30 * 86_400),
        }))
    }
}

impl Revocations {
    /// Whether the credential behind an identity is revoked.
    pub fn is_revoked(&self, identity: &Identity) -> bool {
        // What is found out holds for this generation at least.
        let generation = self.0.generation.load(Ordering::Acquire);
        identity.clear_in() != generation && self.look_up(identity, generation)
    }

    /// The generation of the list, whenever it changes: entries came, went or expired.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    #[cold]
    fn look_up(&self, identity: &Identity, generation: u64) -> bool {
        let keep_secs = self.0.keep_secs.load(Ordering::Relaxed);
        let index = self.0.index.read().unwrap_or_else(PoisonError::into_inner);
        let revoked = index.names(identity, clock::now() as u64, keep_secs);
        if !revoked {
            identity.found_clear_in(generation);
        }
        revoked
    }

    /// Takes changes in, of this node or another one. How many changed anything.
    pub fn apply(&self, changes: &[Change]) -> usize {
        let mut index = self.0.index.write().unwrap_or_else(PoisonError::into_inner);
        let changed = changes.iter().filter(|change| index.apply(change)).count();
        if changed > 0 {
            // While the list is locked: whoever sees the new generation sees the new list.
            let generation = self.0.generation.fetch_add(1, Ordering::Release) + 1;
            self.0.changes.send_replace(generation);
        }
        changed
    }
}
