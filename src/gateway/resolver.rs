//! Names of upstreams, resolved in the background, never on a request.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::lookup_host;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How often a name is looked up again. The system's resolver does not tell how long an answer
/// holds.
const REFRESH: Duration = Duration::from_secs(30);
/// How soon a look-up that failed is tried again, while the last addresses go on serving.
const RETRY: Duration = Duration::from_secs(2);
/// How long one look-up may take.
const LIMIT: Duration = Duration::from_secs(5);

/// The addresses of one upstream host.
#[derive(Debug)]
pub struct Addresses {
    host: String,
    port: u16,
    current: ArcSwap<Vec<Address>>,
    next: AtomicUsize,
    /// Whether it was looked up once, with whatever result.
    tried: AtomicBool,
    /// Why the last look-up failed: said once.
    trouble: Mutex<Option<String>>,
}

#[derive(Debug)]
struct Address {
    at: SocketAddr,
    /// Whether the last connection to it could not be made.
    fails: AtomicBool,
}

impl Address {
    fn new(at: SocketAddr, fails: bool) -> Self {
        let fails = fails.into();
        Self { at, fails }
    }

    fn fails(&self) -> bool {
        self.fails.load(Ordering::Relaxed)
    }
}

impl Addresses {
    fn new(host: &str, port: u16, literal: Option<IpAddr>) -> Self {
        let literal = literal.map(|ip| Address::new(SocketAddr::new(ip, port), false));
        Self {
            host: host.to_owned(),
            port,
            tried: literal.is_some().into(),
            current: ArcSwap::from_pointee(literal.into_iter().collect()),
            next: AtomicUsize::new(0),
            trouble: Mutex::default(),
        }
    }

    /// The addresses that are known now; none while the name has never been resolved.
    pub fn known(&self) -> Vec<SocketAddr> {
        let all = self.current.load();
        all.iter().map(|address| address.at).collect()
    }

    /// Whether connections to this one of them could not be made of late.
    pub fn is_failing(&self, at: SocketAddr) -> bool {
        let all = self.current.load();
        all.iter()
            .any(|address| address.at == at && address.fails())
    }

    /// Whether this is one of them now.
    pub fn has(&self, at: SocketAddr) -> bool {
        self.current.load().iter().any(|address| address.at == at)
    }

    /// The next one in turn of those that `may` be used and that connections can be made to; where
    /// that is none, of those that may be. `None` while the name has never been resolved.
    pub fn next(&self, may: impl Fn(SocketAddr) -> bool) -> Option<SocketAddr> {
        let all = self.current.load();
        if let [only] = all.as_slice() {
            return may(only.at).then_some(only.at);
        }
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let (before, from) = all.split_at(turn.checked_rem(all.len())?);
        let mut in_turn = from.iter().chain(before).filter(|address| may(address.at));
        let mut working = in_turn.clone().filter(|address| !address.fails());
        working.next().or_else(|| in_turn.next()).map(|it| it.at)
    }

    /// All of them in the order in which they are to be tried: `first`, then the others in turn,
    /// then those that the last connection could not be made to.
    pub fn in_order(&self, first: Option<SocketAddr>) -> Vec<SocketAddr> {
        let all = self.current.load();
        let first = all.iter().position(|address| Some(address.at) == first);
        let (before, from) = all.split_at(first.unwrap_or(0));
        let mut order: Vec<&Address> = from.iter().chain(before).collect();
        let others = order.get_mut(usize::from(first.is_some())..);
        if let Some(others) = others {
            others.sort_by_key(|address| address.fails());
        }
        order.into_iter().map(|address| address.at).collect()
    }

    /// Takes note that a connection to this one was made.
    pub fn mark_working(&self, at: SocketAddr) {
        if self.note(at, false) {
            log::info!("upstream {}: {at} takes connections again", self.host);
        }
    }

    /// Takes note that a connection to this one of several could not be made; whether that is news.
    /// It comes last until [`Self::mark_working`].
    pub fn mark_failed(&self, at: SocketAddr, why: &str) -> bool {
        let news = self.note(at, true);
        if news {
            let host = &self.host;
            log::warn!("upstream {host}: its address {at} is tried after the others: {why}");
        }
        news
    }

    /// It is not known any more whether connections to this one can be made.
    pub fn forget_failure(&self, at: SocketAddr) {
        self.note(at, false);
    }

    fn note(&self, at: SocketAddr, fails: bool) -> bool {
        let all = self.current.load();
        let several = all.len() > 1;
        let known = all.iter().find(|address| address.at == at && several);
        known.is_some_and(|address| address.fails.swap(fails, Ordering::Relaxed) != fails)
    }
}

/// Every name in use. Cheap to share; it outlives configurations, so a reload keeps what is
/// resolved.
#[derive(Debug, Default)]
pub struct Resolver {
    known: Mutex<HashMap<(String, u16), Weak<Addresses>>>,
    /// Those that nobody looks up yet.
    new: Mutex<Vec<Weak<Addresses>>>,
    added: Notify,
    tried: AtomicBool,
}

impl Resolver {
    /// The addresses of a host; an IP literal is its own.
    pub fn addresses(&self, host: &str, port: u16) -> Arc<Addresses> {
        let literal: Option<IpAddr> = host.parse().ok();
        if literal.is_some() {
            return Arc::new(Addresses::new(host, port, literal));
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (host.to_owned(), port);
        if let Some(addresses) = known.get(&key).and_then(Weak::upgrade) {
            return addresses;
        }
        known.retain(|_, addresses| addresses.strong_count() > 0);
        let addresses = Arc::new(Addresses::new(host, port, None));
        known.insert(key, Arc::downgrade(&addresses));
        self.lock_new().push(Arc::downgrade(&addresses));
        self.added.notify_one();
        addresses
    }

    /// Resolves every name once, then again and again until shutdown: each by itself, so that one
    /// whose servers are silent keeps no other waiting.
    pub async fn run(&self, mut shutdown: watch::Receiver<bool>) {
        // Dropped with this future, and all tasks with it.
        let mut following = JoinSet::new();
        loop {
            for addresses in self.lock_new().drain(..) {
                following.spawn(follow(addresses));
            }
            while following.try_join_next().is_some() {}
            tokio::select! {
                () = self.added.notified() => {}
                _ = shutdown.changed() => return,
            }
        }
    }

    /// Whether every name that there was at the start has been looked up once, with whatever
    /// result.
    pub fn all_tried(&self) -> bool {
        if !self.tried.load(Ordering::Relaxed) {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let mut in_use = known.values().filter_map(Weak::upgrade);
            let all = in_use.all(|addresses| addresses.tried.load(Ordering::Relaxed));
            self.tried.store(all, Ordering::Relaxed);
        }
        self.tried.load(Ordering::Relaxed)
    }

    fn lock_new(&self) -> MutexGuard<'_, Vec<Weak<Addresses>>> {
        self.new.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks a name up again and again, for as long as somebody uses it.
async fn follow(addresses: Weak<Addresses>) {
    while let Some(in_use) = addresses.upgrade() {
        let known = in_use.resolve(LIMIT).await;
        drop(in_use);
        sleep(if known { REFRESH } else { RETRY }).await;
    }
}

impl Addresses {
    /// What a look-up would have found.
    #[cfg(test)]
    pub(super) fn set(&self, address: SocketAddr) {
        self.take(vec![address]);
    }

    /// Looks the name up; whether there is an answer.
    async fn resolve(&self, limit: Duration) -> bool {
        let mut looking = pin!(lookup_host((self.host.as_str(), self.port)));
        let found = match timeout(limit, looking.as_mut()).await {
            Ok(found) => found,
            Err(_) => {
                self.failed(format!("no answer within {} s", limit.as_secs()));
                // The system's resolver cannot be told to stop, and occupies a thread. Another
                // look-up beside it would take the next one, until there are none left.
                looking.await
            }
        };
        match found {
            Ok(found) => {
                let found: Vec<SocketAddr> = found.collect();
                if found.is_empty() {
                    self.failed("the name has no address".to_owned());
                    return false;
                }
                self.take(found);
                true
            }
            Err(error) => {
                self.failed(error.to_string());
                false
            }
        }
    }

    /// The name has these addresses. What is known of those that stay is kept.
    fn take(&self, mut found: Vec<SocketAddr>) {
        found.sort_unstable();
        found.dedup();
        let found = interleaved(&found);
        let recovered = self.trouble().take().is_some();
        let before = self.current.load();
        let known = |at: &SocketAddr| before.iter().find(|address| address.at == *at);
        let same = before.len() == found.len() && found.iter().all(|at| known(at).is_some());
        if recovered || !same {
            log::info!("upstream {}: resolved to {found:?}", self.host);
        }
        if !same {
            let now = found.iter();
            let now = now.map(|at| Address::new(*at, known(at).is_some_and(Address::fails)));
            self.current.store(Arc::new(now.collect()));
        }
        self.tried.store(true, Ordering::Relaxed);
    }

    /// A look-up failed, or takes too long. The last addresses go on serving.
    fn failed(&self, reason: String) {
        let mut trouble = self.trouble();
        if trouble.as_ref() != Some(&reason) {
            log::warn!("upstream {}: name not resolved: {reason}", self.host);
            *trouble = Some(reason);
        }
        self.tried.store(true, Ordering::Relaxed);
    }

    fn trouble(&self) -> MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of each family in turn (RFC 8305 section 4): where a network has no way for one of them, the
/// second attempt is one by the other.
fn interleaved(sorted: &[SocketAddr]) -> Vec<SocketAddr> {
    let (v4, v6) = sorted.split_at(sorted.partition_point(SocketAddr::is_ipv4));
    let places = 0..v4.len().max(v6.len());
    let in_turn = places.flat_map(|place| v4.get(place).into_iter().chain(v6.get(place)));
    in_turn.copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }

    /// A name with these addresses.
    fn with(found: &[&str]) -> Addresses {
        let addresses = Addresses::new("h", 1, None);
        addresses.take(found.iter().map(|address| at(address)).collect());
        addresses
    }

    fn any(_: SocketAddr) -> bool {
        true
    }

    #[test]
    fn an_ip_literal_needs_no_look_up() {
        let resolver = Resolver::default();
        for (host, expected) in [("10.0.0.5", "10.0.0.5:80"), ("::1", "[::1]:80")] {
            let addresses = resolver.addresses(host, 80);
            assert_eq!(addresses.next(any), expected.parse().ok());
            assert_eq!(addresses.next(|_| false), None);
        }
        assert!(resolver.known.lock().unwrap().is_empty() && resolver.all_tried());
    }

    #[tokio::test]
    async fn a_name_is_resolved_once_for_all_who_use_it() {
        let resolver = Arc::new(Resolver::default());
        let one = resolver.addresses("localhost", 8080);
        let other = resolver.addresses("localhost", 8080);
        assert!(Arc::ptr_eq(&one, &other));
        assert_eq!(
            one.next(any),
            None,
            "nothing is looked up on the caller's thread"
        );
        assert!(!resolver.all_tried());
        let (stop, stopping) = watch::channel(false);
        let running = tokio::spawn({
            let resolver = resolver.clone();
            async move { resolver.run(stopping).await }
        });
        while !resolver.all_tried() {
            sleep(Duration::from_millis(5)).await;
        }
        assert!(one.next(any).is_some_and(|found| found.ip().is_loopback()));
        // One that a reload adds is looked up as well, and the process stays ready meanwhile.
        let added = resolver.addresses("localhost", 8081);
        assert!(resolver.all_tried());
        while added.next(any).is_none() {
            sleep(Duration::from_millis(5)).await;
        }
        stop.send_replace(true);
        running.await.unwrap();
    }

    #[tokio::test]
    async fn addresses_outlive_a_look_up_that_fails_or_takes_too_long() {
        let addresses = Addresses::new("no-such-name.invalid", 1, None);
        addresses.set(at("127.0.0.1:1"));
        assert!(!addresses.resolve(LIMIT).await);
        assert!(addresses.trouble().is_some());
        assert_eq!(addresses.known(), [at("127.0.0.1:1")]);
        let slow = Addresses::new("localhost", 1, None);
        assert!(
            slow.resolve(Duration::ZERO).await,
            "it is taken when it comes"
        );
        assert!(slow.trouble().is_none() && !slow.known().is_empty());
    }

    #[test]
    fn addresses_take_turns_and_those_that_fail_come_last() {
        let addresses = with(&["127.0.0.1:1", "127.0.0.2:1", "127.0.0.3:1"]);
        let [one, two, three] = ["127.0.0.1:1", "127.0.0.2:1", "127.0.0.3:1"].map(at);
        let turns = || [(); 3].map(|()| addresses.next(any).unwrap());
        assert_eq!(turns(), [one, two, three]);
        assert!(addresses.note(two, true) && !addresses.note(two, true));
        let after = turns();
        assert!(!after.contains(&two), "{after:?}");
        assert_eq!(addresses.in_order(None), [one, three, two]);
        assert_eq!(addresses.in_order(Some(two)), [two, three, one]);
        assert_eq!(addresses.in_order(Some(at("9.9.9.9:1"))), [one, three, two]);
        assert_eq!(
            addresses.next(|it| it == two),
            Some(two),
            "better than none"
        );
        assert!(addresses.note(one, true) && addresses.note(three, true));
        let mut all = [(); 3].map(|()| addresses.next(any).unwrap());
        all.sort_unstable();
        assert_eq!(all, [one, two, three], "all fail, so all are tried");
        assert!(addresses.note(one, false));
        assert_eq!(addresses.next(any), Some(one));
        assert!(!addresses.note(at("9.9.9.9:1"), true), "it has left");
    }

    #[test]
    fn the_only_address_cannot_be_put_last() {
        let addresses = with(&["127.0.0.1:1"]);
        assert!(!addresses.note(at("127.0.0.1:1"), true));
    }

    #[test]
    fn what_is_known_of_an_address_outlives_a_change_of_the_others() {
        let addresses = with(&["127.0.0.1:1", "127.0.0.2:1"]);
        addresses.note(at("127.0.0.2:1"), true);
        addresses.take(vec![
            at("127.0.0.3:1"),
            at("127.0.0.2:1"),
            at("127.0.0.3:1"),
        ]);
        assert!(!addresses.has(at("127.0.0.1:1")));
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
