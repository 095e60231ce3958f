//! How far a client connection has come with the request at hand, so that one that makes no headway
//! can be ended.
//!
//! What a request costs here: three plain stores and one load. Nothing is decided here; the guard
//! of the listeners looks at it four times a second.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::close_reason::Cut;

/// The time as the guard last saw it: as exact as its rounds are frequent, and a single load.
#[derive(Debug)]
pub struct Clock {
    start: Instant,
    millis: AtomicU64,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            millis: AtomicU64::new(0),
        }
    }
}

impl Clock {
    /// Looks at the real time.
    pub fn turn(&self) {
        let millis = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.millis.store(millis, Ordering::Relaxed);
    }

    /// Lets time pass.
    #[cfg(test)]
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap();
        self.millis.fetch_add(by, Ordering::Relaxed);
    }

    /// Milliseconds since the clock was made.
    pub fn millis(&self) -> u64 {
        self.millis.load(Ordering::Relaxed)
    }
}

/// What a connection is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It is in its TLS handshake, which has a limit of its own.
    Handshake,
    /// It has sent nothing yet.
    Silent,
    /// It is sending its first head.
    FirstHead,
    /// It is sending another head.
    NextHead,
    /// Its request is being served.
    Busy,
    /// It may send another request, or has streams open.
    Idle,
}

/// How long a connection may go without headway.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From the first byte of a head (on a new connection: from the beginning) to its end.
    pub head: Duration,
    /// Between requests.
    pub idle: Duration,
    /// While it takes nothing of what is written to it.
    pub write: Duration,
}

/// A connection that is no great loss. The order is that in which they are given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spare {
    /// It takes its time with a later head.
    SlowHead,
    /// It takes its time with the body of its request, or of every one that is being served.
    StalledBody,
    /// It asks for nothing.
    Idle,
    /// It does not take what it asked for.
    Unread,
}

/// The progress of one connection.
#[derive(Debug)]
pub struct Progress {
    clock: Arc<Clock>,
    /// The phase in the three lowest bits, since when above them.
    state: AtomicU64,
    /// HTTP/2 streams that are being served.
    streams: AtomicU32,
    /// Requests among those being served whose bodies have stalled.
    stalled: AtomicU32,
    /// Since when one has, by the guard's clock.
    stalled_since: AtomicU64,
    /// HTTP/1: whether what comes is of another protocol, such as WebSocket.
    switched: AtomicBool,
    /// Since when a write has been waiting for the client, by the guard's clock, and 1; 0: none is.
    blocked: AtomicU64,
    /// 0, or why it was cut.
    cut: AtomicU8,
    over: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Progress {
    /// Of a connection that was accepted just now.
    pub fn new(clock: Arc<Clock>) -> Self {
        let progress = Self {
            clock,
            state: AtomicU64::new(0),
            streams: AtomicU32::new(0),
            stalled: AtomicU32::new(0),
            stalled_since: AtomicU64::new(0),
            switched: AtomicBool::new(false),
            blocked: AtomicU64::new(0),
            cut: AtomicU8::new(0),
            over: AtomicBool::new(false),
            waker: Mutex::new(None),
        };
        progress.enter(Phase::Silent);
        progress
    }

    /// The phase, and the time since when, by the guard's clock in milliseconds.
    pub fn phase(&self) -> (Phase, u64) {
        taken_apart(self.state.load(Ordering::Relaxed))
    }

    /// The guard's clock, in milliseconds.
    pub fn now(&self) -> u64 {
        self.clock.millis()
    }

    /// The handshake begins.
    pub fn handshakes(&self) {
        self.enter(Phase::Handshake);
    }

    /// The handshake is over: the time for the head begins.
    pub fn shook_hands(&self) {
        self.enter(Phase::Silent);
    }

    /// Bytes have arrived. `of_next`: on a kept connection they begin the next head.
    pub fn bytes_arrived(&self, of_next: bool) {
        match self.phase() {
            // The time began when it was accepted.
            (Phase::Silent, since) => self.store(Phase::FirstHead, since),
            (Phase::Idle, _) if of_next => self.enter(Phase::NextHead),
            _ => {}
        }
    }

    /// HTTP/2: a block of header fields begins.
    pub fn block_begins(&self) {
        if self.phase().0 == Phase::Idle {
            self.enter(Phase::NextHead);
        }
    }

    /// HTTP/2: a block of header fields is there as a whole.
    pub fn block_ends(&self) {
        self.enter(Phase::Idle);
    }

    /// HTTP/1: the head is there as a whole.
    pub fn head_is_complete(&self) {
        self.enter(Phase::Busy);
    }

    /// HTTP/1: a request is over, and the connection is ready for another one.
    pub fn awaits_request(&self) {
        if self.phase().0 == Phase::Busy {
            self.enter(Phase::Idle);
        }
    }

    /// HTTP/1: from now on, what comes is no request of it.
    pub fn switches_protocols(&self) {
        self.switched.store(true, Ordering::Relaxed);
    }

    /// Whether it has.
    pub fn has_switched(&self) -> bool {
        self.switched.load(Ordering::Relaxed)
    }

    /// HTTP/2: a stream is served until the guard is dropped.
    pub(super) fn serve_stream(&self) {
        self.streams.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end_stream(&self) {
        if self.streams.fetch_sub(1, Ordering::Relaxed) == 1 && self.phase().0 == Phase::Idle {
            self.enter(Phase::Idle);
        }
    }

    /// HTTP/2: streams that are being served.
    pub fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed) as usize
    }

    /// The body of a request that is being served does not come on, or does again.
    pub fn body_stalls(&self, stalls: bool) {
        if !stalls {
            self.stalled.fetch_sub(1, Ordering::Relaxed);
        } else if self.stalled.fetch_add(1, Ordering::Relaxed) == 0 {
            self.stalled_since.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Whether nothing is being served but requests whose bodies have stalled.
    fn has_stalled(&self) -> bool {
        let stalled = self.stalled.load(Ordering::Relaxed);
        stalled > 0 && stalled >= self.streams.load(Ordering::Relaxed)
    }

    /// Whether a whole head has come at any time.
    pub fn has_sent_a_head(&self) -> bool {
        self.phase().0 >= Phase::NextHead
    }

    /// A write waits for the client: its buffers are full, and ours.
    pub fn write_waits(&self) {
        if self.blocked.load(Ordering::Relaxed) == 0 {
            self.blocked.store(self.now() + 1, Ordering::Relaxed);
        }
    }

    /// The client has taken something.
    pub fn write_goes_on(&self) {
        self.blocked.store(0, Ordering::Relaxed);
    }

    /// How long the client has taken nothing of what is written to it, in milliseconds; 0: nothing
    /// waits.
    fn blocked_for(&self) -> u128 {
        match self.blocked.load(Ordering::Relaxed) {
            0 => 0,
            since => self.millis_since(since - 1),
        }
    }

    /// In what way a connection that has sent a whole head could be spared, and since when: at a
    /// later head for longer than `slow`, with a stalled body, asking for nothing, or leaving its
    /// answer for longer than `unread`. `None`: it is busy.
    pub fn spare(&self, slow: Duration, unread: Duration) -> Option<(Spare, u64)> {
        match self.phase() {
            (Phase::NextHead, since) if self.millis_since(since) >= slow.as_millis() => {
                Some((Spare::SlowHead, since))
            }
            (Phase::Idle, since) if self.streams.load(Ordering::Relaxed) == 0 => {
                Some((Spare::Idle, since))
            }
            _ if self.has_stalled() => Some((
                Spare::StalledBody,
                self.stalled_since.load(Ordering::Relaxed),
            )),
            _ if self.blocked_for() >= unread.as_millis().max(1) => {
                Some((Spare::Unread, self.blocked.load(Ordering::Relaxed)))
            }
            _ => None,
        }
    }

    fn millis_since(&self, since: u64) -> u128 {
        u128::from(self.clock.millis().saturating_sub(since))
    }

    /// Whether it has made no headway for too long.
    pub fn overdue(&self, limits: &Limits) -> Option<Cut> {
        if self.blocked_for() >= limits.write.as_millis().max(1) {
            return Some(Cut::WriteTimeout);
        }
        let (phase, since) = self.phase();
        let for_millis = self.millis_since(since);
        match phase {
            Phase::Silent | Phase::FirstHead | Phase::NextHead => {
                (for_millis >= limits.head.as_millis()).then_some(Cut::HeadTimeout)
            }
            Phase::Idle if self.streams.load(Ordering::Relaxed) == 0 => {
                (for_millis >= limits.idle.as_millis()).then_some(Cut::Idle)
            }
            Phase::Handshake | Phase::Busy | Phase::Idle => None,
        }
    }

    /// Ends the connection; `false`: it was over already. Whoever serves it sees
    /// [`Progress::was_cut`].
    pub fn cut(&self, why: Cut) -> bool {
        if self.over.swap(true, Ordering::AcqRel) {
            return false;
        }
        self.cut.store(why as u8, Ordering::Release);
        let waker = self.waker().take();
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Why it was cut.
    pub fn was_cut(&self) -> Option<Cut> {
        Cut::of(self.cut.load(Ordering::Acquire))
    }

    /// The connection has ended by itself; `false`: it was cut before.
    pub fn ends(&self) -> bool {
        !self.over.swap(true, Ordering::AcqRel)
    }

    /// Whether it was cut or has ended.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Who is to be woken when it is cut.
    pub fn wakes(&self, waker: &Waker) {
        *self.waker() = Some(waker.clone());
    }

    fn waker(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, phase: Phase) {
        self.store(phase, self.clock.millis());
    }

    fn store(&self, phase: Phase, since: u64) {
        self.state
            .store(since << 3 | phase as u64, Ordering::Relaxed);
    }
}

fn taken_apart(state: u64) -> (Phase, u64) {
    let phase = match state & 7 {
        0 => Phase::Handshake,
        1 => Phase::Silent,
        2 => Phase::FirstHead,
        3 => Phase::NextHead,
        4 => Phase::Busy,
        _ => Phase::Idle,
    };
    (phase, state >> 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        head: Duration::from_secs(10),
        idle: Duration::from_secs(60),
        write: Duration::from_secs(30),
    };

    fn at(progress: &Progress, seconds: u64) -> Option<Cut> {
        progress
            .clock
            .millis
            .store(seconds * 1000, Ordering::Relaxed);
        progress.overdue(&LIMITS)
    }

    #[test]
    fn a_head_has_its_time_however_it_trickles() {
        let progress = Progress::new(Arc::default());
        assert_eq!(at(&progress, 9), None);
        progress.bytes_arrived(true);
        progress.bytes_arrived(true);
        assert_eq!(at(&progress, 10), Some(Cut::HeadTimeout));
        progress.head_is_complete();
        assert!(progress.has_sent_a_head());
        assert_eq!(at(&progress, 1000), None, "a request may take its time");
        progress.awaits_request();
        assert_eq!(at(&progress, 1059), None);
        assert_eq!(at(&progress, 1060), Some(Cut::Idle));
        progress.bytes_arrived(true);
        assert_eq!(at(&progress, 1069), None);
        assert_eq!(at(&progress, 1070), Some(Cut::HeadTimeout));
    }

    #[test]
    fn streams_keep_a_connection_and_an_open_block_does_not() {
        let progress = Progress::new(Arc::default());
        progress.bytes_arrived(false);
        progress.block_ends();
        progress.serve_stream();
        assert_eq!(at(&progress, 500), None);
        progress.block_begins();
        assert_eq!(at(&progress, 510), Some(Cut::HeadTimeout));
        progress.block_ends();
        progress.serve_stream();
        progress.end_stream();
        progress.bytes_arrived(false);
        let spare = || progress.spare(Duration::from_secs(1), Duration::MAX);
        assert_eq!((at(&progress, 900), spare()), (None, None));
        progress.end_stream();
        assert_eq!(spare(), Some((Spare::Idle, 900_000)));
        progress.block_begins();
        assert_eq!((at(&progress, 900), spare()), (None, None));
        assert_eq!(
            (at(&progress, 901), spare()),
            (None, Some((Spare::SlowHead, 900_000)))
        );
        progress.block_ends();
        assert_eq!(at(&progress, 961), Some(Cut::Idle));
    }

    #[test]
    fn it_has_stalled_once_each_of_its_requests_has() {
        let progress = Progress::new(Arc::default());
        let spare = || progress.spare(Duration::from_secs(1), Duration::MAX);
        at(&progress, 3);
        progress.head_is_complete();
        assert_eq!(spare(), None, "HTTP/1, busy");
        progress.body_stalls(true);
        assert_eq!(spare(), Some((Spare::StalledBody, 3_000)));
        progress.body_stalls(false);
        assert_eq!(spare(), None);
        let progress = Progress::new(Arc::default());
        let spare = || progress.spare(Duration::from_secs(1), Duration::MAX);
        progress.block_ends();
        progress.serve_stream();
        progress.serve_stream();
        progress.body_stalls(true);
        assert_eq!(spare(), None, "another stream is served");
        at(&progress, 2);
        progress.body_stalls(true);
        assert_eq!(spare(), Some((Spare::StalledBody, 0)));
        progress.body_stalls(false);
        progress.end_stream();
        assert_eq!(spare(), Some((Spare::StalledBody, 0)));
    }

    #[test]
    fn it_is_cut_once_and_wakes_who_serves_it() {
        let progress = Progress::new(Arc::default());
        assert_eq!((progress.was_cut(), progress.is_over()), (None, false));
        progress.wakes(Waker::noop());
        assert!(progress.cut(Cut::Crowded) && !progress.cut(Cut::Idle) && !progress.ends());
        assert_eq!(progress.was_cut(), Some(Cut::Crowded));
        let ended = Progress::new(Arc::default());
        assert!(ended.ends() && !ended.cut(Cut::Idle));
        assert_eq!(ended.was_cut(), None);
    }
}
