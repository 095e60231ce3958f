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
mod tests;
