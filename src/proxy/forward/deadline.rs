//! When an exchange with an upstream is overdue.
//!
//! Pingora knows one time-out for every read from an upstream, and registers a timer for each read.
//! We need two: one until the response head, one between bytes. So each connection has a deadline,
//! and a watcher wakes the exchange on it when the head, the next bytes or the whole is overdue.
//! Costs on a request: a few atomic stores, and no descriptor beside the connection's own.

use std::future::poll_fn;
use std::pin::Pin;
use std::ptr::from_ref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// How long an idle connection is kept for the next request.
pub(super) const IDLE: Duration = Duration::from_secs(60);

/// The deadline of one connection.
#[derive(Debug)]
pub(crate) struct Deadline {
    clock: Instant,
    /// Milliseconds since `clock`; 0: none.
    due: AtomicU64,
    /// When the exchange is to be woken, whatever it waits for; 0: not at all.
    wake_at: AtomicU64,
    passed: AtomicBool,
    /// Whether what is waited for is the client's to do, which has deadlines of its own.
    held: AtomicBool,
    /// The task of the exchange.
    task: Mutex<Option<Waker>>,
}

impl Deadline {
    /// Of a connection that is new.
    pub(crate) fn new() -> Self {
        Self {
            clock: Instant::now(),
            due: AtomicU64::new(0),
            wake_at: AtomicU64::new(0),
            passed: AtomicBool::new(false),
            held: AtomicBool::new(false),
            task: Mutex::new(None),
        }
    }

    /// Sets the time at which the exchange ends, or `None` for never.
    pub(crate) fn set(&self, due: Option<Instant>) {
        self.resume();
        let due = due.map_or(0, |due| self.millis(due).max(1));
        self.due.store(due, Ordering::Release);
    }

    /// Wakes the exchange at some time, if it still goes on.
    pub(crate) fn wake_at(&self, at: Instant) {
        self.wake_at
            .store(self.millis(at).max(1), Ordering::Relaxed);
    }

    /// Whether that time is still to come.
    pub(crate) fn is_to_wake(&self) -> bool {
        self.wake_at.load(Ordering::Relaxed) != 0
    }

    /// Another attempt has the connection now.
    pub(crate) fn begin(&self, due: Option<Instant>) {
        // Not while the watcher ends the exchange before.
        let _task = self.task();
        self.passed.store(false, Ordering::Release);
        self.set(due);
    }

    /// The connection is kept for the next request, but not for ever.
    pub(crate) fn rest(&self) {
        self.set(Instant::now().checked_add(IDLE));
    }

    /// The connection is taken for another request; `false`: its time was over just now.
    pub(crate) fn wake(&self) -> bool {
        self.due.swap(0, Ordering::AcqRel) != 0
    }

    /// For how long the connection has been kept since [`Self::rest`].
    pub(crate) fn rested(&self) -> Duration {
        let due = Duration::from_millis(self.due.load(Ordering::Acquire));
        (self.clock.elapsed() + IDLE).saturating_sub(due)
    }

    /// Until [`Self::resume`] or [`Self::set`], the exchange is not ended: a part of the answer is
    /// written to the client, and what is half written cannot be taken back.
    pub(crate) fn suspend(&self) {
        self.held.store(true, Ordering::Relaxed);
    }

    /// The client has taken it.
    pub(crate) fn resume(&self) {
        self.held.store(false, Ordering::Relaxed);
    }

    /// Whether the exchange was ended for being overdue, or the idle connection is to be closed.
    pub(crate) fn passed(&self) -> bool {
        self.passed.load(Ordering::Acquire)
    }

    /// Goes through with an exchange until it is overdue: then it is dropped where it waits, and
    /// `None` returned.
    /// It is pinned where it is made: by value, all of its state would be copied again.
    pub(crate) async fn enforce<F: Future>(&self, mut exchange: Pin<&mut F>) -> Option<F::Output> {
        let _clear = ClearTask(self);
        let mut known = None;
        poll_fn(|context| {
            let waker = context.waker();
            let waker = (waker.data().addr(), from_ref(waker.vtable()).addr());
            if known != Some(waker) {
                // Before the exchange is polled: what passes from now on wakes it.
                *self.task() = Some(context.waker().clone());
                known = Some(waker);
            }
            match exchange.as_mut().poll(context) {
                Poll::Ready(output) => Poll::Ready(Some(output)),
                Poll::Pending if self.passed() && !self.held.load(Ordering::Relaxed) => {
                    Poll::Ready(None)
                }
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.clock).as_millis()).unwrap_or(u64::MAX)
    }

    fn check(&self, now: Instant) {
        let wake_at = self.wake_at.load(Ordering::Relaxed);
        let passed = wake_at != 0 && self.millis(now) >= wake_at;
        // Another exchange may have set another time just now.
        let swap = |wake_at| {
            let relaxed = Ordering::Relaxed;
            self.wake_at.compare_exchange(wake_at, 0, relaxed, relaxed)
        };
        if passed
            && swap(wake_at).is_ok()
            && let Some(waker) = self.task().clone()
        {
            waker.wake();
        }
        let due = self.due.load(Ordering::Acquire);
        if due == 0 || self.millis(now) < due {
            return;
        }
        let task = self.task();
        // What arrived just now has changed `due`: then it was in time.
        let still = self
            .due
            .compare_exchange(due, 0, Ordering::AcqRel, Ordering::Acquire);
        if still.is_ok() {
            self.passed.store(true, Ordering::Release);
            let waker = task.clone();
            drop(task);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    fn task(&self) -> MutexGuard<'_, Option<Waker>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An idle connection keeps no task alive.
struct ClearTask<'a>(&'a Deadline);

impl Drop for ClearTask<'_> {
    fn drop(&mut self) {
        *self.0.task() = None;
    }
}

/// The deadlines of every open connection.
#[derive(Debug, Default)]
pub(crate) struct Deadlines(Mutex<Vec<Weak<Deadline>>>);

impl Deadlines {
    /// Watches another one, for as long as its connection lives.
    pub(crate) fn watch(&self, deadline: &Arc<Deadline>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Arc::downgrade(deadline));
    }

    /// Ends what is overdue.
    pub(crate) fn check(&self) {
        let now = Instant::now();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|deadline| match deadline.upgrade() {
            Some(deadline) => {
                deadline.check(now);
                true
            }
            None => false,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::pin::pin;

    use tokio::time::{sleep, timeout};

    use super::*;

    const SOON: Duration = Duration::from_millis(5);

    fn soon() -> Option<Instant> {
        Instant::now().checked_add(SOON)
    }

    fn watched() -> (Arc<Deadline>, Deadlines) {
        let (deadline, all) = (Arc::new(Deadline::new()), Deadlines::default());
        all.watch(&deadline);
        (deadline, all)
    }

    /// Looks at the deadlines until the exchange has ended, or gives up.
    async fn ends(all: &Deadlines, exchange: impl Future<Output = Option<()>>) -> bool {
        let watching = async {
            loop {
                sleep(SOON).await;
                all.check();
            }
        };
        let ended = async {
            tokio::select! {
                outcome = exchange => outcome.is_none(),
                () = watching => false,
            }
        };
        timeout(Duration::from_millis(200), ended).await == Ok(true)
    }

    #[tokio::test]
    async fn an_exchange_that_is_overdue_is_woken_and_ends_and_no_other() {
        let (deadline, all) = watched();
        assert_eq!(deadline.enforce(pin!(ready(7))).await, Some(7));
        assert!(deadline.task().is_none(), "nobody is kept");
        deadline.begin(None);
        assert!(!ends(&all, deadline.enforce(pin!(pending::<()>()))).await);
        deadline.begin(soon());
        assert!(ends(&all, deadline.enforce(pin!(pending::<()>()))).await);
        assert!(deadline.passed() && deadline.task().is_none());
        deadline.begin(None);
        assert!(!deadline.passed(), "another attempt begins");
    }

    #[tokio::test]
    async fn what_is_written_to_the_client_is_not_broken_off() {
        let (deadline, all) = watched();
        deadline.begin(soon());
        deadline.suspend();
        assert!(!ends(&all, deadline.enforce(pin!(pending::<()>()))).await);
        assert!(
            deadline.passed(),
            "it is known when the client has taken it"
        );
        deadline.resume();
        assert!(ends(&all, deadline.enforce(pin!(pending::<()>()))).await);
    }

    #[tokio::test]
    async fn an_exchange_is_woken_once_at_its_time() {
        let (deadline, all) = watched();
        deadline.begin(None);
        deadline.wake_at(Instant::now() + 2 * SOON);
        all.check();
        assert!(deadline.is_to_wake(), "not yet");
        let mut polls = 0;
        let woken = poll_fn(|_| {
            polls += 1;
            match deadline.is_to_wake() {
                true => Poll::Pending,
                false => Poll::Ready(()),
            }
        });
        let exchange = async { deadline.enforce(pin!(woken)).await };
        let watching = async {
            sleep(4 * SOON).await;
            all.check();
        };
        let both = async { tokio::join!(exchange, watching) };
        let (ended, ()) = timeout(Duration::from_secs(1), both).await.unwrap();
        assert_eq!((ended, polls), (Some(()), 2));
    }

    #[test]
    fn an_idle_connection_is_either_taken_or_closed() {
        let (deadline, all) = watched();
        deadline.rest();
        all.check();
        assert!(!deadline.passed() && deadline.wake() && !deadline.wake());
        deadline.set(soon());
        std::thread::sleep(2 * SOON);
        all.check();
        assert!(deadline.passed() && !deadline.wake());
        drop(deadline);
        all.check();
        assert!(all.0.lock().unwrap().is_empty());
    }
}
