//! What is counted of the questions to issuers.

use std::sync::atomic::{AtomicU64, Ordering};

/// InFlightCalls, for a status page or a metric.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IntrospectionStatus {
    /// Answers that a token is active.
    pub active: u64,
    /// Answers that a token is not active.
    pub inactive: u64,
    /// InFlightCalls without a usable answer.
    pub failed: u64,
    /// InFlightCalls that were not asked, because too many were under way.
    pub turned_away: u64,
    /// InFlightCalls under way.
    pub in_flight: u64,
}

#[derive(Default)]
pub(super) struct Counters {
    pub(super) active: AtomicU64,
    pub(super) inactive: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) turned_away: AtomicU64,
    pub(super) in_flight: AtomicU64,
}

impl Counters {
    pub(super) fn status(&self) -> IntrospectionStatus {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        IntrospectionStatus {
            active: read(&self.active),
            inactive: read(&self.inactive),
            failed: read(&self.failed),
            turned_away: read(&self.turned_away),
            in_flight: read(&self.in_flight),
        }
    }
}
