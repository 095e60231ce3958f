//! The rate limits that a request is counted under at one point of its pipeline. Which ones is
//! known when the pipeline is built: a request that gets there has passed the rules of all of them.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::denial::Denial;
use super::limiter::{Key, Limiters, OverLimit};
use super::ruleset::Ruleset;
use crate::common::retry_after;
use crate::config::{Owner, RateLimit};

/// One `rate_limit` rule.
#[derive(Debug, Clone)]
pub(super) struct Limit {
    /// Policy and rule: what counts go on under when a configuration is replaced.
    pub(super) name: Arc<str>,
    pub(super) owner: Owner,
    pub(super) settings: RateLimit,
    /// Where it stands in its pipeline, the heavier rule first.
    pub(super) place: usize,
}

impl Limit {
    pub(super) fn key(&self, client: Option<IpAddr>) -> Key {
        Key {
            limit: self.name.clone(),
            client,
        }
    }
}

/// Rate limits that are counted together, each once a request, however many policies and steps name
/// it.
#[derive(Debug, Default)]
pub struct RateLimits {
    /// Ordered by owner and name.
    limits: Vec<Limit>,
}

impl RateLimits {
    /// Adds those of a step, but for those that count `earlier` in its pipeline.
    pub fn add<'a>(&mut self, rules: &Ruleset, earlier: impl Iterator<Item = &'a Self> + Clone) {
        for limit in rules.limits() {
            if earlier.clone().all(|earlier| earlier.find(limit).is_err())
                && let Err(index) = self.find(limit)
            {
                let place = self.limits.len();
                self.limits.insert(
                    index,
                    Limit {
                        place,
                        ..limit.clone()
                    },
                );
            }
        }
    }

    fn find(&self, limit: &Limit) -> Result<usize, usize> {
        self.limits.binary_search_by(|known| {
            let local_first = (known.owner == Owner::Cloud).cmp(&(limit.owner == Owner::Cloud));
            local_first.then_with(|| known.name.cmp(&limit.name))
        })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.limits.is_empty()
    }

    /// Counts a request under every one of them; if one has no room, under none.
    ///
    /// # Errors
    ///
    /// [`Denial::RateLimited`].
    pub fn take(
        &self,
        limiters: &Limiters,
        client: Option<IpAddr>,
        now: Instant,
    ) -> Result<(), Denial> {
        let taken = limiters.take(&self.limits, client, now);
        taken.map_err(|over| self.refused(over))
    }

    /// What [`Self::take`] would find, without counting: the room of each limit, in the order of
    /// the pipeline.
    ///
    /// # Errors
    ///
    /// As [`Self::take`], as the second half.
    pub fn peek(
        &self,
        limiters: &Limiters,
        client: Option<IpAddr>,
        now: Instant,
    ) -> (Vec<Remaining<'_>>, Result<(), Denial>) {
        let (left, found) = limiters.peek(&self.limits, client, now);
        let mut room: Vec<_> = self.limits.iter().zip(left).collect();
        room.sort_by_key(|(limit, _)| limit.place);
        let room = room.into_iter().map(|(limit, left)| Remaining {
            name: &limit.name,
            left,
            settings: limit.settings,
        });
        (room.collect(), found.map_err(|over| self.refused(over)))
    }

    fn refused(&self, over: OverLimit) -> Denial {
        let mut limits = self.limits.iter();
        if let Some(limit) = limits.find(|limit| limit.place == over.place) {
            log::debug!("over limit {}", limit.name);
        }
        Denial::RateLimited {
            retry_after: retry_after(over.wait),
        }
    }

    /// The names of all of them.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.limits.iter().map(|limit| &limit.name)
    }
}

/// How many requests of a client a limit has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remaining<'a> {
    /// The limit's id in its policy.
    pub name: &'a Arc<str>,
    left: u32,
    settings: RateLimit,
}

impl fmt::Display for Remaining<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.settings.window.as_secs();
        let most = self.settings.max_requests;
        write!(f, "{most} requests in {seconds} s, {} left", self.left)
    }
}

#[cfg(test)]
mod tests;
