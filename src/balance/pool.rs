//! The members that share a load, and which of them is next.

use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::hash_ring::HashRing;
use super::health::Health;
use super::health_status::Availability;
use super::pick::{Pick, PickReason};
use super::round_robin::WeightedRoundRobin;
use crate::config::Balance;

/// Members, by number, and the way to choose among them.
#[derive(Debug)]
pub struct Pool {
    members: Vec<Member>,
    round_robin: WeightedRoundRobin,
    strategy: Strategy,
}

#[derive(Debug)]
struct Member {
    weight: u32,
    health: Arc<Health>,
}

#[derive(Debug)]
enum Strategy {
    RoundRobin,
    LeastConn,
    Consistent(HashRing),
}

/// What requests that belong together have in common, for consistent hashing.
#[derive(Debug, Clone, Copy)]
pub enum HashKey<'a> {
    /// A header's value.
    Bytes(&'a [u8]),
    /// The client's address.
    Address(IpAddr),
    /// Nothing: all such requests belong together.
    Nothing,
}

impl Pool {
    /// A pool of members, each with a name of its own, a weight (at least 1) and its health.
    pub fn new(members: Vec<(String, u32, Arc<Health>)>, balance: &Balance) -> Self {
        let weights: Vec<u32> = members.iter().map(|(_, weight, _)| *weight).collect();
        let strategy = match balance {
            Balance::RoundRobin => Strategy::RoundRobin,
            Balance::LeastConn => Strategy::LeastConn,
            Balance::Consistent(_) => Strategy::Consistent(HashRing::new(
                members
                    .iter()
                    .map(|(name, weight, _)| (name.as_str(), *weight)),
            )),
        };
        let members = members.into_iter();
        Self {
            members: members
                .map(|(_, weight, health)| Member { weight, health })
                .collect(),
            round_robin: WeightedRoundRobin::new(&weights),
            strategy,
        }
    }

    /// Chooses among the members that are `allowed`: one in service, or one whose trial is due. If
    /// none of them is, health counts for nothing: to try is better than to refuse. `None`: no
    /// member is allowed.
    pub fn choose(&self, key: HashKey<'_>, allowed: impl Fn(usize) -> bool) -> Option<Pick> {
        if let [only] = self.members.as_slice() {
            return allowed(0).then(|| Pick::new(0, only.health.clone(), PickReason::NoOther));
        }
        self.choose_in_service(key, &allowed).or_else(|| {
            let index = self.find(key, &allowed, &|_| true)?;
            let health = self.member(index)?.health.clone();
            Some(Pick::new(index, health, PickReason::NoOther))
        })
    }

    /// The same, where there is something better than a member that is not in service. `None`: no
    /// member that is allowed is in service, and none has its trial due.
    pub fn choose_in_service(
        &self,
        key: HashKey<'_>,
        allowed: impl Fn(usize) -> bool,
    ) -> Option<Pick> {
        let reason = Cell::new(PickReason::InService);
        let in_service = |index: usize| {
            let availability = self
                .member(index)
                .map(|member| member.health.availability());
            allowed(index) && availability != Some(Availability::Unavailable)
        };
        let claim = |index: usize| {
            let Some(member) = self.member(index) else {
                return false;
            };
            match member.health.availability() {
                Availability::Available => reason.set(PickReason::InService),
                Availability::TrialDue if member.health.claim_trial() => {
                    reason.set(PickReason::Trial)
                }
                _ => return false,
            }
            true
        };
        let index = self.find(key, &in_service, &claim)?;
        let health = self.member(index)?.health.clone();
        Some(Pick::new(index, health, reason.get()))
    }

    /// Whether a member other than this one is in service and `allowed`.
    pub fn has_other(&self, index: usize, allowed: impl Fn(usize) -> bool) -> bool {
        (0..).zip(&self.members).any(|(other, member)| {
            other != index
                && allowed(other)
                && member.health.availability() == Availability::Available
        })
    }

    /// The first member in this pool's order that is `fit` and can be claimed.
    fn find(
        &self,
        key: HashKey<'_>,
        fit: &impl Fn(usize) -> bool,
        claim: &impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let accept = |index| fit(index) && claim(index);
        match (&self.strategy, key) {
            (Strategy::RoundRobin, _) => self.round_robin.find(accept),
            (Strategy::LeastConn, _) => self.least_conn(fit, claim),
            (Strategy::Consistent(ring), HashKey::Bytes(key)) => ring.find(key, accept),
            (Strategy::Consistent(ring), HashKey::Address(IpAddr::V4(key))) => {
                ring.find(&key.octets(), accept)
            }
            (Strategy::Consistent(ring), HashKey::Address(IpAddr::V6(key))) => {
                ring.find(&key.octets(), accept)
            }
            (Strategy::Consistent(ring), HashKey::Nothing) => ring.find(&[], accept),
        }
    }

    /// The member with the fewest requests in flight for its weight. Of several equals, the one
    /// whose turn it is.
    fn least_conn(
        &self,
        fit: &impl Fn(usize) -> bool,
        claim: &impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let first = self.round_robin.find(|_| true)?;
        // One that another request has just claimed is fit no more.
        for _ in 0..=self.members.len() {
            let mut best: Option<(usize, u64, u64)> = None;
            for index in (first..self.members.len()).chain(0..first) {
                let Some(member) = self.member(index).filter(|_| fit(index)) else {
                    continue;
                };
                let load = member.health.in_flight.load(Ordering::Relaxed) as u64;
                let weight = u64::from(member.weight);
                if best.is_none_or(|(_, least, of)| load * of < least * weight) {
                    best = Some((index, load, weight));
                }
            }
            let (index, ..) = best?;
            if claim(index) {
                return Some(index);
            }
        }
        None
    }

    fn member(&self, index: usize) -> Option<&Member> {
        self.members.get(index)
    }
}
