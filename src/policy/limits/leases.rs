//! The leases of shared limits: which are to be asked for, and what becomes of the answers.

use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::budgets::LeaseRequest;
use super::counts::{Capacity, Count, Report};
use super::limiters::{LimitStates, Limiters, Tables};
use super::named::{Limit, Table};
use super::requester::LimitKey;
use crate::config::RateLimit;

/// A lease to ask the store for.
#[derive(Debug)]
pub(super) struct PendingLease {
    table: Table,
    key: LimitKey,
    most: u32,
    window: Duration,
    report: Report,
}

impl Limiters {
    /// Asks for leases, without waiting for the answers.
    pub(super) fn request_leases(&self, leases: SmallVec<[PendingLease; 1]>) {
        for pending in leases {
            let Some(store) = self.fleet.store.get().cloned() else {
                return;
            };
            let limiters = self.clone();
            // On its own: a request that gives up takes no answer with it.
            tokio::spawn(async move {
                let lease = store.lease(&pending.request()).await;
                let now = Instant::now();
                if let Some(count) = limiters.tables().of(pending.table).of_key(&pending.key) {
                    count.apply_lease(pending.report, lease, now);
                }
                limiters.fleet.arrival(&pending.key).notify_waiters();
            });
        }
    }
}

impl Tables {
    /// The leases to ask for, without those that are already being asked for.
    pub(super) fn leases_to_request(
        &mut self,
        limits: &[Limit<RateLimit>],
        keys: &[LimitKey],
        states: &LimitStates,
        now: Instant,
    ) -> SmallVec<[PendingLease; 1]> {
        let mut leases = SmallVec::new();
        for ((limit, key), state) in limits.iter().zip(keys).zip(states) {
            let window = limit.settings.window;
            if !limit.settings.shared {
                continue;
            }
            let counts = self.of(limit.table);
            if counts.find(key).is_none() {
                counts.add(key, Count::new(window, now), now);
            }
            if let Some(count) = counts.of_key(key)
                && count.capacity(state.most, count.rest(window, now), now, true)
                    == Capacity::NeedsLease
                && let Some(report) = count.report(now)
            {
                leases.push(PendingLease {
                    table: limit.table,
                    key: key.clone(),
                    most: state.most,
                    window,
                    report,
                });
            }
        }
        leases
    }
}

impl PendingLease {
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
