//! What a process counts: requests in windows of time, and requests in flight.
//!
//! A reload keeps it: counts go on under the name of their policy and rule. One lock is held for as
//! long as a request's counts are looked up and changed, so no other request ever sees half of it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::counts::{Count, Counts};
use super::named::Limit;
use super::requester::{LimitKey, Requester};
use crate::config::{Owner, RateLimit};

/// Keys that are counted at once, over all limits, those of the cloud apart. One takes about 200
/// bytes.
const KEYS: usize = 131_072;

/// The counts of a process. A clone shares them. Those of the cloud's policies are apart: under the
/// name of a local one they would count for it, and in one table they could push its counts out.
#[derive(Clone)]
pub struct Limiters {
    rates: Arc<Mutex<Tables>>,
    in_flight: Arc<Mutex<HashMap<LimitKey, u32>>>,
}

struct Tables {
    local: Counts,
    cloud: Counts,
}

impl Tables {
    fn of(&mut self, owner: Owner) -> &mut Counts {
        match owner {
            Owner::Local => &mut self.local,
            Owner::Cloud => &mut self.cloud,
        }
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
            })),
            in_flight: Arc::default(),
        }
    }

    /// Takes a token of each of these limits, or none at all: a request that one of them refuses
    /// does not count against the others. `Err`: which of them have none, as below. Either way, how
    /// they stand then.
    pub(super) fn take(
        &self,
        limits: &[Limit<RateLimit>],
        requester: &Requester<'_>,
        now: Instant,
    ) -> (Standings, bool) {
        let keys = keys(limits, requester);
        let mut tables = self.tables();
        let mut standings = Standings::new();
        let mut places = SmallVec::<[Option<usize>; 2]>::new();
        let mut room = true;
        for (limit, key) in limits.iter().zip(&keys) {
            let RateLimit { quota, window, .. } = &*limit.settings;
            let counts = tables.of(limit.owner);
            let place = counts.find(key);
            let count = place.and_then(|place| counts.get_mut(place));
            let standing = match count {
                Some(count) => {
                    count.note(*window, now);
                    Standing::of(count, requester.room(quota), *window, now)
                }
                None => Standing::unused(requester.room(quota), *window),
            };
            room &= standing.left > 0;
            standings.push(standing);
            places.push(place);
        }
        if !room {
            return (standings, false);
        }
        for (limit, place) in limits.iter().zip(&places) {
            if let Some(place) = *place
                && let Some(count) = tables.of(limit.owner).get_mut(place)
            {
                count.count(now);
            }
        }
        for ((limit, key), place) in limits.iter().zip(&keys).zip(&places) {
            if place.is_none() {
                let mut count = Count::new(limit.settings.window, now);
                count.note(limit.settings.window, now);
                count.count(now);
                tables.of(limit.owner).add(key, count, now);
            }
        }
        standings.iter_mut().for_each(|standing| standing.left -= 1);
        (standings, true)
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
            let RateLimit { quota, window, .. } = &*limit.settings;
            let counts = tables.of(limit.owner);
            let count = counts.find(key).and_then(|place| counts.get(place));
            match count {
                Some(count) => Standing::of(count, requester.room(quota), *window, now),
                None => Standing::unused(requester.room(quota), *window),
            }
        };
        let keys = keys(limits, requester);
        limits.iter().zip(&keys).map(standing).collect()
    }

    /// How many requests are in flight under a key, for whoever changes it.
    pub(super) fn in_flight(&self) -> MutexGuard<'_, HashMap<LimitKey, u32>> {
        self.in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// How many keys there are.
    pub fn status(&self) -> LimitersStatus {
        let Tables { local, cloud } = &*self.tables();
        LimitersStatus {
            keys: local.len() + cloud.len(),
            forgotten: local.forgotten() + cloud.forgotten(),
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
    fn of(count: &Count, most: u32, window: Duration, now: Instant) -> Self {
        Self {
            most,
            left: most.saturating_sub(count.used(window, now)),
            reset: count.rest(window, now),
        }
    }

    fn unused(most: u32, window: Duration) -> Self {
        Self {
            most,
            left: most,
            reset: window,
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
