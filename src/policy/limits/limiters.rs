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

use super::budgets::{Budgets, LeaseRequest};
use super::counts::{Count, Counts, Record, Report, Room};
use super::fleet::Fleet;
use super::named::{Limit, Table};
use super::requester::{LimitKey, Requester};
use crate::config::RateLimit;

/// Keys that each table counts at once, over all its limits. One takes about 200 bytes.
const KEYS: usize = 131_072;

/// The counts of a process. A clone shares them.
#[derive(Clone)]
pub struct Limiters {
    rates: Arc<Mutex<Tables>>,
    in_flight: Arc<Mutex<HashMap<LimitKey, u32>>>,
    fleet: Arc<Fleet>,
}

struct Tables {
    local: Counts,
    cloud: Counts,
    shadow: Counts,
}

impl Tables {
    fn of(&mut self, table: Table) -> &mut Counts {
        match table {
            Table::Local => &mut self.local,
            Table::Cloud => &mut self.cloud,
            Table::Shadow => &mut self.shadow,
        }
    }

    fn all(&self) -> [(Table, &Counts); 3] {
        [
            (Table::Local, &self.local),
            (Table::Cloud, &self.cloud),
            (Table::Shadow, &self.shadow),
        ]
    }
}

/// How a limit stands for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// What it has room for in one window.
    pub(super) most: u32,
    /// What is left of that.
    pub(super) left: u32,
    /// Until when that is left.
    pub(super) reset: Duration,
}

/// Those of several limits, in their order.
pub(super) type Standings = SmallVec<[Standing; 2]>;

/// What became of a request.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "there is one at a time, and a box would be an allocation"
)]
pub(super) enum Taken<'a> {
    /// It was counted under every limit.
    Counted,
    /// One has no room for it.
    Refused,
    /// That depends on leases, for which these questions are to be asked, or are under way; the
    /// first of the leases that it depends on is one to wait for.
    Unknown(SmallVec<[Question; 1]>, Notified<'a>),
}

/// A lease to ask for.
#[derive(Debug)]
pub(super) struct Question {
    table: Table,
    key: LimitKey,
    most: u32,
    window: Duration,
    report: Report,
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
        Self::bounded(KEYS)
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
    /// `asks`: whether there is time to ask the store for what a shared limit has no lease for.
    pub(super) fn take(
        &self,
        limits: &[Limit<RateLimit>],
        requester: &Requester<'_>,
        now: Instant,
        asks: bool,
    ) -> (Standings, Taken<'_>) {
        let asks = asks && self.fleet.store.get().is_some_and(|store| store.is_up());
        let keys = keys(limits, requester);
        let mut tables = self.tables();
        let mut standings = Standings::new();
        let mut places = SmallVec::<[(Option<usize>, Duration); 2]>::new();
        let (mut room, mut unknown) = (true, None);
        for (limit, key) in limits.iter().zip(&keys) {
            let counts = tables.of(limit.table);
            let place = counts.find(key);
            let window = limit.settings.window;
            let mut rest = window;
            let count = place.and_then(|place| counts.get_mut(place));
            let count = count.map(|count| {
                rest = count.rest(window, now);
                count.note(window, rest);
                &*count
            });
            let mut standing = Standing::of(count, limit, requester, rest);
            match limit.settings.shared {
                false => room &= standing.left > 0,
                true => match standing.room(count, limit, rest, now, asks) {
                    Room::Some => {}
                    Room::None => room = false,
                    Room::Unknown => {
                        unknown.get_or_insert(key);
                    }
                },
            }
            standings.push(standing);
            places.push((place, rest));
        }
        if !room {
            return (standings, Taken::Refused);
        }
        if let Some(key) = unknown {
            let questions = tables.questions(limits, &keys, &standings, now);
            // While the tables are locked, so that no lease arrives in between.
            let arrived = self.fleet.arrival(key).notified();
            return (standings, Taken::Unknown(questions, arrived));
        }
        for (limit, (place, rest)) in limits.iter().zip(&places) {
            if let Some(place) = *place
                && let Some(count) = tables.of(limit.table).get_mut(place)
            {
                count.take(limit, *rest, now);
            }
        }
        for ((limit, key), (place, rest)) in limits.iter().zip(&keys).zip(&places) {
            if place.is_none() {
                let mut count = Count::new(limit.settings.window, now);
                count.note(limit.settings.window, *rest);
                count.take(limit, *rest, now);
                tables.of(limit.table).add(key, count, now);
            }
        }
        let less = |standing: &mut Standing| standing.left = standing.left.saturating_sub(1);
        standings.iter_mut().for_each(less);
        (standings, Taken::Counted)
    }

    /// What [`Self::take`] would find. Takes none.
    pub(super) fn peek(
        &self,
        limits: &[Limit<RateLimit>],
        requester: &Requester<'_>,
        now: Instant,
    ) -> Standings {
        let mut tables = self.tables();
        let standing = |(limit, key): (&Limit<RateLimit>, &LimitKey)| {
            let counts = tables.of(limit.table);
            let count = counts.find(key).and_then(|place| counts.get(place));
            let window = limit.settings.window;
            let rest = count.map_or(window, |count| count.rest(window, now));
            Standing::of(count, limit, requester, rest)
        };
        let keys = keys(limits, requester);
        limits.iter().zip(&keys).map(standing).collect()
    }

    /// Asks for leases, without waiting for the answers.
    pub(super) fn ask(&self, questions: SmallVec<[Question; 1]>) {
        for question in questions {
            let Some(store) = self.fleet.store.get().cloned() else {
                return;
            };
            let limiters = self.clone();
            // On its own: a request that gives up takes no answer with it.
            tokio::spawn(async move {
                let request = question.request();
                let lease = store.lease(&request).await;
                let now = Instant::now();
                if let Some(count) = limiters.tables().of(question.table).of_key(&question.key) {
                    count.leased(question.report, lease, now);
                }
                limiters.fleet.arrival(&question.key).notify_waiters();
            });
        }
    }

    /// How many requests are in flight under a key, for whoever changes it.
    pub(super) fn in_flight(&self) -> MutexGuard<'_, HashMap<LimitKey, u32>> {
        self.in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Visits every count.
    pub(super) fn each(&self, mut visit: impl FnMut(Table, &[u8], &Count)) {
        for (table, counts) in self.tables().all() {
            counts
                .iter()
                .for_each(|(key, count)| visit(table, key, count));
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
        let counts = || tables.all().into_iter().map(|(_, counts)| counts);
        LimitersStatus {
            keys: counts().map(Counts::len).sum(),
            forgotten: counts().map(Counts::forgotten).sum(),
        }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn keys(limits: &[Limit<RateLimit>], requester: &Requester<'_>) -> SmallVec<[LimitKey; 2]> {
    let key = |limit: &Limit<RateLimit>| requester.key(&limit.name, &limit.settings.by);
    limits.iter().map(key).collect()
}

impl Standing {
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
        let most = requester.room(&limit.settings.quota);
        Self {
            most,
            left: most.saturating_sub(count.map_or(0, used)),
            reset: if rest.is_zero() {
                limit.settings.window
            } else {
                rest
            },
        }
    }

    /// Whether a shared limit has room; of one that has, something is left.
    fn room(
        &mut self,
        count: Option<&Count>,
        limit: &Limit<RateLimit>,
        rest: Duration,
        now: Instant,
        asks: bool,
    ) -> Room {
        let new = Count::new(limit.settings.window, now);
        let room = count.unwrap_or(&new).room(self.most, rest, now, asks);
        self.left = match room {
            Room::None => 0,
            Room::Some | Room::Unknown => self.left.max(1),
        };
        room
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

impl Tables {
    /// The leases to ask for, of those that nobody asks for yet.
    fn questions(
        &mut self,
        limits: &[Limit<RateLimit>],
        keys: &[LimitKey],
        standings: &Standings,
        now: Instant,
    ) -> SmallVec<[Question; 1]> {
        let mut questions = SmallVec::new();
        for ((limit, key), standing) in limits.iter().zip(keys).zip(standings) {
            let window = limit.settings.window;
            if !limit.settings.shared {
                continue;
            }
            let counts = self.of(limit.table);
            if counts.find(key).is_none() {
                counts.add(key, Count::new(window, now), now);
            }
            if let Some(count) = counts.of_key(key)
                && count.room(standing.most, count.rest(window, now), now, true) == Room::Unknown
                && let Some(report) = count.report(now)
            {
                questions.push(Question {
                    table: limit.table,
                    key: key.clone(),
                    most: standing.most,
                    window,
                    report,
                });
            }
        }
        questions
    }
}

impl Question {
    fn request(&self) -> LeaseRequest {
        let mut key = self.key.to_vec();
        key.push(self.table.code());
        LeaseRequest {
            key,
            most: self.most,
            window: self.window,
            spent: self.report.spent,
            begun: self.report.begun,
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
