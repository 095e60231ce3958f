//! The key sets of the process (RFC 7517): fetched ahead of need, kept across reloads, and kept
//! through an outage of their issuer.
//!
//! [`KeySets`] holds one [`set::KeySet`] per URL and refreshes them in the background. Whoever
//! verifies tokens holds [`FetchedKeys`], which looks a key up without waiting, unless the key is
//! unknown or nothing was ever fetched. [`fetcher`] speaks HTTP, [`parse`] decides which keys are
//! used, [`duplicate_ids`] which of those that share an id, and [`store`] keeps the last good sets
//! on the disk.

mod duplicate_ids;
mod fetcher;
mod lookup;
mod parse;
mod set;
mod settings;
mod store;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use moka::ops::compute::Op;
use moka::sync::Cache;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use self::fetcher::Fetcher;
use self::set::{FetchReason, KeySet};
use self::store::Store;

pub use duplicate_ids::KeyLabel;
pub use lookup::{FetchedKeys, KeyTrouble};
pub use parse::{KeySetError, ParsedKeySet};
pub use settings::{AddressFilter, KeySetUrl};

/// How long the background task sleeps at most.
const TICK: Duration = Duration::from_secs(60);

/// Why key sets cannot be kept at all.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// No TLS provider was installed for the process.
    #[error("no TLS provider is installed for the process")]
    NoTlsProvider,
    /// The HTTP client cannot be made.
    #[error("cannot make an HTTP client: {0}")]
    Client(String),
}

/// One key set, for a status page or a metric.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct KeySetStatus {
    /// Where it is fetched from; without user name, password and query.
    pub url: String,
    /// How long ago the keys that serve were fetched. `None`: there are none.
    pub age: Option<Duration>,
    /// How many keys serve.
    pub keys: usize,
    /// Why the last fetch failed; `None` after a success, and before the first fetch.
    pub last_error: Option<String>,
    /// Grows whenever the keys change; no two sets ever have the same. 0: no keys yet.
    pub generation: u64,
    /// Fetches since the process began, and how many of them failed.
    pub fetches: (u64, u64),
}

/// The key sets of the process, by URL. A clone is the same sets. Made once; it outlives every
/// configuration.
#[derive(Clone)]
pub struct KeySets {
    sets: Cache<Source, Arc<KeySet>>,
    tools: Arc<Tools>,
}

/// Where a set is fetched from, and what may be connected to for it: one user of a URL does not
/// decide for another that is under another filter.
type Source = (Arc<str>, Option<AddressFilter>);

/// What all key sets share.
struct Tools {
    fetcher: Fetcher,
    store: Option<Store>,
    /// The last generation that was given out.
    generations: AtomicU64,
    /// Told whenever a set was registered or a fetch has ended.
    changes: watch::Sender<()>,
    /// Where fetches run: the background task's runtime, not that of the request which asks.
    runtime: OnceLock<Handle>,
}

impl KeySets {
    /// Makes the HTTP client, for which the process must have installed a TLS provider (rustls).
    /// `user_agent` is what it calls itself. Good sets are also kept under `state_dir`. Nothing is
    /// fetched before [`KeySets::run`].
    ///
    /// # Errors
    ///
    /// That there can be no HTTP client.
    pub fn new(user_agent: &'static str, state_dir: Option<PathBuf>) -> Result<Self, SetupError> {
        Ok(Self {
            sets: Cache::builder().build(),
            tools: Arc::new(Tools {
                fetcher: Fetcher::new(user_agent)?,
                store: state_dir.map(Store::new),
                generations: AtomicU64::new(0),
                changes: watch::Sender::new(()),
                runtime: OnceLock::new(),
            }),
        })
    }

    /// The background task: fetches every registered set at once, and again whenever it is due.
    /// Returns on shutdown only.
    pub async fn run(&self, mut shutdown: watch::Receiver<bool>) {
        let _ = self.tools.runtime.set(Handle::current());
        let mut changes = self.tools.changes.subscribe();
        let stop = async {
            if shutdown.wait_for(|stop| *stop).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::pin!(stop);
        loop {
            changes.mark_unchanged();
            let next = self.fetch_due();
            tokio::select! {
                () = &mut stop => return,
                _ = changes.changed() => {}
                () = sleep_until(next) => {}
            }
        }
    }

    /// Waits until every registered set has been tried once, or the limit has passed.
    pub async fn first_tried(&self, limit: Duration) {
        let mut changes = self.tools.changes.subscribe();
        let tried = async {
            while !self.all_tried() {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        let _ = timeout(limit, tried).await;
    }

    /// Whether every registered set has been tried once, with whatever result.
    pub fn all_tried(&self) -> bool {
        self.in_use().all(|set| set.is_tried())
    }

    /// Fetches every set now, and tells how each of them stands then. A fetch that is under way
    /// does not count: it may have begun too early.
    pub async fn refresh_all(&self) -> Vec<KeySetStatus> {
        let sets: Vec<_> = self.in_use().collect();
        let fetches: Vec<_> = sets
            .iter()
            .map(|set| {
                let set = set.clone();
                tokio::spawn(async move {
                    if let Some(earlier) = set.fetch_in_progress() {
                        set::completed(earlier).await;
                    }
                    if let Some(fetch) = set.start_fetch(FetchReason::Scheduled) {
                        set::completed(fetch).await;
                    }
                })
            })
            .collect();
        for fetch in fetches {
            let _ = fetch.await;
        }
        self.status()
    }

    /// How every set stands, by URL.
    pub fn status(&self) -> Vec<KeySetStatus> {
        let mut status: Vec<_> = self.in_use().map(|set| set.status()).collect();
        status.sort_by(|a, b| a.url.cmp(&b.url));
        status
    }

    /// Takes a user of a set, which lives as long as what it gets. The first user of a URL brings
    /// the set into being; the set lives while it has users.
    pub fn register(&self, settings: &KeySetUrl) -> FetchedKeys {
        let settings = Arc::new(settings.clone());
        let source: Source = (settings.url.as_str().into(), settings.addresses.clone());
        let mut found = None;
        self.sets.entry(source).and_compute_with(|entry| {
            let (set, op) = match entry {
                Some(entry) => (entry.into_value(), Op::Nop),
                None => {
                    let set = Arc::new(KeySet::new(&settings, self.tools.clone()));
                    (set.clone(), Op::Put(set))
                }
            };
            set.add_user(&settings);
            found = Some(set);
            op
        });
        let set = found.unwrap_or_else(|| Arc::new(KeySet::new(&settings, self.tools.clone())));
        self.tools.changes.send_replace(());
        FetchedKeys::new(set, settings)
    }

    /// Starts every fetch that is due, forgets sets without users, and tells when to look again.
    fn fetch_due(&self) -> Instant {
        let now = Instant::now();
        let mut next = now + TICK;
        for (source, set) in &self.sets {
            if !set.is_used() {
                self.sets
                    .entry((*source).clone())
                    .and_compute_with(|entry| match entry {
                        Some(entry) if !entry.value().is_used() => Op::Remove,
                        _ => Op::Nop,
                    });
            } else if set.fetch_in_progress().is_none() {
                match set.due() {
                    due if due <= now => drop(set.start_fetch(FetchReason::Scheduled)),
                    due => next = next.min(due),
                }
            }
        }
        next
    }

    fn in_use(&self) -> impl Iterator<Item = Arc<KeySet>> {
        self.sets
            .iter()
            .map(|(_, set)| set)
            .filter(|set| set.is_used())
    }
}

impl fmt::Debug for KeySets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.in_use()).finish()
    }
}

#[cfg(test)]
mod tests;
