//! When a resource is fetched, and what comes of it. At most one fetch of it is under way at any
//! time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{Fetched, Remote, Resource};
use crate::jwks::fetcher::FetchError;

/// A `Cache-Control: max-age` below this counts as this.
const LEAST_FRESH: Duration = Duration::from_secs(60);
/// However long the configuration says.
const MOST_FRESH: Duration = Duration::from_secs(365 * 86_400);
/// Retries after failed fetches wait from this,
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// doubling, up to this.
const LAST_RETRY: Duration = Duration::from_secs(60);

/// A fetch under way. It is over when its other end is gone.
pub(in super::super) type FetchHandle = watch::Receiver<()>;

/// Why something is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum FetchReason {
    /// The schedule, or somebody's order.
    Scheduled,
    /// An unknown `kid`: at most once in this time.
    UnknownKid(Duration),
}

/// What happened to the fetches of a resource.
pub(super) struct State {
    handle: Option<FetchHandle>,
    next: Next,
    cooling_since: Option<Instant>,
    failures: u32,
    pub(super) fetches: (u64, u64),
    pub(super) last_error: Option<String>,
    timed_out: bool,
    health: Health,
    refused: Vec<String>,
}

/// When the next fetch is due.
#[derive(Clone, Copy)]
enum Next {
    At(Instant),
    /// After 80 % of the time for which it is fresh.
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
    Nothing,
}

impl<R: Resource> Remote<R> {
    /// The fetch that is under way.
    pub(in super::super) fn fetch_in_progress(&self) -> Option<FetchHandle> {
        self.state().fetch_in_progress().cloned()
    }

    /// Whether the last fetch got no answer in time.
    pub(in super::super) fn timed_out(&self) -> bool {
        self.state().timed_out
    }

    /// When the next fetch is due.
    pub(in super::super) fn due(&self) -> Instant {
        match self.state().next {
            Next::At(due) => due,
            Next::Aging { since, max_age } => since + self.fresh(max_age) / 5 * 4,
        }
    }

    /// In how many seconds the next fetch is due, for `Retry-After`.
    pub(in super::super) fn retry_after(&self) -> u32 {
        let fetching = self.fetch_in_progress().is_some();
        let wait = if fetching {
            FIRST_RETRY
        } else {
            self.due().saturating_duration_since(Instant::now())
        };
        u32::try_from(wait.as_secs() + 1)
            .unwrap_or(u32::MAX)
            .min(60)
    }

    /// Begins a fetch, or joins the one under way. `None`: not so soon after the last one for an
    /// unknown `kid`. The fetch goes on whoever stops waiting for it.
    pub(in super::super) fn start_fetch(
        self: &Arc<Self>,
        reason: FetchReason,
    ) -> Option<FetchHandle> {
        let now = Instant::now();
        let mut state = self.state();
        if let Some(handle) = state.fetch_in_progress() {
            return Some(handle.clone());
        }
        if let FetchReason::UnknownKid(cooldown) = reason {
            if state
                .cooling_since
                .is_some_and(|since| now.duration_since(since) < cooldown)
            {
                return None;
            }
            state.cooling_since = Some(now);
        }
        let (done, handle) = watch::channel(());
        state.handle = Some(handle.clone());
        // Completion sets the time; this one holds only if the fetch is lost with its runtime.
        state.next = Next::At(now + LAST_RETRY);
        drop(state);
        let remote = self.clone();
        let fetch = async move {
            let serving = remote.current.load_full();
            let serving = serving.as_ref().map(|current| &*current.content);
            let fetcher = &remote.tools.fetcher;
            let result = remote.resource.fetch(fetcher, serving).await;
            remote.complete_fetch(result, reason);
            drop(done);
            remote.tools.changes.send_replace(());
        };
        match self.tools.runtime.get() {
            Some(runtime) => drop(runtime.spawn(fetch)),
            None => drop(tokio::spawn(fetch)),
        }
        Some(handle)
    }

    fn complete_fetch(
        self: &Arc<Self>,
        result: Result<Fetched<R::Content>, FetchError>,
        reason: FetchReason,
    ) {
        let now = Instant::now();
        let mut state = self.state();
        state.fetches.0 += 1;
        if matches!(reason, FetchReason::UnknownKid(_)) {
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
                state.timed_out = false;
                if state.refused != fetched.refused {
                    fetched
                        .refused
                        .iter()
                        .for_each(|refusal| log::warn!("{refusal}"));
                    state.refused = fetched.refused;
                }
                if state.health != Health::Good {
                    state.health = Health::Good;
                    log::info!("{} {}: fetched again", R::KIND, self.resource.shown());
                }
                self.replace(fetched.content, now);
            }
            Err(error) => {
                let delay = FIRST_RETRY.saturating_mul(1 << state.failures.min(6));
                let jitter = 0.75 + fastrand::f64() / 2.0;
                state.next = Next::At(now + delay.mul_f64(jitter).clamp(FIRST_RETRY, LAST_RETRY));
                state.failures += 1;
                state.fetches.1 += 1;
                self.report(&mut state, &error);
                state.last_error = Some(error.to_string());
                state.timed_out = matches!(error, FetchError::TimedOut);
            }
        }
        self.tried.store(true, Ordering::Release);
    }

    /// Logs a failed fetch: a warning when it changes what requests get.
    fn report(&self, state: &mut State, error: &FetchError) {
        let (health, meaning) = match self.generation(self.max_stale()) {
            Some(_) => (Health::ServingOld, R::WHILE_OLD),
            None => (Health::Nothing, R::WHILE_NONE),
        };
        let (kind, shown) = (R::KIND, self.resource.shown());
        if state.health == health {
            log::debug!("{kind} {shown}: {error}; {meaning}");
        } else {
            state.health = health;
            log::warn!("{kind} {shown} cannot be fetched: {error}; {meaning}");
        }
    }

    /// How long it is fresh: what the configuration says (the shortest, if several steps do), or
    /// a shorter `max-age`.
    fn fresh(&self, max_age: Option<Duration>) -> Duration {
        let configured = self
            .users()
            .iter()
            .map(|user| user.fresh)
            .min()
            .unwrap_or(LAST_RETRY)
            .min(MOST_FRESH);
        max_age.map_or(configured, |max_age| {
            configured.min(max_age.max(LEAST_FRESH))
        })
    }
}

impl State {
    /// The first fetch is due at once.
    pub(super) fn new() -> Self {
        Self {
            handle: None,
            next: Next::At(Instant::now()),
            cooling_since: None,
            failures: 0,
            fetches: (0, 0),
            last_error: None,
            timed_out: false,
            health: Health::Good,
            refused: Vec::new(),
        }
    }

    fn fetch_in_progress(&self) -> Option<&FetchHandle> {
        self.handle
            .as_ref()
            .filter(|handle| handle.has_changed().is_ok())
    }
}

/// Waits until a fetch is over.
pub(in super::super) async fn completed(mut handle: FetchHandle) {
    while handle.changed().await.is_ok() {}
}
