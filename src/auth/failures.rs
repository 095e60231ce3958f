//! Wrong passwords and API keys, counted by step and client address, so that nobody gets to try
//! many.
//!
//! A window of a minute has as many permits as failures are allowed. An attempt takes a permit
//! and gives it back, unless it fails. When none is left, the window is closed until
//! the minute is over. So attempts that come at the same time cannot slip past the count, and those
//! that turn out right do not use it up.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::outcome::{Reason, Refusal};
use crate::common::{client_network, retry_after};

/// How long failures count.
const WINDOW: Duration = Duration::from_secs(60);
/// Attempts of one window that may wait for a permit.
const MAX_WAITING: usize = 32;
/// Windows kept at most; the one that was used least recently goes first.
const MAX_WINDOWS: u64 = 50_000;

/// Whose failures count together, and how many of them are allowed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct FailureLimit {
    step: Arc<str>,
    /// `None`: of all clients whose address is not known.
    client: Option<IpAddr>,
    /// 0: no limit.
    max: u32,
}

impl FailureLimit {
    /// Clients whose address is not known share one. So do those of one IPv6 network of 64 bits,
    /// since a single client has all of its addresses.
    pub(super) fn new(step: &Arc<str>, max: u32, client: Option<IpAddr>) -> Self {
        Self {
            step: step.clone(),
            client: client.map(client_network),
            max,
        }
    }

    /// Whose failures count; `None`: those of all whose address is not known.
    pub(super) fn client(&self) -> Option<IpAddr> {
        self.client
    }

    /// The same on every node.
    fn name(&self) -> String {
        let client = self.client.map(|client| client.to_string());
        format!("{} {}", self.step, client.unwrap_or_default())
    }

    /// Whether any number of failures is allowed.
    pub(super) fn is_none(&self) -> bool {
        self.max == 0
    }
}

/// A store in which several nodes count failures together.
#[async_trait]
pub trait SharedFailures: fmt::Debug + Send + Sync {
    /// Counts a failure under a name that is the same on every node. How many there were in a
    /// period that began with the first one; `None`: there is no answer.
    async fn count(&self, of: &[u8], period: Duration) -> Option<u32>;
}

/// The windows of the process.
pub(super) struct Failures {
    windows: Cache<FailureLimit, Arc<Window>>,
    period: Duration,
    store: OnceLock<Arc<dyn SharedFailures>>,
}

struct Window {
    until: Instant,
    permits: Arc<Semaphore>,
    /// Bounds the attempts that have a permit or wait for one.
    queue_permits: Arc<Semaphore>,
    failures: AtomicU32,
}

/// Where other nodes count, too, and for how long.
type SharedWindow = (Arc<dyn SharedFailures>, Duration);

impl Failures {
    /// Without any window yet.
    pub(super) fn new() -> Self {
        Self::of(WINDOW)
    }

    fn of(period: Duration) -> Self {
        Self {
            windows: Cache::builder()
                .max_capacity(MAX_WINDOWS)
                .eviction_policy(EvictionPolicy::lru())
                .time_to_live(period)
                .build(),
            period,
            store: OnceLock::new(),
        }
    }

    /// Counts failures together with other nodes from now on: a window closes when they reach its
    /// number together. Other nodes' count is known after the next failure here.
    pub(super) fn share(&self, store: Arc<dyn SharedFailures>) {
        // There is one for the life of the process.
        let _ = self.store.set(store);
    }

    /// Takes a permit; waits for one if the attempts under way may yet give one back, unless too
    /// many wait.
    pub(super) async fn attempt(&self, limit: &FailureLimit) -> Result<Attempt, Refusal> {
        if limit.is_none() {
            return Ok(Attempt::uncounted());
        }
        let window = self.window(limit);
        if window.permits.is_closed() {
            return Err(window.refusal());
        }
        let Ok(queue_permit) = window.queue_permits.clone().try_acquire_owned() else {
            return Err(Refusal::TOO_MANY_ATTEMPTS);
        };
        match window.permits.clone().acquire_owned().await {
            Ok(in_window) => Ok(Attempt(Some(Permit {
                window,
                in_window,
                _queue_permit: Some(queue_permit),
                limit: limit.clone(),
                shared: self.shared(),
            }))),
            Err(_) => Err(window.refusal()),
        }
    }

    /// The same for what takes no time: if no permit is left, those who have them fail in this very
    /// moment.
    pub(super) fn try_attempt(&self, limit: &FailureLimit) -> Result<Attempt, Refusal> {
        if limit.is_none() {
            return Ok(Attempt::uncounted());
        }
        let window = self.window(limit);
        match window.permits.clone().try_acquire_owned() {
            Ok(in_window) => Ok(Attempt(Some(Permit {
                window,
                in_window,
                _queue_permit: None,
                limit: limit.clone(),
                shared: self.shared(),
            }))),
            Err(_) => Err(window.refusal()),
        }
    }

    /// Whether the window is still open, without taking a permit. Concurrent attempts may exceed
    /// the limit, but none that succeeds is refused because of others.
    pub(super) fn check(&self, limit: &FailureLimit) -> Result<(), Refusal> {
        let window = self.windows.get(limit);
        match window.filter(|window| window.permits.is_closed()) {
            Some(window) => Err(window.refusal()),
            None => Ok(()),
        }
    }

    /// Counts the failure of such an attempt.
    pub(super) fn count(&self, limit: &FailureLimit) {
        if !limit.is_none() {
            self.window(limit).count_failure(limit, self.shared());
        }
    }

    fn shared(&self) -> Option<SharedWindow> {
        Some((self.store.get()?.clone(), self.period))
    }

    fn window(&self, limit: &FailureLimit) -> Arc<Window> {
        self.windows.get_with_by_ref(limit, || {
            let permits = (limit.max as usize).min(Semaphore::MAX_PERMITS - MAX_WAITING);
            Arc::new(Window {
                until: Instant::now() + self.period,
                permits: Arc::new(Semaphore::new(permits)),
                queue_permits: Arc::new(Semaphore::new(permits + MAX_WAITING)),
                failures: AtomicU32::new(0),
            })
        })
    }
}

impl Window {
    fn count_failure(self: &Arc<Self>, limit: &FailureLimit, shared: Option<SharedWindow>) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if failures >= limit.max {
            self.permits.close();
        }
        if let Some((store, period)) = shared {
            let (limit, window) = (limit.clone(), self.clone());
            // Nobody waits for it.
            tokio::spawn(async move {
                let all = store.count(limit.name().as_bytes(), period).await;
                if all.is_some_and(|all| all >= limit.max) {
                    window.permits.close();
                }
            });
        }
    }

    fn refusal(&self) -> Refusal {
        let left = self.until.saturating_duration_since(Instant::now());
        Refusal {
            reason: Reason::TooManyFailures,
            retry_after: Some(retry_after(left)),
        }
    }
}

impl fmt::Debug for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failures").finish_non_exhaustive()
    }
}

/// An attempt under way. Dropped: it does not count.
pub(super) struct Attempt(Option<Permit>);

/// A permit in a window.
struct Permit {
    window: Arc<Window>,
    in_window: OwnedSemaphorePermit,
    _queue_permit: Option<OwnedSemaphorePermit>,
    limit: FailureLimit,
    /// Where others count, too, and for how long.
    shared: Option<SharedWindow>,
}

impl Attempt {
    /// One that takes no permit.
    pub(super) fn uncounted() -> Self {
        Self(None)
    }

    pub(super) fn failed(self) {
        if let Some(permit) = self.0 {
            permit.in_window.forget();
            permit.window.count_failure(&permit.limit, permit.shared);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(max: u32, client: &str) -> FailureLimit {
        FailureLimit::new(&"step".into(), max, Some(client.parse().unwrap()))
    }

    #[tokio::test]
    async fn as_many_as_allowed_and_no_more() {
        let failures = Failures::of(Duration::from_millis(400));
        let one = limit(3, "192.0.2.1");
        for _ in 0..3 {
            failures.attempt(&one).await.unwrap().failed();
            drop(failures.attempt(&limit(3, "192.0.2.2")).await.unwrap());
        }
        let refusal = failures.attempt(&one).await.err().unwrap();
        assert_eq!(refusal.reason, Reason::TooManyFailures);
        assert_eq!(refusal.retry_after, Some(1));
        assert!(failures.attempt(&limit(3, "192.0.2.2")).await.is_ok());
        let elsewhere = FailureLimit::new(&"other".into(), 3, Some("192.0.2.1".parse().unwrap()));
        assert!(failures.attempt(&elsewhere).await.is_ok());
        tokio::time::sleep(Duration::from_millis(450)).await;
        assert!(failures.attempt(&one).await.is_ok());
    }

    #[tokio::test]
    async fn attempts_at_the_same_time_do_not_slip_past() {
        let failures = Failures::new();
        let one = limit(2, "192.0.2.1");
        let first = failures.attempt(&one).await.unwrap();
        let second = failures.attempt(&one).await.unwrap();
        let waiting = failures.attempt(&one);
        tokio::pin!(waiting);
        assert!(
            tokio::time::timeout(Duration::from_millis(20), &mut waiting)
                .await
                .is_err()
        );
        first.failed();
        drop(second);
        let third = waiting.await.unwrap();
        let waiting = failures.attempt(&one);
        tokio::pin!(waiting);
        assert!(
            tokio::time::timeout(Duration::from_millis(20), &mut waiting)
                .await
                .is_err()
        );
        third.failed();
        assert!(waiting.await.is_err());
    }

    #[tokio::test]
    async fn only_so_many_wait() {
        let failures = Failures::new();
        let one = limit(2, "192.0.2.1");
        let first = failures.attempt(&one).await.unwrap();
        let _second = failures.attempt(&one).await.unwrap();
        let mut waiting: Vec<_> = (0..MAX_WAITING)
            .map(|_| Box::pin(failures.attempt(&one)))
            .collect();
        for attempt in &mut waiting {
            assert!(tokio::time::timeout(Duration::ZERO, attempt).await.is_err());
        }
        assert_eq!(
            failures.attempt(&one).await.err(),
            Some(Refusal::TOO_MANY_ATTEMPTS)
        );
        drop(waiting);
        drop(first);
        assert!(failures.attempt(&one).await.is_ok());
    }

    #[test]
    fn what_takes_no_time_waits_for_nobody() {
        let failures = Failures::new();
        let one = limit(2, "192.0.2.1");
        let first = failures.try_attempt(&one).unwrap();
        let second = failures.try_attempt(&one).unwrap();
        assert!(failures.try_attempt(&one).is_err());
        drop(first);
        second.failed();
        failures.try_attempt(&one).unwrap().failed();
        let refusal = failures.try_attempt(&one).err().unwrap();
        assert_eq!(refusal.reason, Reason::TooManyFailures);
        assert!(failures.try_attempt(&limit(0, "192.0.2.1")).is_ok());
    }

    #[test]
    fn what_takes_no_place_is_refused_after_as_many_failures_only() {
        let failures = Failures::new();
        let one = limit(2, "192.0.2.1");
        for _ in 0..10 {
            assert_eq!(failures.check(&one), Ok(()));
        }
        failures.count(&one);
        assert_eq!(failures.check(&one), Ok(()));
        failures.count(&one);
        let refusal = failures.check(&one).err().unwrap();
        assert_eq!(refusal.reason, Reason::TooManyFailures);
        assert_eq!(failures.check(&limit(2, "192.0.2.2")), Ok(()));
    }

    #[tokio::test]
    async fn no_limit() {
        let failures = Failures::new();
        for _ in 0..1000 {
            failures
                .attempt(&limit(0, "192.0.2.1"))
                .await
                .unwrap()
                .failed();
        }
    }

    #[test]
    fn who_counts_as_one() {
        assert_eq!(limit(1, "::ffff:192.0.2.1"), limit(1, "192.0.2.1"));
        assert_eq!(limit(1, "2001:db8::1"), limit(1, "2001:db8::ffff:0:0:1"));
        assert_ne!(limit(1, "2001:db8::1"), limit(1, "2001:db8:0:1::1"));
        assert_ne!(limit(1, "192.0.2.1"), limit(1, "192.0.2.2"));
        let unknown = || FailureLimit::new(&"step".into(), 1, None);
        assert_eq!(unknown(), unknown());
        assert_ne!(limit(1, "::"), unknown(), "no client can be taken for them");
    }

    #[tokio::test]
    async fn the_state_is_bounded() {
        let failures = Failures::new();
        for client in 0..MAX_WINDOWS as u32 * 2 {
            let client = std::net::Ipv4Addr::from_bits(client).to_string();
            drop(failures.attempt(&limit(1, &client)).await.unwrap());
        }
        failures.windows.run_pending_tasks();
        assert!(failures.windows.entry_count() <= MAX_WINDOWS);
        // The latest are those that count.
        let last = std::net::Ipv4Addr::from_bits(MAX_WINDOWS as u32 * 2).to_string();
        failures.attempt(&limit(1, &last)).await.unwrap().failed();
        assert!(failures.attempt(&limit(1, &last)).await.is_err());
    }
}
