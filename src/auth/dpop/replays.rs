//! Proofs that were used: none counts twice (RFC 9449 section 11.1).
//!
//! A proof is remembered for as long as it could be good. What there is no room for is refused;
//! nothing is forgotten before its time.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jose::clock::UnixTime;

use super::AHEAD;
use crate::auth::outcome::{ProofError, Refusal};
use crate::common::sha256;

/// Proofs remembered at most, about 100 bytes each,
const MAX_PROOFS: usize = 1 << 19;
/// and those of one key: a thousand requests a second, by default.
const MAX_PROOFS_PER_KEY: u32 = 1 << 16;
/// How many are forgotten at once while there is room: whoever asks holds up all others.
const FORGOTTEN_AT_ONCE: usize = 256;
/// `Retry-After` where there is no room.
const SOON: u32 = 5;

/// What tells a proof from all others: a hash of its key and its `jti`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProofId([u8; 16]);

impl ProofId {
    pub(super) fn new(key: &[u8; 32], jti: &str) -> Self {
        let mut id = [0; 16];
        id.copy_from_slice(&sha256(&[key, jti.as_bytes()])[..16]);
        Self(id)
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Where the processes of a fleet tell one another which proofs they have seen.
pub trait ProofStore: fmt::Debug + Send + Sync {
    /// Takes note of a proof for a time, and tells whether nobody has used it yet. `None`: there is
    /// no telling now, and this process goes by what it has seen itself.
    fn first_use(
        &self,
        id: ProofId,
        keep: Duration,
    ) -> Pin<Box<dyn Future<Output = Option<bool>> + Send + '_>>;
}

/// Proofs that were used, for a status page or a metric.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProofsStatus {
    /// How many are remembered.
    pub remembered: u64,
    /// How many may be.
    pub limit: u64,
    /// Proofs that came again, since the process began.
    pub replayed: u64,
    /// Proofs that there was no room for, since the process began.
    pub turned_away: u64,
}

/// Who knows that a proof was not used before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Witness {
    /// This process, for as long as it runs.
    Process,
    /// The store, which outlives processes.
    Store,
}

/// The proofs of a process.
#[derive(Default)]
pub(super) struct Replays {
    seen: Mutex<Seen>,
    store: ArcSwapOption<SharedStore>,
}

/// One pointer wide.
struct SharedStore(Arc<dyn ProofStore>);

#[derive(Default)]
struct Seen {
    ids: HashSet<ProofId>,
    /// How many of each key are among them.
    of_key: HashMap<[u8; 32], u32>,
    /// In the order in which they came, each with when that was.
    queue: VecDeque<(UnixTime, ProofId, [u8; 32])>,
    /// For how long they are remembered.
    keep: Duration,
    /// Every proof that was used and made since then is among them.
    complete_since: UnixTime,
    replayed: u64,
    turned_away: u64,
}

impl Replays {
    pub(super) fn share(&self, store: Option<Arc<dyn ProofStore>>) {
        self.store
            .store(store.map(|store| Arc::new(SharedStore(store))));
    }

    /// Remembers proofs for as long as one of this age could be good. Never for less than before:
    /// whichever step takes a proof first, all others go by the same memory.
    pub(super) fn remember_for(&self, max_age: Duration, now: UnixTime) {
        self.locked(|seen| seen.remember_for(max_age, now));
    }

    /// Takes note of a proof of a key. An error: it was used before, that is not known any more, or
    /// there is no room.
    pub(super) async fn first_use(
        &self,
        key: [u8; 32],
        id: ProofId,
        made: UnixTime,
        now: UnixTime,
    ) -> Result<Witness, Refusal> {
        let limits = (MAX_PROOFS, MAX_PROOFS_PER_KEY);
        let keep = self.locked(|seen| {
            let inserted = seen.insert(key, id, made, now, limits);
            inserted.map(|()| seen.keep)
        })?;
        let store = self.store.load_full();
        let Some(store) = store else {
            return Ok(Witness::Process);
        };
        match store.0.first_use(id, keep).await {
            Some(false) => {
                self.locked(|seen| seen.replayed += 1);
                Err(ProofError::Replayed.into())
            }
            Some(true) => Ok(Witness::Store),
            None => Ok(Witness::Process),
        }
    }

    pub(super) fn status(&self) -> ProofsStatus {
        self.locked(|seen| ProofsStatus {
            remembered: seen.ids.len() as u64,
            limit: MAX_PROOFS as u64,
            replayed: seen.replayed,
            turned_away: seen.turned_away,
        })
    }

    fn locked<T>(&self, f: impl FnOnce(&mut Seen) -> T) -> T {
        f(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Seen {
    fn remember_for(&mut self, max_age: Duration, now: UnixTime) {
        let keep = max_age + AHEAD;
        if keep <= self.keep {
            return;
        }
        if !self.keep.is_zero() {
            // What was made since then, and used, is not forgotten yet.
            self.complete_since = now - self.keep.saturating_sub(AHEAD).as_secs_f64();
        }
        self.keep = keep;
    }

    fn insert(
        &mut self,
        key: [u8; 32],
        id: ProofId,
        made: UnixTime,
        now: UnixTime,
        (max, max_of_key): (usize, u32),
    ) -> Result<(), Refusal> {
        if made < self.complete_since {
            return Err(ProofError::TooOld.into());
        }
        self.forget(now, FORGOTTEN_AT_ONCE);
        if self.ids.contains(&id) {
            self.replayed += 1;
            return Err(ProofError::Replayed.into());
        }
        if self.count_of(&key) >= max_of_key || self.ids.len() >= max {
            self.forget(now, usize::MAX);
        }
        let of_key = self.count_of(&key);
        if of_key >= max_of_key || self.ids.len() >= max {
            self.turned_away += 1;
            return Err(Refusal {
                reason: ProofError::TooMany.into(),
                retry_after: Some(SOON),
            });
        }
        self.ids.insert(id);
        self.of_key.insert(key, of_key + 1);
        self.queue.push_back((now, id, key));
        Ok(())
    }

    fn count_of(&self, key: &[u8; 32]) -> u32 {
        self.of_key.get(key).copied().unwrap_or(0)
    }

    /// Forgets what is no good any more, so many of them at most.
    fn forget(&mut self, now: UnixTime, at_most: usize) {
        let oldest = now - self.keep.as_secs_f64();
        for _ in 0..at_most {
            let Some(&(_, id, key)) = self.queue.front().filter(|(used, ..)| *used < oldest) else {
                break;
            };
            self.queue.pop_front();
            self.ids.remove(&id);
            let left = self.of_key.get_mut(&key).map(|count| {
                *count -= 1;
                *count
            });
            if left == Some(0) {
                self.of_key.remove(&key);
            }
        }
    }
}

/// Shows no proof.
impl fmt::Debug for Replays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.status().fmt(f)
    }
}

#[cfg(test)]
mod tests;
