//! How many requests each client has made: the one state that policies have.
//!
//! A process has one, and a reload keeps it: counts go on under the name of their policy and rule.
//! It is bounded: at its bound, the client that was quiet for the longest time is forgotten.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::rate_limits::Limit;
use crate::common::client_network;
use crate::config::{Owner, RateLimit};

/// Clients that are counted at once, over all limits. One takes about 250 bytes.
const CLIENTS: u64 = 65_536;

/// The counts of a process. A clone shares them. Those of the cloud's policies are apart: under the
/// name of a local one they would count for it, and in one cache they could push its counts out.
#[derive(Clone)]
pub struct Limiters {
    local: Counts,
    cloud: Counts,
}

type Counts = Cache<Key, Arc<Count>>;

/// One client under one limit.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) limit: Arc<str>,
    pub(super) client: Option<IpAddr>,
}

struct Count {
    window: Duration,
    state: Mutex<State>,
}

/// The window begins with the first request that is counted.
struct State {
    since: Instant,
    requests: u32,
}

impl State {
    /// How many requests were counted in the window at hand.
    fn used(&self, window: Duration, now: Instant) -> u32 {
        if now.saturating_duration_since(self.since) < window {
            self.requests
        } else {
            0
        }
    }
}

impl Limit {
    /// Whether a count has no token left, if no limit that comes earlier in the pipeline has none.
    fn peek(&self, state: &State, now: Instant, over: &mut Option<OverLimit>) {
        let RateLimit {
            max_requests,
            window,
        } = self.settings;
        if state.used(window, now) >= max_requests
            && over.is_none_or(|over| self.place < over.place)
        {
            let elapsed = now.saturating_duration_since(state.since);
            *over = Some(OverLimit {
                place: self.place,
                wait: window.saturating_sub(elapsed),
            });
        }
    }
}

/// A limit without a token left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OverLimit {
    /// Where the limit stands among those that were asked for.
    pub(super) place: usize,
    /// For how long it will have none.
    pub(super) wait: Duration,
}

impl Default for Limiters {
    fn default() -> Self {
        Self::bounded(CLIENTS)
    }
}

impl Limiters {
    pub(super) fn bounded(clients: u64) -> Self {
        let counts = || {
            Cache::builder()
                .max_capacity(clients)
                .eviction_policy(EvictionPolicy::lru())
                .expire_after(Idle)
                .build()
        };
        Self {
            local: counts(),
            cloud: counts(),
        }
    }

    /// Takes a token of each of these limits, or none at all: a request that one of them refuses
    /// does not count against the others. Where several have no token left, the first in the order
    /// of the pipeline answers.
    ///
    /// All counts are locked from the look at the first to the change of the last, so no other
    /// request ever sees half of this one. They are locked in the order of their names, which is
    /// the same for every request.
    pub(super) fn take(
        &self,
        limits: &[Limit],
        client: Option<IpAddr>,
        now: Instant,
    ) -> Result<(), OverLimit> {
        let client = client.map(client_network);
        let counts = limits.iter().map(|limit| self.count(limit, client, now));
        let counts: Vec<Arc<Count>> = counts.collect();
        let mut states = Vec::with_capacity(counts.len());
        let mut over = None;
        for (limit, count) in limits.iter().zip(&counts) {
            let state = count.state.lock().unwrap_or_else(PoisonError::into_inner);
            limit.peek(&state, now, &mut over);
            states.push(state);
        }
        if let Some(over) = over {
            return Err(over);
        }
        for (limit, state) in limits.iter().zip(&mut states) {
            let used = state.used(limit.settings.window, now);
            if used == 0 {
                state.since = now;
            }
            state.requests = used + 1;
        }
        Ok(())
    }

    /// The count of a client under a limit, which begins now if there is none.
    fn count(&self, limit: &Limit, client: Option<IpAddr>, now: Instant) -> Arc<Count> {
        let window = limit.settings.window;
        self.counts(limit.owner).get_with(limit.key(client), || {
            Arc::new(Count {
                window,
                state: Mutex::new(State {
                    since: now,
                    requests: 0,
                }),
            })
        })
    }

    /// Whether [`Self::take`] would find a token of each, and how many requests each has room for.
    /// Takes none.
    pub(super) fn peek(
        &self,
        limits: &[Limit],
        client: Option<IpAddr>,
        now: Instant,
    ) -> (Vec<u32>, Result<(), OverLimit>) {
        let mut over = None;
        let client = client.map(client_network);
        let left = limits.iter().map(|limit| {
            let Some(count) = self.counts(limit.owner).get(&limit.key(client)) else {
                return limit.settings.max_requests;
            };
            let state = count.state.lock().unwrap_or_else(PoisonError::into_inner);
            limit.peek(&state, now, &mut over);
            let used = state.used(limit.settings.window, now);
            limit.settings.max_requests.saturating_sub(used)
        });
        (left.collect(), over.map_or(Ok(()), Err))
    }

    fn counts(&self, owner: Owner) -> &Counts {
        match owner {
            Owner::Local => &self.local,
            Owner::Cloud => &self.cloud,
        }
    }

    /// How many clients are counted.
    #[cfg(test)]
    pub(super) fn clients(&self) -> u64 {
        self.local.run_pending_tasks();
        self.local.entry_count()
    }
}

impl fmt::Debug for Limiters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiters").finish_non_exhaustive()
    }
}

/// A client that was quiet for its window is as good as new.
struct Idle;

impl Expiry<Key, Arc<Count>> for Idle {
    fn expire_after_create(&self, _: &Key, count: &Arc<Count>, _: Instant) -> Option<Duration> {
        Some(count.window)
    }

    fn expire_after_read(
        &self,
        _: &Key,
        count: &Arc<Count>,
        _: Instant,
        _: Option<Duration>,
        _: Instant,
    ) -> Option<Duration> {
        Some(count.window)
    }
}

#[cfg(test)]
mod tests;
