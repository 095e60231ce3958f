//! The addresses of one upstream host: which of them is used next, and which come last because no
//! connection to them could be made.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::common::PeerAddress;

/// The addresses of one upstream host, as they were last resolved.
#[derive(Debug)]
pub struct Addresses {
    pub(super) host: String,
    pub(super) port: u16,
    current: ArcSwap<Vec<Address>>,
    next: AtomicUsize,
    /// Whether the name was looked up once, with whatever result.
    tried: AtomicBool,
    /// Why the last look-up failed; logged once.
    lookup_error: Mutex<Option<String>>,
}

#[derive(Debug)]
struct Address {
    at: PeerAddress,
    /// Whether the last connection to it could not be made.
    failing: AtomicBool,
}

impl Address {
    fn new(at: PeerAddress, failing: bool) -> Self {
        let failing = failing.into();
        Self { at, failing }
    }

    fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }
}

impl Addresses {
    /// Those of a name; `literal`: the one that is written in its place.
    pub(super) fn new(host: &str, port: u16, literal: Option<PeerAddress>) -> Self {
        let literal = literal.map(|address| Address::new(address, false));
        Self {
            host: host.to_owned(),
            port,
            tried: literal.is_some().into(),
            current: ArcSwap::from_pointee(literal.into_iter().collect()),
            next: AtomicUsize::new(0),
            lookup_error: Mutex::default(),
        }
    }

    /// The addresses that are known now; none while the name has never been resolved.
    pub fn known(&self) -> Vec<PeerAddress> {
        let all = self.current.load();
        all.iter().map(|address| address.at.clone()).collect()
    }

    /// Whether the last connection to this address could not be made.
    pub fn is_failing(&self, at: &PeerAddress) -> bool {
        let all = self.current.load();
        all.iter()
            .any(|address| address.at == *at && address.is_failing())
    }

    /// Whether the name has this address now.
    pub fn has(&self, at: &PeerAddress) -> bool {
        self.current.load().iter().any(|address| address.at == *at)
    }

    /// The next address in turn that `may` be used and is not failing; where there is none, the
    /// next that `may` be used. `None` while the name has never been resolved.
    pub fn next(&self, may: impl Fn(&PeerAddress) -> bool) -> Option<PeerAddress> {
        let all = self.current.load();
        if let [only] = all.as_slice() {
            return may(&only.at).then(|| only.at.clone());
        }
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let (before, from) = all.split_at(turn.checked_rem(all.len())?);
        let mut in_turn = from.iter().chain(before).filter(|address| may(&address.at));
        let mut working = in_turn.clone().filter(|address| !address.is_failing());
        working
            .next()
            .or_else(|| in_turn.next())
            .map(|it| it.at.clone())
    }

    /// All addresses in the order in which to try them: `first`, then the others in turn, then
    /// those that are failing.
    pub fn in_order(&self, first: Option<&PeerAddress>) -> Vec<PeerAddress> {
        let all = self.current.load();
        let first = all.iter().position(|address| Some(&address.at) == first);
        let (before, from) = all.split_at(first.unwrap_or(0));
        let mut order: Vec<&Address> = from.iter().chain(before).collect();
        let others = order.get_mut(usize::from(first.is_some())..);
        if let Some(others) = others {
            others.sort_by_key(|address| address.is_failing());
        }
        order
            .into_iter()
            .map(|address| address.at.clone())
            .collect()
    }

    /// Records that a connection to this address was made.
    pub fn mark_working(&self, at: &PeerAddress) {
        if self.set_failing(at, false) {
            log::info!("upstream {}: {at} accepts connections again", self.host);
        }
    }

    /// Records that a connection to this one of several addresses could not be made, and returns
    /// whether that is news. The address comes last until [`Self::mark_working`].
    pub fn mark_failed(&self, at: &PeerAddress, why: &str) -> bool {
        let news = self.set_failing(at, true);
        if news {
            let host = &self.host;
            log::warn!("upstream {host}: cannot connect to {at}, using it last: {why}");
        }
        news
    }

    /// Forgets that a connection to this address could not be made.
    pub fn forget_failure(&self, at: &PeerAddress) {
        self.set_failing(at, false);
    }

    /// Returns whether that is a change. The only address of a name cannot come last.
    fn set_failing(&self, at: &PeerAddress, failing: bool) -> bool {
        let all = self.current.load();
        let several = all.len() > 1;
        let known = all.iter().find(|address| address.at == *at && several);
        known.is_some_and(|address| address.failing.swap(failing, Ordering::Relaxed) != failing)
    }

    /// Whether the name was looked up once, with whatever result.
    pub(super) fn is_tried(&self) -> bool {
        self.tried.load(Ordering::Relaxed)
    }

    /// Takes what a look-up has found. Addresses that stay keep their state.
    pub(super) fn resolved(&self, mut found: Vec<SocketAddr>) {
        found.sort_unstable();
        found.dedup();
        let found = interleave_families(&found);
        let recovered = self.swap_error(None).is_some();
        let before = self.current.load();
        let known = |at: &PeerAddress| before.iter().find(|address| address.at == *at);
        let same = before.len() == found.len() && found.iter().all(|at| known(at).is_some());
        if recovered || !same {
            let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
            log::info!("upstream {}: resolved to {}", self.host, shown.join(", "));
        }
        if !same {
            let failing = |at: &PeerAddress| known(at).is_some_and(Address::is_failing);
            let now = found.iter().map(|at| Address::new(at.clone(), failing(at)));
            self.current.store(Arc::new(now.collect()));
        }
        self.tried.store(true, Ordering::Relaxed);
    }

    /// Records that a look-up failed or takes too long. The last addresses stay in use.
    pub(super) fn not_resolved(&self, reason: String) {
        let before = self.swap_error(Some(reason.clone()));
        if before.as_ref() != Some(&reason) {
            let kept = match self.current.load().is_empty() {
                true => "",
                false => "; the last addresses stay in use",
            };
            log::warn!("upstream {}: DNS look-up failed: {reason}{kept}", self.host);
        }
        self.tried.store(true, Ordering::Relaxed);
    }

    fn swap_error(&self, error: Option<String>) -> Option<String> {
        let mut last = self
            .lookup_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut last, error)
    }

    #[cfg(test)]
    pub(super) fn lookup_error(&self) -> Option<String> {
        self.lookup_error.lock().unwrap().clone()
    }
}

/// One address of each family in turn (RFC 8305 section 4): in a network without a route for one
/// family, the second attempt uses the other.
fn interleave_families(sorted: &[SocketAddr]) -> Vec<PeerAddress> {
    let (v4, v6) = sorted.split_at(sorted.partition_point(SocketAddr::is_ipv4));
    let places = 0..v4.len().max(v6.len());
    let in_turn = places.flat_map(|place| v4.get(place).into_iter().chain(v6.get(place)));
    in_turn.copied().map(PeerAddress::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> PeerAddress {
        address.parse::<SocketAddr>().unwrap().into()
    }

    /// A name with these addresses.
    fn with(found: &[&str]) -> Addresses {
        let addresses = Addresses::new("h", 1, None);
        addresses.resolved(found.iter().map(|it| it.parse().unwrap()).collect());
        addresses
    }

    fn any(_: &PeerAddress) -> bool {
        true
    }

    #[test]
    fn addresses_take_turns_and_failing_ones_come_last() {
        let addresses = with(&["127.0.0.1:1", "127.0.0.2:1", "127.0.0.3:1"]);
        let [one, two, three] = ["127.0.0.1:1", "127.0.0.2:1", "127.0.0.3:1"].map(at);
        let turns = || [(); 3].map(|()| addresses.next(any).unwrap());
        assert_eq!(turns(), [one.clone(), two.clone(), three.clone()]);
        assert!(addresses.set_failing(&two, true) && !addresses.set_failing(&two, true));
        let after = turns();
        assert!(!after.contains(&two), "{after:?}");
        let last = [one.clone(), three.clone(), two.clone()];
        assert_eq!(addresses.in_order(None), last);
        let first = [two.clone(), three.clone(), one.clone()];
        assert_eq!(addresses.in_order(Some(&two)), first);
        assert_eq!(addresses.in_order(Some(&at("9.9.9.9:1"))), last);
        assert_eq!(
            addresses.next(|it| *it == two),
            Some(two.clone()),
            "better than none"
        );
        assert!(addresses.set_failing(&one, true) && addresses.set_failing(&three, true));
        let mut all = [(); 3].map(|()| addresses.next(any).unwrap());
        all.sort_unstable();
        assert_eq!(all, [one.clone(), two, three], "all fail, so all are tried");
        assert!(addresses.set_failing(&one, false));
        assert_eq!(addresses.next(any), Some(one));
        assert!(
            !addresses.set_failing(&at("9.9.9.9:1"), true),
            "the name does not have it any more"
        );
    }

    #[test]
    fn the_only_address_cannot_come_last() {
        let addresses = with(&["127.0.0.1:1"]);
        assert!(!addresses.set_failing(&at("127.0.0.1:1"), true));
    }

    #[test]
    fn an_address_that_stays_keeps_its_state() {
        let addresses = with(&["127.0.0.1:1", "127.0.0.2:1"]);
        addresses.set_failing(&at("127.0.0.2:1"), true);
        let found = ["127.0.0.3:1", "127.0.0.2:1", "127.0.0.3:1"];
        addresses.resolved(found.map(|it| it.parse().unwrap()).into());
        assert!(!addresses.has(&at("127.0.0.1:1")));
        assert_eq!(
            addresses.in_order(None),
            ["127.0.0.3:1", "127.0.0.2:1"].map(at)
        );
    }

    #[test]
    fn families_take_turns() {
        let addresses = with(&[
            "[::2]:1",
            "10.0.0.2:1",
            "[::1]:1",
            "10.0.0.1:1",
            "10.0.0.3:1",
        ]);
        let expected = [
            "10.0.0.1:1",
            "[::1]:1",
            "10.0.0.2:1",
            "[::2]:1",
            "10.0.0.3:1",
        ];
        assert_eq!(addresses.known(), expected.map(at));
    }
}
