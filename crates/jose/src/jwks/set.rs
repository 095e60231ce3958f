//! One key set: the keys that serve now, who uses them, and ([`fetch`]) how they are fetched.

mod fetch;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::runtime::Handle;
use tokio::time::Instant;

use self::fetch::State;
use super::{AddressFilter, KeySetStatus, KeySetUrl, Tools, fetcher};
use crate::{Algorithm, KeyRing, PublicKey, TokenError};

pub(super) use fetch::{FetchReason, completed};

/// The key set behind one URL.
pub(super) struct KeySet {
    url: Arc<str>,
    addresses: Option<AddressFilter>,
    shown: String,
    tools: Arc<Tools>,
    current: ArcSwapOption<Current>,
    tried: AtomicBool,
    state: Mutex<State>,
    users: Mutex<Vec<Weak<KeySetUrl>>>,
}

/// Keys that serve.
struct Current {
    ring: Arc<KeyRing>,
    generation: u64,
    /// When they were fetched: this long before `since`.
    age: Duration,
    since: Instant,
    /// From the disk, not yet confirmed by a fetch.
    restored: bool,
}

impl Current {
    fn age(&self) -> Duration {
        self.age.saturating_add(self.since.elapsed())
    }
}

impl KeySet {
    /// Nothing is fetched yet; what the disk holds is at hand.
    pub(super) fn new(settings: &KeySetUrl, tools: Arc<Tools>) -> Self {
        let url: Arc<str> = settings.url.as_str().into();
        let restored = tools.store.as_ref().and_then(|store| store.load(&url));
        let current = restored.map(|(ring, age)| {
            Arc::new(Current {
                ring: Arc::new(ring),
                generation: tools.next_generation(),
                age,
                since: Instant::now(),
                restored: true,
            })
        });
        Self {
            shown: fetcher::shown(&url),
            url,
            addresses: settings.addresses.clone(),
            tools,
            current: ArcSwapOption::new(current),
            tried: AtomicBool::new(false),
            state: Mutex::new(State::new()),
            users: Mutex::new(Vec::new()),
        }
    }

    /// Finds a key, without waiting and without a lock. `NoKeys`: no set at hand, or one older than
    /// `max_stale`.
    pub(super) fn find(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
        max_stale: Duration,
    ) -> Result<Arc<PublicKey>, TokenError> {
        match &*self.current.load() {
            Some(current) if current.age() <= max_stale => {
                current.ring.select(kid, algorithm).cloned()
            }
            _ => Err(TokenError::NoKeys),
        }
    }

    /// The generation of the keys that serve. `None`: no set at hand, or one older than
    /// `max_stale`.
    pub(super) fn generation(&self, max_stale: Duration) -> Option<u64> {
        let current = self.current.load();
        let current = current.as_ref()?;
        (current.age() <= max_stale).then_some(current.generation)
    }

    /// Whether what serves came out of the first fetch or a later one; or the first fetch has
    /// failed, and there is nothing better.
    pub(super) fn is_settled(&self) -> bool {
        self.is_tried()
            || self
                .current
                .load()
                .as_ref()
                .is_some_and(|current| !current.restored)
    }

    /// Whether a fetch has ended, with whatever result.
    pub(super) fn is_tried(&self) -> bool {
        self.tried.load(Ordering::Acquire)
    }

    /// Puts fetched keys in service, and on the disk.
    fn replace(self: &Arc<Self>, ring: KeyRing, now: Instant) {
        let before = self.current.load_full();
        let same = before.as_ref().filter(|before| *before.ring == ring);
        if same.is_none() {
            let before = before
                .as_ref()
                .map(|before| before.ring.kids())
                .unwrap_or_default();
            log::info!(
                "key set {}: keys {:?}, before {before:?}",
                self.shown,
                ring.kids()
            );
        }
        self.current.store(Some(Arc::new(Current {
            generation: same.map_or_else(|| self.tools.next_generation(), |same| same.generation),
            ring: Arc::new(ring),
            age: Duration::ZERO,
            since: now,
            restored: false,
        })));
        let set = self.clone();
        if self.tools.store.is_some() {
            Handle::current().spawn_blocking(move || {
                if let (Some(store), Some(current)) = (&set.tools.store, set.current.load_full()) {
                    store.save(&set.url, &current.ring, current.age());
                }
            });
        }
    }

    /// How the set stands.
    pub(super) fn status(&self) -> KeySetStatus {
        let current = self.current.load_full();
        let state = self.state();
        KeySetStatus {
            url: self.shown.clone(),
            age: current.as_ref().map(|current| current.age()),
            keys: current.as_ref().map_or(0, |current| current.ring.len()),
            last_error: state.last_error.clone(),
            generation: current.as_ref().map_or(0, |current| current.generation),
            fetches: state.fetches,
        }
    }

    /// Remembers who uses the set, for as long as the settings live.
    pub(super) fn add_user(&self, settings: &Arc<KeySetUrl>) {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        users.retain(|user| user.strong_count() > 0);
        users.push(Arc::downgrade(settings));
    }

    /// Whether anybody uses it.
    pub(super) fn is_used(&self) -> bool {
        !self.users().is_empty()
    }

    fn users(&self) -> Vec<Arc<KeySetUrl>> {
        let users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        users.iter().filter_map(Weak::upgrade).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tools {
    fn next_generation(&self) -> u64 {
        self.generations.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet")
            .field("url", &self.shown)
            .finish_non_exhaustive()
    }
}
