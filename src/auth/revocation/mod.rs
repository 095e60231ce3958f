//! What was revoked before its time: tokens by `jti`, `sid`, `sub`, `client_id` or their issuer,
//! API keys, and client certificates.
//!
//! The list is asked after a credential has verified, remembered or not. An identity, which the
//! cache of tokens shares, remembers the generation of the list in which nothing named it: while
//! the list is the same, asking again compares two numbers.
//!
//! In reading order: `entry` is the vocabulary, `index` the list in memory, `journal` the list on
//! disk, `commit` how a change gets into both. A change is on disk first.
//! [`Revocations::local_changes`] tells of the changes of this node, [`Revocations::merge_remote`]
//! takes in those of others.

mod commit;
mod entry;
mod index;
pub(super) mod journal;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, TryLockError};
use std::time::{Duration, Instant};

use jose::clock;
use tokio::sync::{broadcast, watch};
use tokio::time::MissedTickBehavior;

use super::identity::Identity;
use crate::common::RecurringError;
use crate::config::RevocationLimits;
use index::Index;
use journal::{Journal, LOCK_RETRY, LOCK_TIMEOUT, Record};

pub use entry::{
    Change, Deletion, FormError, InvalidId, Revocation, RevocationId, Target, TokenSelector,
};
pub use journal::JournalError;

/// How often it is looked whether another process has written the log.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// How often expired entries are dropped, in seconds.
const SWEEP: u32 = 10;
/// Changes of this node that a follower may lag behind.
const CHANGE_BUFFER: usize = 1024;

/// Why nothing was revoked.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// There is no room for new entries.
    #[error("the list of revocations is full ({entries} of {max})")]
    Full {
        /// How many there may be.
        max: usize,
        /// How many there are.
        entries: usize,
    },
    /// They cannot be kept.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The process ends.
    #[error("the process is stopping")]
    Stopping,
}

/// The list of revocations, for a status page or a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevocationsStatus {
    /// How many entries there are.
    pub entries: usize,
    /// How many there may be.
    pub max: usize,
    /// How many were made or made anew, on this node or another one, since the process began.
    pub revoked: u64,
    /// How many were turned away for want of room, since the process began.
    pub turned_away: u64,
    /// How many could not be kept on disk, since the process began.
    pub failed: u64,
    /// Credentials that were denied because of an entry, since the process began.
    pub denied: u64,
}

/// The list of revocations. A clone is the same list.
#[derive(Debug, Clone)]
pub struct Revocations(Arc<List>);

#[derive(Debug)]
struct List {
    /// 0: there has never been an entry.
    generation: AtomicU64,
    index: RwLock<Index>,
    changes: watch::Sender<u64>,
    local_changes: broadcast::Sender<Arc<[Change]>>,
    /// `None`: there is no state directory. Held while the disk is written: never by a worker.
    journal: Option<Mutex<Journal>>,
    /// Something holds that could not be written.
    journal_is_stale: AtomicBool,
    keep_secs: AtomicU64,
    max: AtomicU64,
    counts: Counts,
    /// Those of the disk.
    errors: RecurringError,
}

#[derive(Debug, Default)]
struct Counts {
    revoked: AtomicU64,
    turned_away: AtomicU64,
    failed: AtomicU64,
    denied: AtomicU64,
}

impl Revocations {
    /// The list that is kept in a state directory. Without one, nothing can be revoked here, and
    /// what other nodes revoke is forgotten when the process ends.
    ///
    /// # Errors
    ///
    /// Why what is kept there cannot be used.
    pub fn open(state_dir: Option<PathBuf>) -> Result<Self, JournalError> {
        let limits = RevocationLimits::default();
        let revocations = Self(Arc::new(List {
            generation: AtomicU64::new(0),
            index: RwLock::default(),
            changes: watch::Sender::new(0),
            local_changes: broadcast::Sender::new(CHANGE_BUFFER),
            journal: state_dir.map(|state_dir| Mutex::new(Journal::new(state_dir))),
            journal_is_stale: AtomicBool::new(false),
            keep_secs: AtomicU64::new(limits.keep.as_secs()),
            max: AtomicU64::new(limits.max_entries as u64),
            counts: Counts::default(),
            errors: RecurringError::default(),
        }));
        if revocations.0.journal.is_some() {
            let records = revocations.journal()?.read()?;
            revocations.apply(&records);
            let revoked = &revocations.0.counts.revoked;
            revoked.store(0, Ordering::Relaxed);
        }
        Ok(revocations)
    }

    /// How long entries are kept, and how many of them, from now on.
    pub fn set_limits(&self, limits: RevocationLimits) {
        let list = &self.0;
        list.keep_secs
            .store(limits.keep.as_secs(), Ordering::Relaxed);
        list.max.store(limits.max_entries as u64, Ordering::Relaxed);
    }

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

    /// Puts entries on the list. When this returns, they are on the disk and hold. Entries for the
    /// same target become one, which revokes whatever either of them does.
    ///
    /// # Errors
    ///
    /// Why none of them was taken.
    pub async fn revoke(&self, entries: Vec<Revocation>) -> Result<Vec<RevocationId>, RevokeError> {
        let ids = entries.iter().map(Revocation::id).collect();
        self.blocking(move |list| {
            list.commit(true, || {
                let index = list.index();
                let entries = entries.iter().map(|entry| index.renewed(entry));
                entries.map(Change::Revoked).collect()
            })
        })
        .await?;
        Ok(ids)
    }

    /// Takes an entry off the list. `false`: there is none of this name.
    ///
    /// # Errors
    ///
    /// Why it could not be taken off.
    pub async fn delete(&self, id: RevocationId) -> Result<bool, RevokeError> {
        let deleted = self.blocking(move |list| {
            list.commit(true, || {
                let deletion = list.index().deletion(id);
                deletion.map(Change::Deleted).into_iter().collect()
            })
        });
        Ok(deleted.await? > 0)
    }

    /// Takes in what another node changed. Changes may come in any order and more than once.
    ///
    /// # Errors
    ///
    /// Why some of them do not hold: there is no room. Or why all of them hold, but only until the
    /// process ends, unless they can be written later.
    pub async fn merge_remote(&self, changes: Vec<Change>) -> Result<(), RevokeError> {
        self.blocking(move |list| {
            let (changes, full) = list.split_fitting(changes);
            let written = match list.0.journal {
                Some(_) => list.commit(false, || changes.clone()).map(drop),
                None => Ok(()),
            };
            if !matches!(written, Err(RevokeError::Full { .. })) {
                let records = list.new_records(changes);
                list.apply(&records);
                if written.is_err() && !records.is_empty() {
                    list.0.journal_is_stale.store(true, Ordering::Release);
                }
            }
            written.and(full.map_or(Ok(()), Err))
        })
        .await
    }

    /// The changes that are made on this node from now on. Whoever lags behind is told so, and
    /// begins anew with [`Self::snapshot`].
    pub fn local_changes(&self) -> broadcast::Receiver<Arc<[Change]>> {
        self.0.local_changes.subscribe()
    }

    /// Everything that another node has to take in to have the same list.
    pub fn snapshot(&self) -> Vec<Change> {
        self.records().iter().filter_map(Record::change).collect()
    }

    /// At most `limit` entries behind this one, in the order of their names.
    pub fn page(&self, after: Option<RevocationId>, limit: usize) -> Vec<Revocation> {
        self.index().page(after, limit)
    }

    /// When an entry is dropped, in seconds since 1970. `None`: never.
    pub fn expires_at(&self, entry: &Revocation) -> Option<u64> {
        entry.expires_at(self.keep_secs())
    }

    /// How the list stands.
    pub fn status(&self) -> RevocationsStatus {
        let counts = &self.0.counts;
        RevocationsStatus {
            entries: self.index().len(),
            max: self.max(),
            revoked: counts.revoked.load(Ordering::Relaxed),
            turned_away: counts.turned_away.load(Ordering::Relaxed),
            failed: counts.failed.load(Ordering::Relaxed),
            denied: counts.denied.load(Ordering::Relaxed),
        }
    }

    /// Drops what has expired, and follows what another process writes into the log, for the life
    /// of the process: one that another took over from still has connections.
    pub async fn run(&self) {
        let mut interval = tokio::time::interval(POLL_INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ticks = 0_u32;
        loop {
            interval.tick().await;
            let sweeps = ticks.is_multiple_of(SWEEP);
            ticks = ticks.wrapping_add(1);
            let list = self.clone();
            let maintained = tokio::task::spawn_blocking(move || list.maintain(sweeps));
            if let Ok(Err(error)) = maintained.await {
                self.0.errors.report(&error);
            }
        }
    }

    #[cold]
    fn look_up(&self, identity: &Identity, generation: u64) -> bool {
        let revoked = self
            .index()
            .names(identity, clock::now() as u64, self.keep_secs());
        if revoked {
            self.0.counts.denied.fetch_add(1, Ordering::Relaxed);
        } else {
            identity.found_clear_in(generation);
        }
        revoked
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, RevokeError> + Send + 'static,
    ) -> Result<T, RevokeError> {
        let list = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&list)).await;
        let done = done.unwrap_or(Err(RevokeError::Stopping));
        if let Err(RevokeError::Journal(error)) = &done {
            self.0.counts.failed.fetch_add(1, Ordering::Relaxed);
            self.0.errors.report(error);
        }
        done
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.0.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for others that write, within bounds: whoever has it may wait for another process.
    fn journal(&self) -> Result<MutexGuard<'_, Journal>, JournalError> {
        let journal = self.0.journal.as_ref().ok_or(JournalError::NoStateDir)?;
        let begun = Instant::now();
        loop {
            match journal.try_lock() {
                Ok(journal) => return Ok(journal),
                Err(TryLockError::Poisoned(journal)) => return Ok(journal.into_inner()),
                Err(TryLockError::WouldBlock) if begun.elapsed() >= LOCK_TIMEOUT => {
                    return Err(JournalError::Locked);
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_RETRY),
            }
        }
    }

    fn keep_secs(&self) -> u64 {
        self.0.keep_secs.load(Ordering::Relaxed)
    }

    /// How many entries there may be.
    fn max(&self) -> usize {
        usize::try_from(self.0.max.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests;
