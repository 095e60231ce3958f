//! Resolves the names of upstreams in the background, never on a request, and again when the answer
//! of DNS is no longer valid.
//!
//! Each name is looked up in a task of its own, so that one whose name servers are silent delays no
//! other. Every look-up has the same time limit, counted from when it is due: it includes the wait
//! for one of the [`MAX_LOOKUPS`] threads.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::addresses::Addresses;
use super::name_lookup::{Answer, NameLookup};
use crate::common::{PeerAddress, WeakMap};

/// How soon a name is looked up again whose answer is not from DNS: nothing tells how long it
/// holds.
const REFRESH: Duration = Duration::from_secs(30);
/// The bounds of the time after which a name is looked up again that DNS has given a TTL.
const MIN_TTL: Duration = Duration::from_secs(5);
const MAX_TTL: Duration = Duration::from_secs(300);
/// How soon a look-up that failed is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// How long one look-up may take.
const LIMIT: Duration = Duration::from_secs(5);
/// Look-ups at the same time: each may occupy a thread until the system's resolver gives up.
const MAX_LOOKUPS: usize = 256;

/// Asks for the addresses of a host at a port.
type Lookup = Arc<dyn Fn(String, u16) -> LookingUp + Send + Sync>;
type LookingUp = Pin<Box<dyn Future<Output = io::Result<Answer>> + Send>>;

/// Every name in use. It outlives configurations, so a reload keeps what is resolved.
#[derive(Debug)]
pub struct Resolver {
    known: WeakMap<(String, u16), Addresses>,
    /// Names that no task follows yet.
    new: Mutex<Vec<Weak<Addresses>>>,
    added: Notify,
    tried: AtomicBool,
    /// `proxy.resolve_secs`.
    interval: watch::Sender<Option<Duration>>,
    lookups: Lookups,
}

/// How one name is looked up.
#[derive(Clone)]
struct Lookups {
    lookup: Lookup,
    limit: Duration,
    slots: Arc<Semaphore>,
}

impl Default for Resolver {
    fn default() -> Self {
        let names = Arc::new(NameLookup::default());
        Self::new(Lookups {
            lookup: Arc::new(move |host, port| {
                let names = names.clone();
                Box::pin(async move { names.look_up(&host, port).await })
            }),
            limit: LIMIT,
            slots: Arc::new(Semaphore::new(MAX_LOOKUPS)),
        })
    }
}

impl Resolver {
    fn new(lookups: Lookups) -> Self {
        Self {
            known: WeakMap::default(),
            new: Mutex::default(),
            added: Notify::new(),
            tried: AtomicBool::new(false),
            interval: watch::Sender::default(),
            lookups,
        }
    }

    /// Sets after what time every name is looked up again; `None`: as long as its answer holds.
    pub(super) fn set_interval(&self, interval: Option<Duration>) {
        self.interval
            .send_if_modified(|current| std::mem::replace(current, interval) != interval);
    }

    /// The addresses of a host; an IP literal is its own.
    pub fn addresses(&self, host: &str, port: u16) -> Arc<Addresses> {
        if let Ok(literal) = host.parse::<IpAddr>() {
            let literal = SocketAddr::new(literal, port).into();
            return Arc::new(Addresses::new(host, port, Some(literal)));
        }
        self.known.get_or_make((host.to_owned(), port), |_| {
            let addresses = Arc::new(Addresses::new(host, port, None));
            self.lock_new().push(Arc::downgrade(&addresses));
            self.added.notify_one();
            addresses
        })
    }

    /// The address of a unix socket, which is its own.
    pub(super) fn socket(path: &Arc<Path>) -> Arc<Addresses> {
        let address = PeerAddress::Unix(path.clone());
        Arc::new(Addresses::new(&address.to_string(), 0, Some(address)))
    }

    /// Resolves every name once, then again and again until shutdown.
    pub async fn run(&self, mut shutdown: watch::Receiver<bool>) {
        // Dropped with this future, and all tasks with it.
        let mut following = JoinSet::new();
        loop {
            for addresses in self.lock_new().drain(..) {
                let interval = self.interval.subscribe();
                following.spawn(self.lookups.clone().follow(addresses, interval));
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
            let in_use = self.known.values();
            let all = in_use.iter().all(|addresses| addresses.is_tried());
            self.tried.store(all, Ordering::Relaxed);
        }
        self.tried.load(Ordering::Relaxed)
    }

    fn lock_new(&self) -> MutexGuard<'_, Vec<Weak<Addresses>>> {
        self.new.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lookups {
    /// Looks a name up again and again, for as long as an upstream uses it.
    async fn follow(
        self,
        addresses: Weak<Addresses>,
        mut interval: watch::Receiver<Option<Duration>>,
    ) {
        while let Some(in_use) = addresses.upgrade() {
            let holds = self.resolve(&in_use).await;
            drop(in_use);
            let fixed = *interval.borrow_and_update();
            let pause = holds.map_or(RETRY, |holds| fixed.unwrap_or(holds));
            tokio::select! {
                () = sleep(pause) => {}
                changed = interval.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Looks a name up once; how long the answer holds. `None`: it has no address.
    async fn resolve(&self, addresses: &Addresses) -> Option<Duration> {
        let mut answer = pin!(async {
            // The semaphore is never closed.
            let _slot = self.slots.acquire().await;
            (self.lookup)(addresses.host.clone(), addresses.port).await
        });
        let answer = match timeout(self.limit, answer.as_mut()).await {
            Ok(answer) => answer,
            Err(_) => {
                addresses.not_resolved(format!("no answer within {} s", self.limit.as_secs()));
                // The system's resolver cannot be told to stop, and occupies a thread. A second
                // look-up of the same name would occupy another one.
                answer.await
            }
        };
        match answer {
            Ok(found) => {
                addresses.resolved(found.addresses);
                Some(found.ttl.map_or(REFRESH, |ttl| ttl.clamp(MIN_TTL, MAX_TTL)))
            }
            Err(error) => {
                addresses.not_resolved(error.to_string());
                None
            }
        }
    }
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookups").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::AtomicUsize;
    use std::time::Instant;

    use super::*;

    fn any(_: &PeerAddress) -> bool {
        true
    }

    fn lookups(
        lookup: impl Fn(String, u16) -> LookingUp + Send + Sync + 'static,
        limit: Duration,
        slots: usize,
    ) -> Lookups {
        Lookups {
            lookup: Arc::new(lookup),
            limit,
            slots: Arc::new(Semaphore::new(slots)),
        }
    }

    fn answer(port: u16, ttl: Option<u64>) -> Answer {
        Answer {
            addresses: vec![([127, 0, 0, 1], port).into()],
            ttl: ttl.map(Duration::from_secs),
        }
    }

    /// Runs a resolver for as long as something else takes.
    async fn running<T>(resolver: &Arc<Resolver>, meanwhile: impl Future<Output = T>) -> T {
        let (stop, stopping) = watch::channel(false);
        let running = tokio::spawn({
            let resolver = resolver.clone();
            async move { resolver.run(stopping).await }
        });
        let result = meanwhile.await;
        stop.send_replace(true);
        running.await.unwrap();
        result
    }

    /// Waits until all names of a resolver have been tried, and says how long that took.
    async fn tried(resolver: &Resolver) -> Duration {
        let begun = Instant::now();
        while !resolver.all_tried() {
            sleep(Duration::from_millis(5)).await;
        }
        begun.elapsed()
    }

    #[test]
    fn an_ip_literal_needs_no_look_up() {
        let resolver = Resolver::default();
        for (host, expected) in [("10.0.0.5", "10.0.0.5:80"), ("::1", "[::1]:80")] {
            let addresses = resolver.addresses(host, 80);
            let expected = expected.parse().ok().map(PeerAddress::Inet);
            assert_eq!(addresses.next(any), expected);
            assert_eq!(addresses.next(|_| false), None);
        }
        assert!(resolver.known.values().is_empty() && resolver.all_tried());
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
        running(&resolver, async {
            tried(&resolver).await;
            let found = one.next(any);
            assert!(matches!(found, Some(PeerAddress::Inet(at)) if at.ip().is_loopback()));
            // One that a reload adds is looked up as well, and the process stays ready meanwhile.
            let added = resolver.addresses("localhost", 8081);
            assert!(resolver.all_tried());
            while added.next(any).is_none() {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    #[tokio::test]
    async fn many_names_that_get_no_answer_take_as_long_as_one() {
        const LIMIT: Duration = Duration::from_millis(400);
        let silent = lookups(|_, _| Box::pin(pending()), LIMIT, MAX_LOOKUPS);
        let resolver = Arc::new(Resolver::new(silent));
        let names: Vec<_> = (0..20)
            .map(|number| resolver.addresses(&format!("h{number}.invalid"), 80))
            .collect();
        let took = running(&resolver, tried(&resolver)).await;
        assert!(LIMIT <= took && took < 3 * LIMIT, "{took:?}");
        assert!(names.iter().all(|name| name.lookup_error().is_some()));
    }

    #[tokio::test]
    async fn the_wait_for_a_thread_counts_towards_the_limit() {
        const LIMIT: Duration = Duration::from_millis(400);
        let silent = lookups(|_, _| Box::pin(pending()), LIMIT, 2);
        let resolver = Arc::new(Resolver::new(silent));
        let _names: Vec<_> = (0..20)
            .map(|number| resolver.addresses(&format!("h{number}.invalid"), 80))
            .collect();
        let took = running(&resolver, tried(&resolver)).await;
        assert!(LIMIT <= took && took < 3 * LIMIT, "{took:?}");
    }

    #[tokio::test]
    async fn no_more_look_ups_at_once_than_allowed() {
        static NOW: AtomicUsize = AtomicUsize::new(0);
        static MOST: AtomicUsize = AtomicUsize::new(0);
        let lookup = |_, port| -> LookingUp {
            Box::pin(async move {
                let now = NOW.fetch_add(1, Ordering::Relaxed) + 1;
                MOST.fetch_max(now, Ordering::Relaxed);
                sleep(Duration::from_millis(5)).await;
                NOW.fetch_sub(1, Ordering::Relaxed);
                Ok(answer(port, None))
            })
        };
        let resolver = Arc::new(Resolver::new(lookups(lookup, LIMIT, 3)));
        let names: Vec<_> = (1..20)
            .map(|port| resolver.addresses("h.example", port))
            .collect();
        running(&resolver, tried(&resolver)).await;
        assert!(names.iter().all(|name| name.next(any).is_some()));
        assert_eq!(MOST.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn an_answer_holds_for_its_ttl_within_bounds() {
        for (ttl, expected) in [
            (Some(0), 5),
            (Some(4), 5),
            (Some(7), 7),
            (Some(300), 300),
            (Some(86_400), 300),
            (None, 30),
        ] {
            let lookup =
                move |_, port| -> LookingUp { Box::pin(async move { Ok(answer(port, ttl)) }) };
            let addresses = Addresses::new("h.example", 1, None);
            let holds = lookups(lookup, LIMIT, 1).resolve(&addresses).await;
            assert_eq!(holds, Some(Duration::from_secs(expected)), "{ttl:?}");
        }
    }

    #[tokio::test]
    async fn a_fixed_interval_counts_at_once_instead_of_the_ttl() {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let lookup = |_, port| -> LookingUp {
            COUNT.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move { Ok(answer(port, Some(300))) })
        };
        let resolver = Arc::new(Resolver::new(lookups(lookup, LIMIT, 1)));
        let _addresses = resolver.addresses("h.example", 1);
        running(&resolver, async {
            tried(&resolver).await;
            sleep(Duration::from_millis(50)).await;
            assert_eq!(COUNT.load(Ordering::Relaxed), 1, "its TTL is not over");
            resolver.set_interval(Some(Duration::from_millis(10)));
            while COUNT.load(Ordering::Relaxed) < 5 {
                sleep(Duration::from_millis(5)).await;
            }
            resolver.set_interval(None);
            sleep(Duration::from_millis(50)).await;
            let before = COUNT.load(Ordering::Relaxed);
            resolver.set_interval(None);
            sleep(Duration::from_millis(50)).await;
            assert_eq!(COUNT.load(Ordering::Relaxed), before);
        })
        .await;
    }

    #[tokio::test]
    async fn addresses_outlive_a_look_up_that_fails_or_takes_too_long() {
        let system = Resolver::default().lookups;
        let addresses = Addresses::new("no-such-name.invalid", 1, None);
        let known: SocketAddr = "127.0.0.1:1".parse().unwrap();
        addresses.resolved(vec![known]);
        assert_eq!(system.resolve(&addresses).await, None);
        assert!(addresses.lookup_error().is_some());
        assert_eq!(addresses.known(), [known.into()]);
        let slow = Addresses::new("localhost", 1, None);
        let hurried = Lookups {
            limit: Duration::ZERO,
            ..system
        };
        assert!(
            hurried.resolve(&slow).await.is_some(),
            "a late answer is used when it comes"
        );
        assert!(slow.lookup_error().is_none() && !slow.known().is_empty());
    }
}
