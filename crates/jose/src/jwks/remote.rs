//! What is fetched again and again, a key set or a discovery document: what of it serves now, who
//! uses it, and ([`fetch`]) when it is fetched.

mod fetch;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use serde_json::{Map, Value};
use tokio::runtime::Handle;
use tokio::time::Instant;

use self::fetch::State;
use super::fetcher::{FetchError, Fetcher};
use super::settings::Lifetime;
use super::{FetchStatus, Tools};

pub(super) use fetch::{FetchReason, completed};

/// What of a kind of resource is particular to it.
pub(super) trait Resource: Send + Sync + Sized + 'static {
    /// What is kept of an answer.
    type Content: PartialEq + Send + Sync + 'static;

    /// What a log calls it.
    const KIND: &'static str;
    /// What a failed fetch means while the last good content serves,
    const WHILE_OLD: &'static str;
    /// and while there is none.
    const WHILE_NONE: &'static str;

    /// Which one it is, for a log: a URL without user name, password and query.
    fn shown(&self) -> &str;

    /// Under which name it is kept on the disk.
    fn stored_as(&self) -> String;

    /// What was kept on the disk.
    fn restore(&self, stored: &[u8]) -> Option<Self::Content>;

    /// What is kept on the disk.
    fn to_stored(content: &Self::Content) -> Map<String, Value>;

    /// One fetch. `serving`: the content that it is to replace.
    fn fetch(
        &self,
        fetcher: &Fetcher,
        serving: Option<&Self::Content>,
    ) -> impl Future<Output = Result<Fetched<Self::Content>, FetchError>> + Send;

    /// For the log, when the content changes: what is new, and what was before.
    fn change(before: Option<&Self::Content>, after: &Self::Content) -> String;
}

/// The outcome of a good fetch.
pub(super) struct Fetched<C> {
    pub(super) content: C,
    /// `max-age` of `Cache-Control` (RFC 9111 section 5.2.2.1).
    pub(super) max_age: Option<Duration>,
    /// What of the answer is not used, and why.
    pub(super) refused: Vec<String>,
}

/// A resource behind a URL.
pub(super) struct Remote<R: Resource> {
    pub(super) resource: R,
    tools: Arc<Tools>,
    current: ArcSwapOption<Current<R::Content>>,
    tried: AtomicBool,
    state: Mutex<State>,
    users: Mutex<Vec<Weak<Lifetime>>>,
}

/// Content that serves.
struct Current<C> {
    content: Arc<C>,
    generation: u64,
    /// When it was fetched: this long before `since`.
    age: Duration,
    since: Instant,
    /// From the disk, not yet confirmed by a fetch.
    restored: bool,
}

impl<C> Current<C> {
    fn age(&self) -> Duration {
        self.age.saturating_add(self.since.elapsed())
    }
}

impl<R: Resource> Remote<R> {
    /// Nothing is fetched yet; what the disk holds is at hand.
    pub(super) fn new(resource: R, tools: Arc<Tools>) -> Self {
        let restored = tools.store.as_ref().and_then(|store| {
            let (text, age) = store.load(&resource.stored_as())?;
            Some((resource.restore(&text)?, age))
        });
        let current = restored.map(|(content, age)| {
            Arc::new(Current {
                content: Arc::new(content),
                generation: tools.next_generation(),
                age,
                since: Instant::now(),
                restored: true,
            })
        });
        Self {
            resource,
            tools,
            current: ArcSwapOption::new(current),
            tried: AtomicBool::new(false),
            state: Mutex::new(State::new()),
            users: Mutex::new(Vec::new()),
        }
    }

    /// Looks at what serves, without waiting and without a lock. `None`: nothing does, or it is
    /// older than `max_stale`.
    pub(super) fn with<T>(
        &self,
        max_stale: Duration,
        look: impl FnOnce(&Arc<R::Content>) -> T,
    ) -> Option<T> {
        let current = self.current.load();
        let current = current.as_ref()?;
        (current.age() <= max_stale).then(|| look(&current.content))
    }

    /// The generation of what serves. `None`: nothing does, or it is older than `max_stale`.
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

    /// Puts fetched content in service, and on the disk.
    fn replace(self: &Arc<Self>, content: R::Content, now: Instant) {
        let before = self.current.load_full();
        let same = before.as_ref().filter(|before| *before.content == content);
        if same.is_none() {
            let change = R::change(before.as_ref().map(|before| &*before.content), &content);
            log::info!("{} {}: {change}", R::KIND, self.resource.shown());
        }
        self.current.store(Some(Arc::new(Current {
            generation: same.map_or_else(|| self.tools.next_generation(), |same| same.generation),
            content: Arc::new(content),
            age: Duration::ZERO,
            since: now,
            restored: false,
        })));
        let remote = self.clone();
        if self.tools.store.is_some() {
            Handle::current().spawn_blocking(move || {
                if let (Some(store), Some(current)) =
                    (&remote.tools.store, remote.current.load_full())
                {
                    store.save(
                        &remote.resource.stored_as(),
                        R::to_stored(&current.content),
                        current.age(),
                    );
                }
            });
        }
    }

    /// How it stands, and what serves, however old.
    pub(super) fn status(&self) -> (FetchStatus, Option<Arc<R::Content>>) {
        let current = self.current.load_full();
        let state = self.state();
        let status = FetchStatus {
            age: current.as_ref().map(|current| current.age()),
            generation: current.as_ref().map_or(0, |current| current.generation),
            last_error: state.last_error.clone(),
            fetches: state.fetches,
        };
        (status, current.map(|current| current.content.clone()))
    }

    /// Remembers who uses it, for as long as the settings live.
    pub(super) fn add_user(&self, lifetime: &Arc<Lifetime>) {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        users.retain(|user| user.strong_count() > 0);
        users.push(Arc::downgrade(lifetime));
    }

    /// Whether anybody uses it.
    pub(super) fn is_used(&self) -> bool {
        !self.users().is_empty()
    }

    /// How long its content may serve for any of its users.
    pub(super) fn max_stale(&self) -> Duration {
        let users = self.users();
        let longest = users.iter().map(|user| user.max_stale).max();
        longest.unwrap_or_default()
    }

    fn users(&self) -> Vec<Arc<Lifetime>> {
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

impl<R: Resource> fmt::Debug for Remote<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple(R::KIND)
            .field(&self.resource.shown())
            .finish()
    }
}
