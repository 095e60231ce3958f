//! The counts of many keys, in a bounded table.
//!
//! When the table is full, the least used of [`CANDIDATES`] random keys is evicted. A flood of keys
//! that are used once therefore evicts such keys, not busy ones. Keys whose window is over are
//! swept a few at a time, before the table is full.

use std::hash::RandomState;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use indexmap::IndexMap;

use super::budgets::Lease;
use super::requester::LimitKey;

/// Keys that are drawn to evict one of them.
const CANDIDATES: usize = 8;
/// For how long the store is not asked about a key again after a question without an answer.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// Keys that are checked for each new one, whether their window is over.
const SWEEP_BATCH: usize = 2;

/// What is counted under one key. The window begins with the first request that is counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count {
    since: Instant,
    window: Duration,
    /// Requests that were counted.
    counted: u32,
    /// All requests, including those over the limit.
    asked: u32,
    shared: SharedState,
}

/// What a node knows of a count that others share.
#[derive(Debug, Clone, Copy, Default)]
struct SharedState {
    /// What is left of the lease.
    lease: u32,
    /// What was counted here and is not reported.
    spent: u32,
    /// What all nodes have reported.
    used: u32,
    /// When the window began, in milliseconds since 1970; 0: nothing was counted.
    begun: u64,
    /// Whether a lease is being asked for.
    asking: bool,
    /// Until when the store, which had no answer, is not asked.
    alone_until: Option<Instant>,
}

/// What is reported to the store when a lease is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) spent: u32,
    pub(super) begun: u64,
}

/// A count in numbers: for how long its window has run and how long it is, in milliseconds;
/// `counted` and `asked`; and the numbers of [`SharedState`], in the order of the fields.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Record(pub(super) [u64; 8]);

/// Whether a shared count has room for one more request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Capacity {
    Some,
    None,
    /// The store has to be asked for a lease.
    NeedsLease,
}

impl Count {
    /// With nothing counted yet.
    pub(super) fn new(window: Duration, now: Instant) -> Self {
        Self {
            since: now,
            window,
            counted: 0,
            asked: 0,
            shared: SharedState::default(),
        }
    }

    /// How long a window of this length still runs. Zero: it is over.
    pub(super) fn rest(&self, window: Duration, now: Instant) -> Duration {
        window.saturating_sub(now.saturating_duration_since(self.since))
    }

    /// Notes a request, whether or not it will be counted.
    pub(super) fn note(&mut self, window: Duration, rest: Duration) {
        self.window = window;
        self.asked = if rest.is_zero() { 0 } else { self.asked }.saturating_add(1);
    }

    /// Counts a request. The first one begins the window.
    pub(super) fn count(&mut self, rest: Duration, now: Instant) {
        if self.counted == 0 || rest.is_zero() {
            self.since = now;
            self.counted = 0;
        }
        self.counted = self.counted.saturating_add(1);
    }

    /// Counts a request of a count that others share.
    pub(super) fn count_shared(&mut self, rest: Duration, now: Instant) {
        if self.counted == 0 && self.shared.begun == 0 || rest.is_zero() {
            self.shared = SharedState {
                begun: unix_millis(),
                asking: self.shared.asking,
                alone_until: self.shared.alone_until,
                ..SharedState::default()
            };
            self.since = now;
            self.counted = 0;
        }
        self.counted = self.counted.saturating_add(1);
        self.shared.lease = self.shared.lease.saturating_sub(1);
        self.shared.spent = self.shared.spent.saturating_add(1);
    }

    /// Whether a shared count has room for one more request; without the store, this node alone may
    /// let pass as many as all nodes together.
    pub(super) fn capacity(
        &self,
        most: u32,
        rest: Duration,
        now: Instant,
        use_store: bool,
    ) -> Capacity {
        let over = rest.is_zero();
        let alone = self.shared.alone_until.is_some_and(|until| now < until);
        if !over && (self.counted >= most || self.shared.used >= most) {
            Capacity::None
        } else if use_store && !alone && (over || self.shared.lease == 0) {
            Capacity::NeedsLease
        } else {
            Capacity::Some
        }
    }

    /// What was used of a shared count, as far as this node knows.
    pub(super) fn used_by_all(&self, rest: Duration) -> u32 {
        if rest.is_zero() {
            return 0;
        }
        self.counted
            .max(self.shared.used.saturating_add(self.shared.spent))
    }

    /// Begins to ask for a lease. `None`: somebody does already.
    pub(super) fn report(&mut self, now: Instant) -> Option<Report> {
        if std::mem::replace(&mut self.shared.asking, true) {
            return None;
        }
        let over = self.is_over(now);
        Some(Report {
            spent: if over { 0 } else { self.shared.spent },
            begun: if over { 0 } else { self.shared.begun },
        })
    }

    /// Takes an answer in; `None`: there was none.
    pub(super) fn apply_lease(&mut self, report: Report, lease: Option<Lease>, now: Instant) {
        self.shared.asking = false;
        let Some(lease) = lease else {
            self.shared.alone_until = Some(now + STORE_PAUSE);
            return;
        };
        self.shared.alone_until = None;
        let window = u64::try_from(self.window.as_millis()).unwrap_or(u64::MAX);
        if report.begun == 0 {
            if self.is_over(now) {
                self.counted = 0;
                self.shared.spent = 0;
            }
        } else if self.shared.begun == report.begun {
            self.shared.spent = self.shared.spent.saturating_sub(report.spent);
            if lease.begun >= report.begun.saturating_add(window) {
                // The store began a new window: only what was counted since the report is in it.
                self.counted = self.shared.spent;
            } else if lease.used < self.shared.used {
                // The store has lost its counts, and is told all of this node's part again.
                self.shared.spent = self.counted.saturating_sub(report.spent);
            }
        }
        self.shared.lease = lease.granted;
        self.shared.used = lease.used;
        self.shared.begun = lease.begun;
        let elapsed = self.window.saturating_sub(lease.rest);
        self.since = now.checked_sub(elapsed).unwrap_or(now);
    }

    /// How many requests were counted in the window.
    pub(super) fn used(&self, rest: Duration) -> u32 {
        if rest.is_zero() { 0 } else { self.counted }
    }

    /// What another process goes on with. `None`: nothing runs.
    pub(super) fn record(&self, now: Instant) -> Option<Record> {
        let SharedState {
            lease,
            spent,
            used,
            begun,
            ..
        } = self.shared;
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        (!self.is_over(now)).then(|| {
            Record([
                millis(now.saturating_duration_since(self.since)),
                millis(self.window),
                self.counted.into(),
                self.asked.into(),
                lease.into(),
                spent.into(),
                used.into(),
                begun,
            ])
        })
    }

    /// Adds what another process has counted.
    pub(super) fn add(&mut self, record: Record, now: Instant) {
        let [elapsed, window, counted, asked, lease, spent, used, begun] = record.0;
        let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        self.window = Duration::from_millis(window);
        let since = now.checked_sub(Duration::from_millis(elapsed));
        self.since = self.since.min(since.unwrap_or(now));
        self.counted = self.counted.saturating_add(number(counted));
        self.asked = self.asked.saturating_add(number(asked));
        let shared = &mut self.shared;
        shared.lease = shared.lease.saturating_add(number(lease));
        shared.spent = shared.spent.saturating_add(number(spent));
        shared.used = shared.used.max(number(used));
        shared.begun = if begun > 0 { begun } else { shared.begun };
    }

    fn is_over(&self, now: Instant) -> bool {
        self.rest(self.window, now).is_zero()
    }

    fn usage(&self, now: Instant) -> u32 {
        if self.is_over(now) { 0 } else { self.asked }
    }
}

fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}

/// A table of counts.
#[derive(Debug)]
pub(super) struct Counts {
    table: IndexMap<Box<[u8]>, Count, RandomState>,
    most: usize,
    /// Where the look for what is over has got.
    at: usize,
    /// How many were forgotten that were not over.
    forgotten: u64,
}

impl Counts {
    pub(super) fn new(most: usize) -> Self {
        Self {
            table: IndexMap::default(),
            most,
            at: 0,
            forgotten: 0,
        }
    }

    /// Where a key is, until another one is added.
    pub(super) fn find(&self, key: &[u8]) -> Option<usize> {
        self.table.get_index_of(key)
    }

    pub(super) fn of_key(&mut self, key: &[u8]) -> Option<&mut Count> {
        self.table.get_mut(key)
    }

    pub(super) fn get(&self, index: usize) -> Option<&Count> {
        self.table.get_index(index).map(|(_, count)| count)
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Count> {
        self.table.get_index_mut(index).map(|(_, count)| count)
    }

    /// Adds a key that is not there; there is always room.
    pub(super) fn add(&mut self, key: &LimitKey, count: Count, now: Instant) {
        for _ in 0..SWEEP_BATCH {
            let index = self.step();
            if self.get(index).is_some_and(|count| count.is_over(now)) {
                self.table.swap_remove_index(index);
            }
        }
        if self.table.len() >= self.most {
            let draw = |_| fastrand::usize(..self.table.len());
            let candidates: [usize; CANDIDATES] = std::array::from_fn(draw);
            let usage = |index: &usize| self.get(*index).map_or(0, |count| count.usage(now));
            if let Some(index) = candidates.into_iter().min_by_key(usage)
                && let Some((_, gone)) = self.table.swap_remove_index(index)
            {
                self.forgotten += u64::from(!gone.is_over(now));
            }
        }
        self.table.insert(key.as_slice().into(), count);
    }

    fn step(&mut self) -> usize {
        self.at = if self.at < self.table.len() {
            self.at
        } else {
            0
        };
        self.at += 1;
        self.at - 1
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &Count)> {
        self.table.iter().map(|(key, count)| (&**key, count))
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// How many keys were forgotten whose window was not over.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }
}
