//! What a process counts: requests in windows of time, and requests in flight.
//!
//! A reload keeps it: counts go on under the name of their policy and rule. One lock is held for as
//! long as a request's counts are looked up and changed, so no other request ever sees half of it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use tokio::sync::futures::Notified;

use super::budgets::Budgets;
use super::counts::{Capacity, Count, Counts, Record};
use super::fleet::Fleet;
use super::leases::PendingLease;
use super::named::{Limit, Table};
use super::requester::{LimitKey, Requester};
use crate::config::RateLimit;

/// Keys that each table counts at once, over all its limits. One takes about 200 bytes.
const MAX_KEYS: usize = 131_072;
/// Counts that [`Limiters::each`] visits while it holds the lock.
const VISITED_AT_ONCE: usize = 1024;

/// The counts of a process. A clone shares them.
#[derive(Clone)]
pub struct Limiters {
    rates: Arc<Mutex<Tables>>,
    in_flight: Arc<Mutex<HashMap<LimitKey, u32>>>,
    pub(super) fleet: Arc<Fleet>,
}

pub(super) struct Tables {
    local: Counts,
    cloud: Counts,
    shadow: Counts,
}

impl Tables {
    pub(super) fn of(&mut self, table: Table) -> &mut Counts {
        match table {
            Table::Local => &mut self.local,
            Table::Cloud => &mut self.cloud,
            Table::Shadow => &mut self.shadow,
        }
    }
}

/// What is left of a limit for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LimitState {
    /// Requests in one window.
    pub(super) most: u32,
    /// Requests that are left in this window.
    pub(super) remaining: u32,
    /// When the window ends.
    pub(super) reset: Duration,
}

/// The states of several limits, in their order.
pub(super) type LimitStates = SmallVec<[LimitState; 2]>;

/// What became of a request.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "there is one at a time, and a box would be an allocation"
)]
pub(super) enum TakeOutcome<'a> {
    /// It was counted under every limit.
    Counted,
    /// One has no room for it.
    Refused,
    /// That depends on leases: these are to be asked for, others are under way already. The future
    /// ends when the first one that it depends on may have arrived.
    NeedsLease(SmallVec<[PendingLease; 1]>, Notified<'a>),
}

/// How many keys the process counts under, for a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitersStatus {
    /// Keys of rate limits.
    pub keys: usize,
    /// How many were forgotten before their window was over, because there were too many.
    pub forgotten: u64,
}

impl Default for Limiters {
    fn default() -> Self {
        Self::bounded(MAX_KEYS)
    }
}

impl Limiters {
    pub(super) fn bounded(keys: usize) -> Self {
        Self {
            rates: Arc::new(Mutex::new(Tables {
                local: Counts::new(keys),
                cloud: Counts::new(keys),
                shadow: Counts::new(keys),
            })),
            in_flight: Arc::default(),
            fleet: Arc::default(),
        }
    }

    /// Counts under shared limits together with other nodes from now on.
    pub fn share(&self, store: Arc<dyn Budgets>) {
        // There is one for the life of the process.
        let _ = self.fleet.store.set(store);
    }

    /// Takes a token of each of these limits, or none at all: a request that one of them refuses
    /// does not count against the others. Either way, how they stand then.
    ///
    /// `use_store`: whether there is time to ask the store for a lease of a shared limit.
    pub(super) fn take(
        &self,
        limits: &[Limit<RateLimit>],
        requester: &Requester<'_>,
        now: Instant,
        use_store: bool,
    ) -> (LimitStates, TakeOutcome<'_>) {
        let use_store = use_store && self.fleet.store.get().is_some_and(|store| store.is_up());
        let keys = keys(limits, requester);
        let mut tables = self.tables();
        let mut states = LimitStates::new();
        let mut indexes = SmallVec::<[(Option<usize>, Duration); 2]>::new();
        let (mut has_capacity, mut unleased) = (true, None);
        for (limit, key) in limits.iter().zip(&keys) {
            let counts = tables.of(limit.table);
            let index = counts.find(key);
            let window = limit.settings.window;
            let mut rest = window;
            let count = index.and_then(|index| counts.get_mut(index));
            let count = count.map(|count| {
                rest = count.rest(window, now);
                count.note(window, rest);
                &*count
            });
            let mut state = LimitState::of(count, limit, requester, rest);
            match limit.settings.shared {
                false => has_capacity &= state.remaining > 0,
                true => match state.capacity(count, limit, rest, now, use_store) {
                    Capacity::Some => {}
                    Capacity::None => has_capacity = false,
                    Capacity::NeedsLease => {
                        unleased.get_or_insert(key);
                    }
                },
            }
            states.push(state);
            indexes.push((index, rest));
        }
        if !has_capacity {
            return (states, TakeOutcome::Refused);
        }
        if let Some(key) = unleased {
            let leases = tables.leases_to_request(limits, &keys, &states, now);
            // While the tables are locked, so that no lease arrives in between.
            let arrived = self.fleet.arrival(key).notified();
            return (states, TakeOutcome::NeedsLease(leases, arrived));
        }
        for (limit, (index, rest)) in limits.iter().zip(&indexes) {
            if let Some(index) = *index
                && let Some(count) = tables.of(limit.table).get_mut(index)
            {
                count.take(limit, *rest, now);
            }
        }
        for ((limit, key), (index, rest)) in limits.iter().zip(&keys).zip(&indexes) {
            if index.is_none() {
                let mut count = Count::new(limit.settings.window, now);
                count.note(limit.settings.window, *rest);
                count.take(limit, *rest, now);
                tables.of(limit.table).add(key, count, now);
            }
        }
        for state in &mut states {
            state.remaining = state.remaining.saturating_sub(1);
        }
        (states, TakeOutcome::Counted)
    }

    /// What [`Self::take`] would find. Takes none.
    pub(super) fn peek(
        &self,
        limits: &[Limit<RateLimit>],
        requester: &Requester<'_>,
        now: Instant,
    ) -> LimitStates {
        let mut tables = self.tables();
        let state = |(limit, key): (&Limit<RateLimit>, &LimitKey)| {
            let counts = tables.of(limit.table);
            let count = counts.find(key).and_then(|index| counts.get(index));
            let window = limit.settings.window;
            let rest = count.map_or(window, |count| count.rest(window, now));
            LimitState::of(count, limit, requester, rest)
        };
        let keys = keys(limits, requester);
        limits.iter().zip(&keys).map(state).collect()
    }

    /// How many requests are in flight under a key, for whoever changes it.
    pub(super) fn in_flight(&self) -> MutexGuard<'_, HashMap<LimitKey, u32>> {
        self.in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Visits every count, a few at a time: requests are not held up by all of them. One that moves
    /// meanwhile, to where another one was evicted, may be left out.
    pub(super) fn each(&self, mut visit: impl FnMut(Table, &[u8], &Count)) {
        for table in Table::ALL {
            for from in (0..).step_by(VISITED_AT_ONCE) {
                let mut tables = self.tables();
                let counts = tables.of(table);
                if from >= counts.len() {
                    break;
                }
                let visited = counts.iter().skip(from).take(VISITED_AT_ONCE);
                visited.for_each(|(key, count)| visit(table, key, count));
            }
        }
    }

    /// Adds what another process has counted under a key.
    pub(super) fn add(&self, table: Table, key: &LimitKey, record: Record, now: Instant) {
        let mut tables = self.tables();
        let counts = tables.of(table);
        match counts.of_key(key) {
            Some(count) => count.add(record, now),
            None => {
                let mut count = Count::new(Duration::ZERO, now);
                count.add(record, now);
                counts.add(key, count, now);
            }
        }
    }

    /// How many keys there are.
    pub fn status(&self) -> LimitersStatus {
        let tables = self.tables();
        let all = [&tables.local, &tables.cloud, &tables.shadow];
        LimitersStatus {
            keys: all.map(Counts::len).iter().sum(),
            forgotten: all.map(Counts::forgotten).iter().sum(),
        }
    }

    pub(super) fn tables(&self) -> MutexGuard<'_, Tables> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn keys(limits: &[Limit<RateLimit>], requester: &Requester<'_>) -> SmallVec<[LimitKey; 2]> {
    let key = |limit: &Limit<RateLimit>| requester.key(&limit.name, &limit.settings.by);
    limits.iter().map(key).collect()
}

impl LimitState {
    fn of(
        count: Option<&Count>,
        limit: &Limit<RateLimit>,
        requester: &Requester<'_>,
        rest: Duration,
    ) -> Self {
        let used = |count: &Count| match limit.settings.shared {
            false => count.used(rest),
            true => count.used_by_all(rest),
        };
        let most = requester.max_requests(&limit.settings.quota);
        Self {
            most,
            remaining: most.saturating_sub(count.map_or(0, used)),
            reset: if rest.is_zero() {
                limit.settings.window
            } else {
                rest
            },
        }
    }

    /// Whether a shared limit has room; of one that has, something is left.
    fn capacity(
        &mut self,
        count: Option<&Count>,
        limit: &Limit<RateLimit>,
        rest: Duration,
        now: Instant,
        use_store: bool,
    ) -> Capacity {
        let new = Count::new(limit.settings.window, now);
        let capacity = count
            .unwrap_or(&new)
            .capacity(self.most, rest, now, use_store);
        self.remaining = match capacity {
            Capacity::None => 0,
            Capacity::Some | Capacity::NeedsLease => self.remaining.max(1),
        };
        capacity
    }
}

impl Count {
    fn take(&mut self, limit: &Limit<RateLimit>, rest: Duration, now: Instant) {
        match limit.settings.shared {
            false => self.count(rest, now),
            true => self.count_shared(rest, now),
        }
    }
}

impl fmt::Debug for Limiters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiters").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
