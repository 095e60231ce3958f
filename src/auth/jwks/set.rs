//! One key set: the keys that serve now, and the fetch that may be under way for it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use super::fetch::{self, FetchError, Fetched};
use super::{KeySetStatus, Tools};
use crate::auth::key::{KeyRing, RsaKey};
use crate::auth::outcome::Reason;
use crate::config::JwksUrl;

/// A `Cache-Control: max-age` below this counts as this.
const LEAST_FRESH: Duration = Duration::from_secs(60);
/// Retries after failed fetches wait from this,
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// doubling, up to this.
const LAST_RETRY: Duration = Duration::from_secs(60);

/// A fetch under way. It is over when its other end is gone.
pub(super) type Flight = watch::Receiver<()>;

/// What a fetch is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The schedule, or somebody's order.
    Scheduled,
    /// An unknown `kid`: at most once in this time.
    UnknownKid(Duration),
}

/// The key set behind one URL.
pub(super) struct KeySet {
    url: Arc<str>,
    shown: String,
    tools: Arc<Tools>,
    current: ArcSwapOption<Current>,
    tried: AtomicBool,
    state: Mutex<State>,
    users: Mutex<Vec<Weak<JwksUrl>>>,
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
        self.age + self.since.elapsed()
    }
}

struct State {
    flight: Option<Flight>,
    next: Next,
    cooling_since: Option<Instant>,
    failures: u32,
    fetches: (u64, u64),
    last_error: Option<String>,
    health: Health,
    refused: Vec<String>,
}

/// When the next fetch is due.
#[derive(Clone, Copy)]
enum Next {
    At(Instant),
    /// After 80 % of the time for which the set is fresh.
    Aging {
        since: Instant,
        max_age: Option<Duration>,
    },
}

/// What the log was last told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Good,
    ServingOld,
    NoKeys,
}

impl KeySet {
    /// Nothing is fetched yet; what the disk holds is at hand.
    pub(super) fn new(url: Arc<str>, tools: Arc<Tools>) -> Self {
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
            shown: fetch::shown(&url),
            url,
            tools,
            current: ArcSwapOption::new(current),
            tried: AtomicBool::new(false),
            state: Mutex::new(State {
                flight: None,
                next: Next::At(Instant::now()),
                cooling_since: None,
                failures: 0,
                fetches: (0, 0),
                last_error: None,
                health: Health::Good,
                refused: Vec::new(),
            }),
            users: Mutex::new(Vec::new()),
        }
    }

    /// Finds a key, without waiting and without a lock. `NoKeys`: no set at hand, or one older than `max_stale`.
    pub(super) fn find(
        &self,
        kid: Option<&str>,
        max_stale: Duration,
    ) -> Result<Arc<RsaKey>, Reason> {
        match &*self.current.load() {
            Some(current) if current.age() <= max_stale => current.ring.select(kid).cloned(),
            _ => Err(Reason::NoKeys),
        }
    }

    /// Whether what serves came out of the first fetch or a later one; or the first fetch has failed, and there is nothing better.
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

    /// The fetch that is under way.
    pub(super) fn flight(&self) -> Option<Flight> {
        self.state().flight().cloned()
    }

    /// When the next fetch is due.
    pub(super) fn due(&self) -> Instant {
        match self.state().next {
            Next::At(due) => due,
            Next::Aging { since, max_age } => since + self.fresh(max_age) * 4 / 5,
        }
    }

    /// In how many seconds the next fetch is due, for `Retry-After`.
    pub(super) fn retry_after(&self) -> u32 {
        let flying = self.flight().is_some();
        let wait = if flying {
            FIRST_RETRY
        } else {
            self.due().saturating_duration_since(Instant::now())
        };
        u32::try_from(wait.as_secs() + 1)
            .unwrap_or(u32::MAX)
            .min(60)
    }

    /// Begins a fetch, or joins the one under way. `None`: not so soon after the last one for an unknown `kid`. The fetch goes on whoever stops waiting for it.
    pub(super) fn take_off(self: &Arc<Self>, purpose: Purpose) -> Option<Flight> {
        let now = Instant::now();
        let mut state = self.state();
        if let Some(flight) = state.flight() {
            return Some(flight.clone());
        }
        if let Purpose::UnknownKid(cooldown) = purpose {
            if state
                .cooling_since
                .is_some_and(|since| now.duration_since(since) < cooldown)
            {
                return None;
            }
            state.cooling_since = Some(now);
        }
        let (landing, flight) = watch::channel(());
        state.flight = Some(flight.clone());
        // Landing sets the time; this one holds only if the fetch is lost with its runtime.
        state.next = Next::At(now + LAST_RETRY);
        drop(state);
        let set = self.clone();
        let fetch = async move {
            let result = set.tools.fetcher.fetch(&set.url).await;
            set.land(result, purpose);
            drop(landing);
            set.tools.changes.send_replace(());
        };
        match self.tools.runtime.get() {
            Some(runtime) => drop(runtime.spawn(fetch)),
            None => drop(tokio::spawn(fetch)),
        }
        Some(flight)
    }

    fn land(self: &Arc<Self>, result: Result<Fetched, FetchError>, purpose: Purpose) {
        let now = Instant::now();
        let mut state = self.state();
        state.fetches.0 += 1;
        if matches!(purpose, Purpose::UnknownKid(_)) {
            state.cooling_since = Some(now);
        }
        match result {
            Ok(fetched) => {
                state.next = Next::Aging {
                    since: now,
                    max_age: fetched.max_age,
                };
                state.failures = 0;
                state.last_error = None;
                let refused: Vec<_> = fetched
                    .set
                    .refused
                    .iter()
                    .map(|(key, refusal)| {
                        format!("key {key} of {} is not used: {refusal}", self.shown)
                    })
                    .collect();
                if state.refused != refused {
                    refused.iter().for_each(|refusal| log::warn!("{refusal}"));
                    state.refused = refused;
                }
                if state.health != Health::Good {
                    state.health = Health::Good;
                    log::warn!("key set {}: fetched again", self.shown);
                }
                self.replace(fetched.set.ring, now);
            }
            Err(error) => {
                let delay = FIRST_RETRY.saturating_mul(1 << state.failures.min(6));
                let jitter = 0.75 + fastrand::f64() / 2.0;
                state.next = Next::At(now + delay.mul_f64(jitter).clamp(FIRST_RETRY, LAST_RETRY));
                state.failures += 1;
                state.fetches.1 += 1;
                self.report(&mut state, &error);
                state.last_error = Some(error.to_string());
            }
        }
        self.tried.store(true, Ordering::Release);
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

    /// Logs a failed fetch: a warning when it changes what requests get.
    fn report(&self, state: &mut State, error: &FetchError) {
        let max_stale = self
            .users()
            .iter()
            .map(|user| user.max_stale)
            .max()
            .unwrap_or_default();
        let (health, meaning) = match &*self.current.load() {
            Some(current) if current.age() <= max_stale => {
                (Health::ServingOld, "the last good keys go on serving")
            }
            _ => (
                Health::NoKeys,
                "there are no keys, and tokens are answered 503",
            ),
        };
        if state.health == health {
            log::debug!("key set {}: {error}; {meaning}", self.shown);
        } else {
            state.health = health;
            log::warn!(
                "key set {} cannot be fetched: {error}; {meaning}",
                self.shown
            );
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
    pub(super) fn add_user(&self, settings: &Arc<JwksUrl>) {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        users.retain(|user| user.strong_count() > 0);
        users.push(Arc::downgrade(settings));
    }

    /// Whether anybody uses it.
    pub(super) fn is_used(&self) -> bool {
        !self.users().is_empty()
    }

    fn users(&self) -> Vec<Arc<JwksUrl>> {
        let users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        users.iter().filter_map(Weak::upgrade).collect()
    }

    /// How long a set is fresh: what the configuration says (the shortest, if several steps do), or a shorter `max-age`.
    fn fresh(&self, max_age: Option<Duration>) -> Duration {
        let configured = self
            .users()
            .iter()
            .map(|user| user.fresh)
            .min()
            .unwrap_or(LAST_RETRY);
        max_age.map_or(configured, |max_age| {
            configured.min(max_age.max(LEAST_FRESH))
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn flight(&self) -> Option<&Flight> {
        self.flight
            .as_ref()
            .filter(|flight| flight.has_changed().is_ok())
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

/// Waits until a fetch is over.
pub(super) async fn landed(mut flight: Flight) {
    while flight.changed().await.is_ok() {}
}
