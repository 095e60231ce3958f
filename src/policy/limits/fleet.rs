//! The other nodes, as far as counts are shared with them.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use super::budgets::Budgets;
use super::requester::LimitKey;

/// Among so many the keys are divided whose leases are waited for.
const NOTIFIERS: usize = 256;

/// The store that counts are shared by, if there is one.
pub(super) struct Fleet {
    pub(super) store: OnceLock<Arc<dyn Budgets>>,
    /// Whoever waits for a lease is woken when one has arrived: of the same key, or of a few
    /// others.
    arrivals: [Notify; NOTIFIERS],
    hasher: RandomState,
}

impl Fleet {
    /// What wakes those who wait for a lease of this key.
    pub(super) fn arrival(&self, key: &LimitKey) -> &Notify {
        let hash = self.hasher.hash_one(key) as usize;
        &self.arrivals[hash % NOTIFIERS]
    }
}

impl Default for Fleet {
    fn default() -> Self {
        Self {
            store: OnceLock::new(),
            arrivals: std::array::from_fn(|_| Notify::new()),
            hasher: RandomState::new(),
        }
    }
}
