//! The key sets of the process (RFC 7517): fetched ahead of need, kept across reloads, and kept
//! through an outage of their issuer.
//!
//! [`KeySets`] holds one [`set::KeySet`] per URL or issuer, and one [`issuer::IssuerDocument`] per
//! issuer whose keys are found by discovery, and refreshes them in the background; [`remote`] is
//! what both have in common, and [`registry`] keeps those that are in use. Whoever verifies tokens
//! holds [`FetchedKeys`], which looks a key up without waiting, unless the key is unknown or
//! nothing was ever fetched. [`fetcher`] speaks HTTP, [`discovery`] decides what of a document is
//! believed, [`parse`] which keys are used, [`duplicate_ids`] which of those that share an id, and
//! [`store`] keeps the last good ones on the disk.

mod discovery;
mod duplicate_ids;
mod fetcher;
mod issuer;
mod lookup;
mod parse;
mod registry;
mod remote;
mod set;
mod settings;
mod store;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use self::fetcher::Fetcher;
use self::issuer::{DocumentResource, IssuerDocument};
use self::registry::Registry;
use self::remote::{FetchReason, Remote, Resource};
use self::set::KeySetResource;
use self::settings::Lifetime;
use self::store::Store;
use crate::AddressFilter;

pub use discovery::{Document, DocumentError};
pub use duplicate_ids::KeyLabel;
pub use fetcher::shown as shown_url;
pub use issuer::DiscoveredIssuer;
pub use lookup::{FetchedKeys, KeyTrouble};
pub use parse::{KeySetError, ParsedKeySet};
pub use settings::{IssuerUrl, KeySetUrl};

/// How long the background task sleeps at most.
const TICK: Duration = Duration::from_secs(60);
/// How long a request waits for keys or a document.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// No TLS provider was installed for the process.
#[derive(Debug, thiserror::Error)]
#[error("no TLS provider is installed for the process")]
pub struct NoTlsProvider;

/// One key set, for a status page or a metric.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct KeySetStatus {
    /// Where it is fetched from; without user name, password and query.
    pub url: String,
    /// Whose discovery document names that URL; `None`: the configuration does.
    pub issuer: Option<String>,
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

/// One issuer whose document is fetched, for a status page or a metric.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct IssuerStatus {
    /// As it is configured.
    pub issuer: String,
    /// The URL of its document.
    pub document: String,
    /// Where its keys are; without user name, password and query.
    pub jwks_uri: Option<String>,
    /// Where it is asked about tokens; without user name, password and query.
    pub introspection_endpoint: Option<String>,
    /// How long ago the document that serves was fetched. `None`: there is none.
    pub age: Option<Duration>,
    /// Why the last fetch failed; `None` after a success, and before the first fetch.
    pub last_error: Option<String>,
    /// Fetches since the process began, and how many of them failed.
    pub fetches: (u64, u64),
}

/// How the fetches of anything stand.
struct FetchStatus {
    age: Option<Duration>,
    generation: u64,
    last_error: Option<String>,
    fetches: (u64, u64),
}

/// The key sets of the process, by URL and by issuer. A clone is the same sets. Made once; it
/// outlives every configuration.
#[derive(Clone)]
pub struct KeySets {
    documents: Arc<Registry<DocumentResource>>,
    sets: Arc<Registry<KeySetResource>>,
    tools: Arc<Tools>,
}

/// What all key sets share.
struct Tools {
    fetcher: Fetcher,
    store: Option<Store>,
    /// The last generation that was given out.
    generations: AtomicU64,
    /// Told whenever something was registered or a fetch has ended.
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
    /// That there can be no HTTP client without a TLS provider.
    pub fn new(
        user_agent: &'static str,
        state_dir: Option<PathBuf>,
    ) -> Result<Self, NoTlsProvider> {
        Ok(Self {
            documents: Arc::new(Registry::new()),
            sets: Arc::new(Registry::new()),
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

    /// Waits until everything that is registered has been tried once, or the limit has passed.
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

    /// Whether every registered set and document has been tried once, with whatever result.
    pub fn all_tried(&self) -> bool {
        self.documents.in_use().all(|document| document.is_tried())
            && self.sets.in_use().all(|set| set.is_tried())
    }

    /// Fetches every document and then every set now, and tells how each set stands then. A fetch
    /// that is under way does not count: it may have begun too early.
    pub async fn refresh_all(&self) -> Vec<KeySetStatus> {
        refresh(&self.documents).await;
        refresh(&self.sets).await;
        self.status()
    }

    /// How every set stands, by URL.
    pub fn status(&self) -> Vec<KeySetStatus> {
        let sets = self.sets.in_use();
        let mut status: Vec<_> = sets.map(|set| set.key_set_status()).collect();
        status.sort_by(|a, b| (&a.url, &a.issuer).cmp(&(&b.url, &b.issuer)));
        status
    }

    /// How every issuer with a document stands, by its name.
    pub fn issuers(&self) -> Vec<IssuerStatus> {
        let documents = self.documents.in_use();
        let mut status: Vec<_> = documents.map(|document| document.issuer_status()).collect();
        status.sort_by(|a, b| a.issuer.cmp(&b.issuer));
        status
    }

    /// Takes a user of a set, which lives as long as what it gets. The first user of a URL brings
    /// the set into being; the set lives while it has users.
    pub fn register(&self, settings: &KeySetUrl) -> FetchedKeys {
        let lifetime = settings.lifetime();
        let resource = KeySetResource::of_url(&settings.url, settings.addresses.clone());
        let set = self.take(&self.sets, settings.addresses.clone(), resource, &lifetime);
        FetchedKeys::new(set, lifetime, None)
    }

    /// The same for the key set that an issuer's document names.
    pub fn register_issuer(&self, settings: &IssuerUrl) -> FetchedKeys {
        let lifetime = settings.lifetime();
        let document = self.document(settings, &lifetime);
        let resource = KeySetResource::of_issuer(document.clone());
        let set = self.take(&self.sets, settings.addresses.clone(), resource, &lifetime);
        let issuer = DiscoveredIssuer::new(document, lifetime.clone());
        FetchedKeys::new(set, lifetime, Some(issuer))
    }

    /// Takes a user of an issuer's document alone, without its keys.
    pub fn discover(&self, settings: &IssuerUrl) -> DiscoveredIssuer {
        let lifetime = settings.lifetime();
        DiscoveredIssuer::new(self.document(settings, &lifetime), lifetime)
    }

    fn document(&self, settings: &IssuerUrl, lifetime: &Arc<Lifetime>) -> Arc<IssuerDocument> {
        let resource = DocumentResource::new(settings.clone());
        self.take(
            &self.documents,
            settings.addresses.clone(),
            resource,
            lifetime,
        )
    }

    fn take<R: Resource>(
        &self,
        registry: &Registry<R>,
        addresses: Option<AddressFilter>,
        resource: R,
        lifetime: &Arc<Lifetime>,
    ) -> Arc<Remote<R>> {
        let remote = registry.register(addresses, resource, lifetime, &self.tools);
        self.tools.changes.send_replace(());
        remote
    }

    /// Starts every fetch that is due, forgets what has no users, and tells when to look again.
    fn fetch_due(&self) -> Instant {
        let now = Instant::now();
        let next = self.documents.fetch_due(now, |_| false);
        next.min(self.sets.fetch_due(now, KeySetResource::is_outdated))
    }
}

/// Fetches everything of a registry side by side.
async fn refresh<R: Resource>(registry: &Registry<R>) {
    let fetches: Vec<_> = registry
        .in_use()
        .map(|remote| {
            tokio::spawn(async move {
                if let Some(earlier) = remote.fetch_in_progress() {
                    remote::completed(earlier).await;
                }
                if let Some(fetch) = remote.start_fetch(FetchReason::Scheduled) {
                    remote::completed(fetch).await;
                }
            })
        })
        .collect();
    for fetch in fetches {
        let _ = fetch.await;
    }
}

impl fmt::Debug for KeySets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.sets.in_use()).finish()
    }
}

#[cfg(test)]
mod tests;
