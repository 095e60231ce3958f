//! The limits of each client of one network: the minimum rate of a body, and how many connections
//! or requests one address may have at a time.
//!
//! Connections are counted by address. Behind a trusted proxy that would hit everybody at once, so
//! there the requests in progress are counted, by the client's address.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;

use crate::common::client_network;

/// Parts of the counts, so that workers seldom meet at one lock.
const SHARDS: usize = 16;

type Counts = HashMap<IpAddr, usize, RandomState>;

/// The limits of one network, shared by its connections. A reload changes them in place.
#[derive(Debug)]
pub struct ClientLimits {
    min_body_rate: AtomicU64,
    per_address: AtomicUsize,
    hasher: RandomState,
    in_progress: [Mutex<Counts>; SHARDS],
}

/// While this lives, a request counts for its client.
#[derive(Debug)]
pub struct InProgress(Option<(Arc<ClientLimits>, IpAddr)>);

impl ClientLimits {
    /// `min_body_rate`: bytes a second that the body of a request must come at, 0: no minimum.
    /// `per_address`: connections of one address, or requests of one client behind a trusted
    /// proxy, 0: no limit.
    pub fn new(min_body_rate: u64, per_address: usize) -> Self {
        Self {
            min_body_rate: min_body_rate.into(),
            per_address: per_address.into(),
            hasher: RandomState::default(),
            in_progress: Default::default(),
        }
    }

    /// Changes them for what comes from now on.
    pub fn set(&self, min_body_rate: u64, per_address: usize) {
        self.min_body_rate.store(min_body_rate, Ordering::Relaxed);
        self.per_address.store(per_address, Ordering::Relaxed);
    }

    /// Connections of one address at a time; `None`: any number.
    pub fn per_address(&self) -> Option<usize> {
        let limit = self.per_address.load(Ordering::Relaxed);
        (limit > 0).then_some(limit)
    }

    /// Bytes a second that a body must come at; `None`: no minimum.
    pub fn min_body_rate(&self) -> Option<u64> {
        let rate = self.min_body_rate.load(Ordering::Relaxed);
        (rate > 0).then_some(rate)
    }

    /// Begins a request of a client behind a trusted proxy or over HTTP/2; `None`: it has as many
    /// in progress as it may. Clients whose address is not known count as one.
    pub fn enter(self: &Arc<Self>, client: Option<IpAddr>) -> Option<InProgress> {
        let Some(limit) = self.per_address() else {
            return Some(InProgress(None));
        };
        let client = client.map_or(Ipv6Addr::UNSPECIFIED.into(), client_network);
        let mut counts = self.counts_of(client);
        let count = counts.entry(client).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(InProgress(Some((self.clone(), client))))
    }

    fn leave(&self, client: IpAddr) {
        let mut counts = self.counts_of(client);
        if let Some(count) = counts.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&client);
            }
        }
    }

    fn counts_of(&self, client: IpAddr) -> MutexGuard<'_, Counts> {
        let hash = self.hasher.hash_one(client);
        #[allow(clippy::cast_possible_truncation, reason = "a few of its bits will do")]
        let shard = &self.in_progress[hash as usize % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        if let Some((limits, client)) = &self.0 {
            limits.leave(*client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn each_client_has_its_own_requests_and_none_is_kept_in_mind() {
        let limits = Arc::new(ClientLimits::new(0, 2));
        let held = [(); 2].map(|()| limits.enter(client("2001:db8::1")).unwrap());
        assert!(
            limits.enter(client("2001:db8::2")).is_none(),
            "the same /64"
        );
        assert!(limits.enter(client("2001:db8:0:1::1")).is_some());
        assert!(limits.enter(client("192.0.2.1")).is_some());
        let unknown = [(); 2].map(|()| limits.enter(None).unwrap());
        assert!(
            limits.enter(None).is_none(),
            "without an address they are one"
        );
        drop(held);
        assert!(limits.enter(client("2001:db8::2")).is_some());
        drop(unknown);
        let kept = limits
            .in_progress
            .iter()
            .map(|counts| counts.lock().unwrap().len());
        assert_eq!(kept.sum::<usize>(), 0);
    }

    #[test]
    fn a_change_of_the_limit_loses_no_count() {
        let limits = Arc::new(ClientLimits::new(0, 0));
        let uncounted = limits.enter(client("192.0.2.1")).unwrap();
        limits.set(0, 1);
        let counted = limits.enter(client("192.0.2.1")).unwrap();
        drop(uncounted);
        assert!(limits.enter(client("192.0.2.1")).is_none());
        limits.set(0, 0);
        assert!(limits.enter(client("192.0.2.1")).is_some());
        drop(counted);
        limits.set(0, 1);
        assert!(limits.enter(client("192.0.2.1")).is_some());
    }
}
