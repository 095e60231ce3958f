//! What the Management API counts of its own calls, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;

use super::access_control::Refusal;

/// Counts since the start.
#[derive(Debug, Default)]
pub(super) struct CallCounts {
    refusals: [AtomicU64; Refusal::ALL.len()],
    authorizations: [AtomicU64; RESULTS.len()],
}

/// How a call of `/authorize` or `/token` ended: with a token in use; with an error of the caller,
/// a user token that does not pass for one; with an error of ours or of the cloud.
const RESULTS: [&str; 3] = ["ok", "refused", "failed"];

impl CallCounts {
    /// A call that was turned away.
    pub(super) fn refused(&self, refusal: Refusal) {
        let places = Refusal::ALL.iter().zip(&self.refusals);
        let found = places.filter(|(one, _)| **one == refusal);
        found.for_each(|(_, count)| add(count));
    }

    /// A call of `/authorize` or `/token`, with the status of its answer.
    pub(super) fn authorization(&self, status: StatusCode) {
        let [ok, refused, failed] = &self.authorizations;
        add(match status {
            status if status.is_success() => ok,
            status if status.is_client_error() => refused,
            _ => failed,
        });
    }

    /// Calls that were turned away, by reason.
    pub(super) fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.refusals.iter().map(load);
        Refusal::ALL.iter().map(|one| one.label()).zip(counts)
    }

    /// Authorizations, by how they ended.
    pub(super) fn authorizations(&self) -> impl Iterator<Item = (&'static str, u64)> {
        RESULTS
            .into_iter()
            .zip(self.authorizations.iter().map(load))
    }
}

fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

fn load(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}
