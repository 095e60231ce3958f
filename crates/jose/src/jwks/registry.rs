//! What is fetched and in use: each resource once, whoever uses it.

use std::sync::Arc;

use moka::ops::compute::Op;
use moka::sync::Cache;
use tokio::time::Instant;

use super::remote::{FetchReason, Remote, Resource};
use super::settings::Lifetime;
use super::{TICK, Tools};
use crate::AddressFilter;

/// By its name, and what may be connected to for it: one user of a URL does not decide for another
/// that is under another filter.
type Source = (String, Option<AddressFilter>);

/// The resources of one kind.
pub(super) struct Registry<R: Resource>(pub(super) Cache<Source, Arc<Remote<R>>>);

impl<R: Resource> Registry<R> {
    pub(super) fn new() -> Self {
        Self(Cache::builder().build())
    }

    /// Takes a user of a resource. The first one brings it into being; it lives while it has users.
    pub(super) fn register(
        &self,
        addresses: Option<AddressFilter>,
        resource: R,
        lifetime: &Arc<Lifetime>,
        tools: &Arc<Tools>,
    ) -> Arc<Remote<R>> {
        let source = (resource.stored_as(), addresses);
        // Made beside the registry: of two that are, one is forgotten.
        let new = Arc::new(Remote::new(resource, tools.clone()));
        let mut found = new.clone();
        self.0.entry(source).and_compute_with(|entry| {
            let op = match entry {
                Some(entry) => {
                    found = entry.into_value();
                    Op::Nop
                }
                None => Op::Put(new),
            };
            found.add_user(lifetime);
            op
        });
        found
    }

    pub(super) fn in_use(&self) -> impl Iterator<Item = Arc<Remote<R>>> {
        self.0
            .iter()
            .map(|(_, remote)| remote)
            .filter(|remote| remote.is_used())
    }

    /// Starts every fetch that is due, or that cannot wait until it is (`is_outdated`), forgets
    /// what has no users, and tells when to look again.
    pub(super) fn fetch_due(&self, now: Instant, is_outdated: impl Fn(&R) -> bool) -> Instant {
        let mut next = now + TICK;
        for (source, remote) in &self.0 {
            if !remote.is_used() {
                self.0
                    .entry((*source).clone())
                    .and_compute_with(|entry| match entry {
                        Some(entry) if !entry.value().is_used() => Op::Remove,
                        _ => Op::Nop,
                    });
            } else if remote.fetch_in_progress().is_none() {
                match remote.due() {
                    due if due <= now || is_outdated(&remote.resource) => {
                        drop(remote.start_fetch(FetchReason::Scheduled));
                    }
                    due => next = next.min(due),
                }
            }
        }
        next
    }
}
