//! How a change gets onto the disk and into the list, and how both are kept up.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use jose::clock;

use super::entry::Change;
use super::index::Index;
use super::journal::{Journal, JournalError, JournalLock, Record};
use super::{Revocations, RevokeError};

/// How many entries are changed or copied while the list is locked.
pub(super) const LOCK_BATCH: usize = 256;
/// How many lines without use the log may have before it is written anew.
const COMPACT_AFTER_LINES: usize = 1024;

impl Revocations {
    /// Writes changes to the journal, then applies them. Returns how many changed anything.
    pub(super) fn commit(
        &self,
        of_this_node: bool,
        changes: impl FnOnce() -> Vec<Change>,
    ) -> Result<usize, RevokeError> {
        let mut journal = self.journal()?;
        let lock = journal.lock()?;
        self.apply(&journal.read()?);
        self.rewrite_stale_journal(&mut journal, &lock)?;
        let changes = changes();
        self.make_room(&changes)?;
        let records = self.new_records(changes);
        if records.is_empty() {
            return Ok(0);
        }
        journal.append(&lock, &records)?;
        self.apply(&records);
        if of_this_node {
            let changes: Vec<Change> = records.iter().filter_map(Record::change).collect();
            // Nobody may follow.
            let _ = self.0.local_changes.send(changes.into());
        }
        let snapshot = self.index().records_count();
        if journal.lines() > 2 * snapshot + COMPACT_AFTER_LINES {
            let records = self.records();
            if let Err(error) = journal.replace(&lock, &records) {
                log::warn!("the log of revocations cannot be compacted: {error}");
            }
        }
        Ok(records.len())
    }

    /// Those that change anything.
    pub(super) fn new_records(&self, changes: Vec<Change>) -> Vec<Record> {
        let index = self.index();
        let changes = changes.into_iter();
        let new = changes.filter(|change| index.is_changed_by(change));
        new.map(Record::from).collect()
    }

    /// Looks whether there is room for new entries, and drops those that have expired if there is
    /// not.
    fn make_room(&self, changes: &[Change]) -> Result<(), RevokeError> {
        match self.fits(changes) {
            true => Ok(()),
            false => Err(self.turn_away(changes.len())),
        }
    }

    /// Those changes that there is room for; and the error, if that is not all of them.
    pub(super) fn split_fitting(
        &self,
        mut changes: Vec<Change>,
    ) -> (Vec<Change>, Option<RevokeError>) {
        if self.fits(&changes) {
            return (changes, None);
        }
        let all = changes.len();
        self.index().retain_fitting(&mut changes, self.max());
        let full = self.turn_away(all - changes.len());
        (changes, Some(full))
    }

    /// Whether there is room for new entries, if need be after those have been dropped that have
    /// expired.
    fn fits(&self, changes: &[Change]) -> bool {
        let fits = || self.index().fits(changes, self.max());
        fits() || {
            self.sweep();
            fits()
        }
    }

    fn turn_away(&self, count: usize) -> RevokeError {
        let turned_away = &self.0.counts.turned_away;
        turned_away.fetch_add(count as u64, Ordering::Relaxed);
        let max = self.max();
        let entries = self.index().occupied(max);
        let error = RevokeError::Full { max, entries };
        log::error!("revocation rejected: {error}; raise revocations.max_revocations");
        error
    }

    /// Writes what holds and could not be written before.
    fn rewrite_stale_journal(
        &self,
        journal: &mut Journal,
        lock: &JournalLock,
    ) -> Result<(), JournalError> {
        // Before the list is read: what comes to hold meanwhile is owed again.
        if !self.0.journal_is_stale.swap(false, Ordering::Acquire) {
            return Ok(());
        }
        let records = self.records();
        let written = journal.replace(lock, &records);
        if written.is_err() {
            self.0.journal_is_stale.store(true, Ordering::Release);
        }
        written
    }

    pub(super) fn maintain(&self, sweeps: bool) -> Result<(), JournalError> {
        if sweeps {
            self.sweep();
        }
        let mut journal = match self.journal() {
            Err(JournalError::NoStateDir) => return Ok(()),
            journal => journal?,
        };
        let is_stale = sweeps && self.0.journal_is_stale.load(Ordering::Relaxed);
        if is_stale || journal.has_changed() {
            let lock = journal.lock()?;
            self.apply(&journal.read()?);
            if is_stale {
                self.rewrite_stale_journal(&mut journal, &lock)?;
            }
        }
        Ok(())
    }

    /// Everything, as it is kept. The list is locked for a few entries at a time. What an entry
    /// that goes meanwhile leaves behind is among them, since it is read last.
    pub(super) fn records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        let mut last = None;
        loop {
            let page = self.index().page(last, LOCK_BATCH);
            let Some(entry) = page.last() else { break };
            last = Some(entry.id());
            records.extend(page.into_iter().map(Record::Revoked));
        }
        records.extend(self.index().traces());
        records
    }

    /// Drops what has expired.
    pub(super) fn sweep(&self) {
        let (now, keep_secs) = (clock::now() as u64, self.keep_secs());
        let expired = self.index().expired(now, keep_secs);
        for expired in expired.chunks(LOCK_BATCH) {
            self.change(|index| {
                let changed = expired.iter().map(|id| index.expire(id, now, keep_secs));
                changed.fold(false, |any, one| any | one)
            });
        }
        self.change(|index| {
            index.forget_deletions(now, keep_secs, self.max());
            false
        });
    }

    pub(super) fn apply(&self, records: &[Record]) -> usize {
        let (mut changed, mut revoked) = (0, 0);
        for records in records.chunks(LOCK_BATCH) {
            self.change(|index| {
                let before = changed;
                for record in records.iter().filter(|record| index.apply(record)) {
                    changed += 1;
                    revoked += u64::from(matches!(record, Record::Revoked(_)));
                }
                changed > before
            });
        }
        let counts = &self.0.counts;
        counts.revoked.fetch_add(revoked, Ordering::Relaxed);
        changed
    }

    /// Changes the list; a change counts as a new generation.
    fn change(&self, change: impl FnOnce(&mut Index) -> bool) {
        let list = &self.0;
        let mut index = list.index.write().unwrap_or_else(PoisonError::into_inner);
        if change(&mut index) {
            // While the list is locked: whoever sees the new generation sees the new list.
            let generation = list.generation.fetch_add(1, Ordering::Release) + 1;
            list.changes.send_replace(generation);
        }
    }
}
