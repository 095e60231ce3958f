//! When a connection to an upstream is overdue.
//!
//! Pingora knows one time-out for every read from an upstream, and registers a timer for each read.
//! We need two: one until the response head, one between bytes. So each connection keeps a second
//! handle of its socket, and a watcher shuts the socket down when the head, the next bytes or the
//! whole exchange is overdue. Costs on a request: a few atomic stores.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How long an idle connection is kept for the next request.
const IDLE: Duration = Duration::from_secs(60);

/// The deadline of one connection.
#[derive(Debug)]
pub(super) struct Deadline {
    socket: socket2::Socket,
    clock: Instant,
    /// Milliseconds since `clock`; 0: none.
    due: AtomicU64,
    /// Milliseconds between bytes; 0: `due` stands whatever arrives.
    pause: AtomicU64,
    passed: AtomicBool,
}

impl Deadline {
    /// Of a connection that is new. Takes a second handle of its socket.
    pub(super) fn new(socket: socket2::Socket) -> Self {
        Self {
            socket,
            clock: Instant::now(),
            due: AtomicU64::new(0),
            pause: AtomicU64::new(0),
            passed: AtomicBool::new(false),
        }
    }

    /// Sets the time at which the connection is cut, or `None` for never.
    pub(super) fn set(&self, due: Option<Instant>) {
        self.pause.store(0, Ordering::Relaxed);
        let due = due.map_or(0, |due| self.millis(due).max(1));
        self.due.store(due, Ordering::Release);
    }

    /// Another attempt has the connection now.
    pub(super) fn begin(&self, due: Option<Instant>) {
        self.passed.store(false, Ordering::Release);
        self.set(due);
    }

    /// The answer is over; the connection is kept for the next request, but not for ever.
    pub(super) fn rest(&self) {
        self.set(Instant::now().checked_add(IDLE));
    }

    /// The connection is taken for another request; `false`: its time was over just now.
    pub(super) fn wake(&self) -> bool {
        self.due.swap(0, Ordering::AcqRel) != 0
    }

    /// Bytes have arrived, and the next ones may take this long.
    pub(super) fn set_pause(&self, pause: Duration, total: Option<Instant>) {
        let next = Instant::now().checked_add(pause);
        self.set([next, total].into_iter().flatten().min());
        let pause = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        self.pause.store(pause, Ordering::Relaxed);
    }

    /// Whether the connection was cut for being overdue.
    pub(super) fn passed(&self) -> bool {
        self.passed.load(Ordering::Acquire)
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.clock).as_millis()).unwrap_or(u64::MAX)
    }

    fn has_unread(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        matches!(self.socket.peek(&mut byte), Ok(1..))
    }

    fn check(&self, now: Instant) {
        let due = self.due.load(Ordering::Acquire);
        if due == 0 || self.millis(now) < due {
            return;
        }
        // Bytes that nobody has read yet: it is the client that is slow, not the upstream.
        let next = match self.pause.load(Ordering::Relaxed) {
            pause @ 1.. if self.has_unread() => due.saturating_add(pause),
            _ => 0,
        };
        // What arrived just now has changed `due`: then it was in time.
        let still = self
            .due
            .compare_exchange(due, next, Ordering::AcqRel, Ordering::Acquire);
        if still.is_ok() && next == 0 {
            self.passed.store(true, Ordering::Release);
            if let Err(error) = self.socket.shutdown(std::net::Shutdown::Both) {
                log::debug!("upstream connection was gone before it was cut: {error}");
            }
        }
    }
}

/// The deadlines of every open connection.
#[derive(Debug, Default)]
pub(super) struct Deadlines(Mutex<Vec<Weak<Deadline>>>);

impl Deadlines {
    /// Watches another one, for as long as its connection lives.
    pub(super) fn watch(&self, deadline: &Arc<Deadline>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Arc::downgrade(deadline));
    }

    /// Cuts what is overdue.
    pub(super) fn check(&self) {
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
