//! How many requests may be in flight at once.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use super::limiters::Limiters;
use super::named::{Limit, Table};
use super::requester::{LimitKey, Requester};
use crate::auth::Trace;
use crate::config::ConcurrencyLimit;
use crate::policy::denial::Denial;

/// The concurrency limits of a pipeline, each once, however many policies and steps name it.
#[derive(Debug, Default)]
pub struct ConcurrencyLimits {
    /// In the order of the pipeline.
    limits: Vec<Limit<ConcurrencyLimit>>,
    known: HashSet<(Table, Arc<str>)>,
}

impl ConcurrencyLimits {
    /// Adds those of a step.
    pub fn add(&mut self, limits: &[Limit<ConcurrencyLimit>]) {
        for limit in limits {
            if self.known.insert((limit.table, limit.name.clone())) {
                self.limits.push(limit.clone());
            }
        }
    }

    /// Lets a request in under all of them, or under none. One that is only explained takes no
    /// permit, and the trace gets the room of each limit, in the order of the pipeline.
    ///
    /// # Errors
    ///
    /// [`Denial::ConcurrencyLimited`]: one has no room.
    pub fn enter_or_peek(
        &self,
        limiters: &Limiters,
        requester: &Requester<'_>,
        trace: &mut Trace,
    ) -> Result<ConcurrencyPermits, Denial> {
        if trace.is_explain() {
            self.peek(limiters, requester, trace)
        } else {
            self.enter(limiters, requester)
        }
    }

    fn enter(
        &self,
        limiters: &Limiters,
        requester: &Requester<'_>,
    ) -> Result<ConcurrencyPermits, Denial> {
        let mut permits = ConcurrencyPermits::default();
        if self.limits.is_empty() {
            return Ok(permits);
        }
        let keys: SmallVec<[_; 1]> = self.limits.iter().map(|it| it.key(requester)).collect();
        let mut in_flight = limiters.in_flight();
        let full = |(limit, key): &(&Limit<ConcurrencyLimit>, &LimitKey)| {
            let now = in_flight.get(*key).copied();
            now.unwrap_or(0) >= requester.max_requests(&limit.settings.quota)
        };
        if let Some((limit, _)) = self.limits.iter().zip(&keys).find(full) {
            log::debug!(
                "request {}: concurrency limit {} is reached",
                requester.request_id,
                limit.name
            );
            return Err(Denial::ConcurrencyLimited);
        }
        for key in &keys {
            *in_flight.entry(key.clone()).or_default() += 1;
        }
        drop(in_flight);
        permits.keys = keys;
        permits.limiters = Some(limiters.clone());
        Ok(permits)
    }

    fn peek(
        &self,
        limiters: &Limiters,
        requester: &Requester<'_>,
        trace: &mut Trace,
    ) -> Result<ConcurrencyPermits, Denial> {
        let in_flight = limiters.in_flight();
        let mut found = Ok(ConcurrencyPermits::default());
        for limit in &self.limits {
            let most = requester.max_requests(&limit.settings.quota);
            let now = in_flight.get(&limit.key(requester)).copied().unwrap_or(0);
            trace.limit(&limit.name, || {
                format!("{most} requests at once, {now} in flight")
            });
            if now >= most {
                found = Err(Denial::ConcurrencyLimited);
            }
        }
        found
    }

    /// The names of all of them.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.limits.iter().map(|limit| &limit.name)
    }
}

impl Limit<ConcurrencyLimit> {
    fn key(&self, requester: &Requester<'_>) -> LimitKey {
        let mut key = requester.key(&self.name, &self.settings.by);
        key.push(self.table.code());
        key
    }
}

/// The permits of a request under the concurrency limits of its pipeline; released on drop.
#[derive(Default)]
pub struct ConcurrencyPermits {
    keys: SmallVec<[LimitKey; 1]>,
    limiters: Option<Limiters>,
}

impl Drop for ConcurrencyPermits {
    fn drop(&mut self) {
        let Some(limiters) = &self.limiters else {
            return;
        };
        let mut in_flight = limiters.in_flight();
        for key in &self.keys {
            if let Some(count) = in_flight.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    in_flight.remove(key);
                }
            }
        }
    }
}

impl fmt::Debug for ConcurrencyPermits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConcurrencyPermits")
            .field(&self.keys.len())
            .finish()
    }
}

#[cfg(test)]
mod tests;
