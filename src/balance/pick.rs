//! One attempt at the upstream that was chosen for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::health::Health;

/// An attempt: it counts as in flight until it is dropped, however the request ends.
#[derive(Debug)]
pub struct Pick {
    index: usize,
    health: Arc<Health>,
    reason: PickReason,
}

/// Why the upstream was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PickReason {
    InService,
    /// It was ejected, and this request tries it.
    Trial,
    /// No upstream is in service, and one of them has to do.
    NoOther,
}

impl Pick {
    pub(super) fn new(index: usize, health: Arc<Health>, reason: PickReason) -> Self {
        health.begin();
        Self {
            index,
            health,
            reason,
        }
    }

    /// The member's number in its pool.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The upstream answered, with whatever it likes but 502, 503 and 504.
    pub fn succeeded(&self) {
        self.health.succeeded(self.reason != PickReason::InService);
    }

    /// The upstream failed. `others`: whether another one can take the load, so that this one may
    /// be ejected.
    pub fn failed(&self, why: &str, others: bool) {
        self.health
            .failed(why, self.reason == PickReason::Trial, others);
    }
}

impl Drop for Pick {
    fn drop(&mut self) {
        self.health.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
