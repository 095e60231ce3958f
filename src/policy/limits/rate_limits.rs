//! The rate limits that a request is counted under at one point of its pipeline.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout_at;

use super::fields::{FieldNames, RateLimitFields};
use super::limiters::{LimitState, LimitStates, Limiters, TakeOutcome};
use super::named::{Limit, Table};
use super::requester::Requester;
use crate::auth::Trace;
use crate::common::retry_after;
use crate::config::RateLimit;
use crate::policy::denial::Denial;

/// How long a request waits for a lease at most.
const LEASE_TIMEOUT: Duration = Duration::from_millis(20);

/// What an answer says of the limits, and whether the request goes on.
pub type Verdict = (Option<RateLimitFields>, Result<(), Denial>);

/// Rate limits that are counted together, each once a request, however many policies and steps name
/// it.
#[derive(Debug, Default)]
pub struct RateLimits {
    /// In the order of the pipeline, of one policy the heavier rule first.
    limits: Vec<Limit<RateLimit>>,
    known: HashSet<(Table, Arc<str>)>,
    fields: FieldNames,
}

impl RateLimits {
    /// Adds those of a step that count attempts, or those that do not; but for those that count
    /// `earlier` in its pipeline.
    pub fn add<'a>(
        &mut self,
        limits: &[Limit<RateLimit>],
        attempts: bool,
        earlier: impl Iterator<Item = &'a Self> + Clone,
    ) {
        for limit in limits {
            let key = (limit.table, limit.name.clone());
            if limit.settings.attempts == attempts
                && !earlier.clone().any(|earlier| earlier.known.contains(&key))
                && self.known.insert(key)
            {
                self.limits.push(limit.clone());
            }
        }
        self.fields = FieldNames::of(&self.limits);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.limits.is_empty()
    }

    /// Counts a request under every one of them; if one has no room, under none. Either way, what
    /// the answer says of it. No other node is asked.
    pub fn take(&self, limiters: &Limiters, requester: &Requester<'_>, now: Instant) -> Verdict {
        let (states, taken) = limiters.take(&self.limits, requester, now, false);
        match taken {
            TakeOutcome::Refused => self.refuse(&states, requester),
            TakeOutcome::Counted | TakeOutcome::NeedsLease(..) => {
                (self.fields.fill(&self.limits, &states), Ok(()))
            }
        }
    }

    /// The same together with the other nodes. `None`: it depends on them, and they are asked; see
    /// [`Self::take_shared`].
    pub fn try_take(
        &self,
        limiters: &Limiters,
        requester: &Requester<'_>,
        now: Instant,
    ) -> Option<Verdict> {
        let (states, taken) = limiters.take(&self.limits, requester, now, true);
        match taken {
            TakeOutcome::NeedsLease(leases, _) => {
                limiters.request_leases(leases);
                None
            }
            TakeOutcome::Counted => Some((self.fields.fill(&self.limits, &states), Ok(()))),
            TakeOutcome::Refused => Some(self.refuse(&states, requester)),
        }
    }

    /// The same, having waited for what other nodes have used: for 20 ms at most, and then as if
    /// there were none.
    pub async fn take_shared(&self, limiters: &Limiters, requester: &Requester<'_>) -> Verdict {
        let deadline = tokio::time::Instant::now() + LEASE_TIMEOUT;
        let mut use_store = true;
        loop {
            let now = Instant::now();
            let (states, taken) = limiters.take(&self.limits, requester, now, use_store);
            let arrived = match taken {
                TakeOutcome::Counted => return (self.fields.fill(&self.limits, &states), Ok(())),
                TakeOutcome::Refused => return self.refuse(&states, requester),
                TakeOutcome::NeedsLease(leases, arrived) => {
                    limiters.request_leases(leases);
                    arrived
                }
            };
            use_store = timeout_at(deadline, arrived).await.is_ok();
        }
    }

    fn refuse(&self, states: &LimitStates, requester: &Requester<'_>) -> Verdict {
        (
            self.fields.fill(&self.limits, states),
            self.refused(states, requester),
        )
    }

    /// What [`Self::take`] would find, without counting. The trace gets the room of each limit, in
    /// the order of the pipeline.
    pub fn peek(
        &self,
        limiters: &Limiters,
        requester: &Requester<'_>,
        now: Instant,
        trace: &mut Trace,
    ) -> Verdict {
        let mut states = limiters.peek(&self.limits, requester, now);
        for (limit, state) in self.limits.iter().zip(&states) {
            trace.limit(&limit.name, || {
                let (most, left) = (state.most, state.remaining);
                let seconds = limit.settings.window.as_secs();
                format!("{most} requests in {seconds} s, {left} left")
            });
        }
        let found = self.refused(&states, requester);
        if found.is_ok() {
            let less = |state: &mut LimitState| state.remaining -= 1;
            states.iter_mut().for_each(less);
        }
        (self.fields.fill(&self.limits, &states), found)
    }

    /// Of those without room the first answers.
    fn refused(&self, states: &LimitStates, requester: &Requester<'_>) -> Result<(), Denial> {
        let mut limits = self.limits.iter().zip(states);
        match limits.find(|(_, state)| state.remaining == 0) {
            None => Ok(()),
            Some((limit, state)) => {
                log::debug!(
                    "request {}: rate limit {} is exhausted",
                    requester.request_id,
                    limit.name
                );
                Err(Denial::RateLimited {
                    retry_after: retry_after(state.reset),
                })
            }
        }
    }

    /// The names of all of them.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.limits.iter().map(|limit| &limit.name)
    }
}

#[cfg(test)]
mod tests;
