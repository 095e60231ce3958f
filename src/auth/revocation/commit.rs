//! How a change gets onto the disk and into the list, and how both are kept up.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use jose::clock;

use super::entry::Change;
use super::index::Index;
use super::journal::{Journal, JournalError, JournalLock, Record};
use super::{Revocations, RevokeError};

/// How many changes are taken in while the list is locked.
const AT_ONCE: usize = 256;
/// How many lines without use the log may have before it is written anew.
const SLACK: usize = 1024;

impl Revocations {
    /// Writes changes to the journal, then applies them. Returns how many changed anything.
    pub(super) fn commit(
        &self,
        of_this_node: bool,
        changes: impl FnOnce() -> Vec<Change>,
    ) -> Result<usize, RevokeError> {
        let mut journal = self.journal().ok_or(JournalError::NoStateDir)?;
        let lock = journal.lock()?;
        self.apply(&journal.read()?);
        self.settle(&mut journal, &lock)?;
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
            let _ = self.0.made_here.send(changes.into());
        }
        let snapshot = self.index().records_count();
        if journal.lines() > 2 * snapshot + SLACK {
            let records = self.index().records();
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
    pub(super) fn those_with_room(
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
        let fits = || self.index().len_with(changes) <= self.max();
        fits() || {
            self.sweep();
            fits()
        }
    }

    fn turn_away(&self, count: usize) -> RevokeError {
        let turned_away = &self.0.counts.turned_away;
        turned_away.fetch_add(count as u64, Ordering::Relaxed);
        let (max, entries) = (self.max(), self.index().len());
        let error = RevokeError::Full { max, entries };
        log::error!("nothing more can be revoked: {error}; raise revocations.max_revocations");
        error
    }

    /// Writes what holds and could not be written before.
    fn settle(&self, journal: &mut Journal, lock: &JournalLock) -> Result<(), JournalError> {
        // Before the list is read: what comes to hold meanwhile is owed again.
        if !self.0.owes_journal.swap(false, Ordering::Acquire) {
            return Ok(());
        }
        let records = self.index().records();
        let written = journal.replace(lock, &records);
        if written.is_err() {
            self.0.owes_journal.store(true, Ordering::Release);
        }
        written
    }

    pub(super) fn keep_up(&self, sweeps: bool) -> Result<(), JournalError> {
        if let Some(mut journal) = self.journal()
            && journal.has_changed()
        {
            let _lock = journal.lock()?;
            let records = journal.read()?;
            self.apply(&records);
        }
        if sweeps {
            self.sweep();
            if self.0.owes_journal.load(Ordering::Relaxed)
                && let Some(mut journal) = self.journal()
            {
                let lock = journal.lock()?;
                self.apply(&journal.read()?);
                self.settle(&mut journal, &lock)?;
            }
        }
        Ok(())
    }

    /// Drops what has expired.
    pub(super) fn sweep(&self) {
        let (now, keep_secs) = (clock::now() as u64, self.keep_secs());
        let expired = self.index().expired(now, keep_secs);
        for expired in expired.chunks(AT_ONCE) {
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
        for records in records.chunks(AT_ONCE) {
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
