//! How far a client connection has come with the request at hand, so that one that makes no headway can be ended.
//!
//! What a request costs here: three plain stores and one load. Nothing is decided here; the guard of the listeners looks at it four times a second.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

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

/// Why a connection was ended from outside of its own doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Cut {
    /// The head did not arrive whole in time.
    HeadTimeout = 1,
    /// It was kept, and nothing came any more.
    Idle,
    /// The listener was full, and it had not sent a whole head.
    Crowded,
    /// The listener was full of connections that had; it was the one that had been idle for longest.
    CrowdedIdle,
    /// It reset streams as fast as it opened them.
    Resets,
    /// The client left in the middle of a head.
    Gone,
}

impl Cut {
    /// Stable label for metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::HeadTimeout => "head_timeout",
            Self::Idle => "idle",
            Self::Crowded => "crowded",
            Self::CrowdedIdle => "crowded_idle",
            Self::Resets => "resets",
            Self::Gone => "gone",
        }
    }

    fn of(value: u8) -> Option<Self> {
        [
            Self::HeadTimeout,
            Self::Idle,
            Self::Crowded,
            Self::CrowdedIdle,
            Self::Resets,
            Self::Gone,
        ]
        .into_iter()
        .find(|cut| *cut as u8 == value)
    }
}

/// The progress of one connection.
#[derive(Debug)]
pub struct Progress {
    clock: Arc<Clock>,
    /// The phase in the three lowest bits, since when above them.
    state: AtomicU64,
    /// HTTP/2 streams that are being served.
    streams: AtomicU32,
    /// HTTP/1: the length of the body of the request at hand.
    body: AtomicU64,
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
            body: AtomicU64::new(0),
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

    /// HTTP/1: the request has a body of so many bytes.
    pub fn has_body(&self, bytes: u64) {
        self.body.store(bytes, Ordering::Relaxed);
    }

    /// HTTP/1: a request is over, and the connection is ready for another one. Returns what [`Self::has_body`] said of it, or 0.
    pub fn awaits_request(&self) -> u64 {
        if self.phase().0 == Phase::Busy {
            self.enter(Phase::Idle);
        }
        match self.body.load(Ordering::Relaxed) {
            0 => 0,
            bytes => {
                self.body.store(0, Ordering::Relaxed);
                bytes
            }
        }
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

    /// Whether a whole head has come at any time.
    pub fn has_sent_a_head(&self) -> bool {
        self.phase().0 >= Phase::NextHead
    }

    /// Since when a kept connection could be spared: first those that are at a later head for longer than `slow`, then those that are asked for nothing, the
    /// longest of each first. `None`: it is busy.
    pub fn spare_since(&self, slow: Duration) -> Option<(bool, u64)> {
        match self.phase() {
            (Phase::NextHead, since) if self.millis_since(since) >= slow.as_millis() => {
                Some((false, since))
            }
            (Phase::Idle, since) if self.streams.load(Ordering::Relaxed) == 0 => {
                Some((true, since))
            }
            _ => None,
        }
    }

    fn millis_since(&self, since: u64) -> u128 {
        u128::from(self.clock.millis().saturating_sub(since))
    }

    /// Whether it has made no headway for too long.
    pub fn overdue(&self, head: Duration, idle: Duration) -> Option<Cut> {
        let (phase, since) = self.phase();
        let for_millis = self.millis_since(since);
        match phase {
            Phase::Silent | Phase::FirstHead | Phase::NextHead => {
                (for_millis >= head.as_millis()).then_some(Cut::HeadTimeout)
            }
            Phase::Idle if self.streams.load(Ordering::Relaxed) == 0 => {
                (for_millis >= idle.as_millis()).then_some(Cut::Idle)
            }
            Phase::Handshake | Phase::Busy | Phase::Idle => None,
        }
    }

    /// Ends the connection; `false`: it was over already. Whoever serves it sees [`Progress::was_cut`].
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

    const HEAD: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(60);

    fn at(progress: &Progress, seconds: u64) -> Option<Cut> {
        progress
            .clock
            .millis
            .store(seconds * 1000, Ordering::Relaxed);
        progress.overdue(HEAD, IDLE)
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
        let spare = || progress.spare_since(Duration::from_secs(1));
        assert_eq!((at(&progress, 900), spare()), (None, None));
        progress.end_stream();
        assert_eq!(spare(), Some((true, 900_000)));
        progress.block_begins();
        assert_eq!((at(&progress, 900), spare()), (None, None));
        assert_eq!(
            (at(&progress, 901), spare()),
            (None, Some((false, 900_000)))
        );
        progress.block_ends();
        assert_eq!(at(&progress, 961), Some(Cut::Idle));
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
