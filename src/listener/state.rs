//! The state of a client connection: how far it has come with the current request, so that one that
//! makes no progress can be closed.
//!
//! A request costs three plain stores and one load. Nothing is decided here; the limiters check it
//! four times a second.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

use super::clock::Clock;
use super::close_reason::CloseReason;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Its TLS handshake, which has a time-out of its own.
    Handshake,
    /// Nothing has arrived yet.
    Accepted,
    /// Its first head is arriving.
    FirstHead,
    /// A later head is arriving.
    NextHead,
    /// HTTP/1: a request is being served.
    Busy,
    /// Between requests; HTTP/2: streams may be open.
    Idle,
}

/// How long a connection may go without progress.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// From the first byte of a head (of the first head: from the accept) to its end.
    pub(super) head: Duration,
    /// Between requests.
    pub(super) idle: Duration,
    /// While the client reads nothing of what is written to it.
    pub(super) write: Duration,
}

/// Why a connection that has sent a head can be evicted. Those of the first class go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EvictionClass {
    /// A later head arrives slowly.
    SlowHead,
    /// The body of its request has stalled, or those of all requests being served.
    StalledBody,
    /// It is between requests.
    Idle,
    /// It does not read its response.
    Unread,
}

/// The state of one connection.
#[derive(Debug)]
pub struct ConnectionState {
    clock: Arc<Clock>,
    /// The phase in the three lowest bits, and above them since when, in milliseconds.
    phase: AtomicU64,
    /// HTTP/2 streams that are being served.
    streams: AtomicU32,
    /// Requests among those being served whose bodies have stalled.
    stalled: AtomicU32,
    /// Since when one has, by the clock.
    stalled_since: AtomicU64,
    /// HTTP/1: whether what arrives belongs to another protocol, such as WebSocket.
    switched_protocols: AtomicBool,
    /// HTTP/1: whether nothing but the last chunk of the response is to be written, with trailers.
    at_last_chunk: AtomicBool,
    /// Since when a write has been waiting for the client, by the clock, plus 1; 0: none is.
    write_blocked_since: AtomicU64,
    /// 0, or the reason that it was closed for.
    close_reason: AtomicU8,
    closed: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl ConnectionState {
    /// That of a connection that was accepted just now.
    pub(super) fn new(clock: Arc<Clock>) -> Self {
        let state = Self {
            clock,
            phase: AtomicU64::new(0),
            streams: AtomicU32::new(0),
            stalled: AtomicU32::new(0),
            stalled_since: AtomicU64::new(0),
            switched_protocols: AtomicBool::new(false),
            at_last_chunk: AtomicBool::new(false),
            write_blocked_since: AtomicU64::new(0),
            close_reason: AtomicU8::new(0),
            closed: AtomicBool::new(false),
            waker: Mutex::new(None),
        };
        state.enter(Phase::Accepted);
        state
    }

    /// The phase, and since when, by the clock in milliseconds.
    pub(super) fn phase(&self) -> (Phase, u64) {
        unpack(self.phase.load(Ordering::Relaxed))
    }

    /// The time by the clock, in milliseconds.
    pub(super) fn now(&self) -> u64 {
        self.clock.millis()
    }

    /// The TLS handshake begins.
    pub(super) fn begin_handshake(&self) {
        self.enter(Phase::Handshake);
    }

    /// It is over: the time for the head begins.
    pub(super) fn end_handshake(&self) {
        self.enter(Phase::Accepted);
    }

    /// Bytes have arrived. `of_head`: between requests, they begin the next head.
    pub(super) fn bytes_arrived(&self, of_head: bool) {
        match self.phase() {
            // The time began with the accept.
            (Phase::Accepted, since) => self.store(Phase::FirstHead, since),
            (Phase::Idle, _) if of_head => self.enter(Phase::NextHead),
            _ => {}
        }
    }

    /// HTTP/2: a header block begins.
    pub(super) fn begin_header_block(&self) {
        if self.phase().0 == Phase::Idle {
            self.enter(Phase::NextHead);
        }
    }

    /// HTTP/2: a header block has arrived whole.
    pub(super) fn end_header_block(&self) {
        self.enter(Phase::Idle);
    }

    /// HTTP/1: the head has arrived whole.
    pub fn head_complete(&self) {
        self.enter(Phase::Busy);
    }

    /// HTTP/1: a request is over, and another one may come.
    pub(super) fn request_complete(&self) {
        if self.phase().0 == Phase::Busy {
            self.enter(Phase::Idle);
        }
    }

    /// HTTP/1: from now on, what arrives belongs to another protocol.
    pub fn switch_protocols(&self) {
        self.switched_protocols.store(true, Ordering::Relaxed);
    }

    /// Whether that is so.
    pub(super) fn has_switched_protocols(&self) -> bool {
        self.switched_protocols.load(Ordering::Relaxed)
    }

    /// HTTP/1: whether what is written next is the last chunk of a response with trailers.
    pub(super) fn set_at_last_chunk(&self, at_last_chunk: bool) {
        self.at_last_chunk.store(at_last_chunk, Ordering::Relaxed);
    }

    /// Whether that is so.
    pub(super) fn is_at_last_chunk(&self) -> bool {
        self.at_last_chunk.load(Ordering::Relaxed)
    }

    /// HTTP/2: a stream is being served, until [`end_stream`](Self::end_stream).
    pub(super) fn begin_stream(&self) {
        self.streams.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end_stream(&self) {
        if self.streams.fetch_sub(1, Ordering::Relaxed) == 1 && self.phase().0 == Phase::Idle {
            self.enter(Phase::Idle);
        }
    }

    /// HTTP/2: streams that are being served.
    pub(super) fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed) as usize
    }

    /// The body of a request being served has stalled, or no longer is.
    pub(super) fn body_stalled(&self, stalled: bool) {
        if !stalled {
            self.stalled.fetch_sub(1, Ordering::Relaxed);
        } else if self.stalled.fetch_add(1, Ordering::Relaxed) == 0 {
            self.stalled_since.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Whether the bodies of all requests being served have stalled.
    fn all_bodies_stalled(&self) -> bool {
        let stalled = self.stalled.load(Ordering::Relaxed);
        stalled > 0 && stalled >= self.streams.load(Ordering::Relaxed)
    }

    /// Whether a whole head has ever arrived.
    pub(super) fn has_received_head(&self) -> bool {
        self.phase().0 >= Phase::NextHead
    }

    /// A write waits for the client: its buffers and ours are full.
    pub(super) fn write_blocked(&self) {
        if self.write_blocked_since.load(Ordering::Relaxed) == 0 {
            self.write_blocked_since
                .store(self.now() + 1, Ordering::Relaxed);
        }
    }

    /// The client has read something.
    pub(super) fn write_resumed(&self) {
        self.write_blocked_since.store(0, Ordering::Relaxed);
    }

    /// How long a write has been waiting for the client, in milliseconds; 0: none is.
    fn write_blocked_for(&self) -> u128 {
        match self.write_blocked_since.load(Ordering::Relaxed) {
            0 => 0,
            since => self.millis_since(since - 1),
        }
    }

    /// Whether a connection that has sent a whole head can be evicted: its class, and since when it
    /// has been of it. A later head counts after `slow_head`, an unread response after `unread`.
    /// `None`: it is busy.
    pub(crate) fn eviction_class(
        &self,
        slow_head: Duration,
        unread: Duration,
    ) -> Option<(EvictionClass, u64)> {
        match self.phase() {
            (Phase::NextHead, since) if self.millis_since(since) >= slow_head.as_millis() => {
                Some((EvictionClass::SlowHead, since))
            }
            (Phase::Idle, since) if self.streams.load(Ordering::Relaxed) == 0 => {
                Some((EvictionClass::Idle, since))
            }
            _ if self.all_bodies_stalled() => Some((
                EvictionClass::StalledBody,
                self.stalled_since.load(Ordering::Relaxed),
            )),
            _ if self.write_blocked_for() >= unread.as_millis().max(1) => Some((
                EvictionClass::Unread,
                self.write_blocked_since.load(Ordering::Relaxed),
            )),
            _ => None,
        }
    }

    fn millis_since(&self, since: u64) -> u128 {
        u128::from(self.clock.millis().saturating_sub(since))
    }

    /// The limit that it has exceeded.
    pub(super) fn timed_out(&self, limits: &Limits) -> Option<CloseReason> {
        if self.write_blocked_for() >= limits.write.as_millis().max(1) {
            return Some(CloseReason::WriteTimeout);
        }
        let (phase, since) = self.phase();
        let for_millis = self.millis_since(since);
        match phase {
            Phase::Accepted | Phase::FirstHead | Phase::NextHead => {
                (for_millis >= limits.head.as_millis()).then_some(CloseReason::HeadTimeout)
            }
            Phase::Idle if self.streams.load(Ordering::Relaxed) == 0 => {
                (for_millis >= limits.idle.as_millis()).then_some(CloseReason::IdleTimeout)
            }
            Phase::Handshake | Phase::Busy | Phase::Idle => None,
        }
    }

    /// Closes the connection; `false`: it was closed already. Whoever serves it is woken and sees
    /// [`close_reason`](Self::close_reason).
    pub fn close(&self, reason: CloseReason) -> bool {
        if self.closed.swap(true, Ordering::AcqRel) {
            return false;
        }
        self.close_reason.store(reason as u8, Ordering::Release);
        let waker = self.waker().take();
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// What it was closed for; `None`: it is open, or has ended by itself.
    pub fn close_reason(&self) -> Option<CloseReason> {
        CloseReason::from_u8(self.close_reason.load(Ordering::Acquire))
    }

    /// The connection has ended by itself; `false`: it was closed before.
    pub(super) fn finish(&self) -> bool {
        !self.closed.swap(true, Ordering::AcqRel)
    }

    /// Whether it was closed or has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Who is woken when it is closed.
    pub(super) fn set_waker(&self, waker: &Waker) {
        *self.waker() = Some(waker.clone());
    }

    fn waker(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, phase: Phase) {
        self.store(phase, self.clock.millis());
    }

    fn store(&self, phase: Phase, since: u64) {
        self.phase
            .store(since << 3 | phase as u64, Ordering::Relaxed);
    }
}

fn unpack(packed: u64) -> (Phase, u64) {
    let phase = match packed & 7 {
        0 => Phase::Handshake,
        1 => Phase::Accepted,
        2 => Phase::FirstHead,
        3 => Phase::NextHead,
        4 => Phase::Busy,
        _ => Phase::Idle,
    };
    (phase, packed >> 3)
}

#[cfg(test)]
mod tests;
