//! How fast a client sends the body of its request: at least at `min_body_rate`, until the head of
//! the answer is there.
//!
//! Only the time counts in which the client is waited for. While the upstream does not take what
//! came, nothing is read, and the client may have to wait for us. Over HTTP/2 that may hold for
//! the other streams of the connection as well: see [`UnreadBodies`].
//!
//! A client begins with a credit of [`GRACE`]. Each byte adds the time that it is worth, up to
//! [`MAX_CREDIT`]: who was fast may pause, but not for as long as it was fast.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pingora::{Error, ErrorType};
use pingora_proxy::Session;
use tokio::time::{Sleep, sleep_until};

use super::head;
use crate::listener::{CloseReason, Connection, StalledBody, UnreadBodies, UnreadBody};

/// The time that a client has before its rate counts.
const GRACE: Duration = Duration::from_secs(5);
/// The longest pause of a client that was fast before, the grace included.
const MAX_CREDIT: Duration = Duration::from_secs(25);
/// A body that is waited for this long, or is behind its rate by as much, counts as stalled: its
/// connection may be given up where others find no place.
const STALL: Duration = Duration::from_secs(1);

/// The pace of one body.
#[derive(Debug)]
pub(crate) struct BodyRate {
    connection: Arc<Connection>,
    /// How long the client may be waited for until it is too slow.
    credit: Duration,
    /// Since when it is waited for.
    since: Option<Instant>,
    /// Whether nothing is expected of the client: it calls gRPC, or it sends its body only when it
    /// is told to, which it was not.
    exempt: bool,
    until_told: bool,
    stalled: Option<StalledBody>,
    /// Over HTTP/2: what tells the other streams that this body lies here unread.
    unread: Option<Arc<UnreadBody>>,
    /// Set when the client is first waited for, and again only when it goes off.
    timer: Option<Pin<Box<Sleep>>>,
}

/// How far a client is that is waited for.
#[derive(Debug, PartialEq, Eq)]
enum Pace {
    /// As it should; to be looked at again then.
    Fine(Instant),
    Stalled(Instant),
    TooSlow,
}

impl Pace {
    /// That of a client that has been waited for since `since`. `counts`: there is a minimum.
    fn of(since: Instant, credit: Duration, counts: bool, now: Instant) -> Self {
        let spare = credit.saturating_sub(GRACE.saturating_sub(STALL));
        let stalls = since + if counts { STALL.min(spare) } else { STALL };
        // Without a minimum, it is the upstream's `read_timeout_secs` that ends the wait.
        let late = since
            + if counts {
                credit
            } else {
                Duration::from_secs(24 * 3600)
            };
        match now {
            _ if now >= late => Self::TooSlow,
            _ if now >= stalls => Self::Stalled(late),
            _ => Self::Fine(stalls),
        }
    }
}

impl BodyRate {
    /// Of a request whose head was read; `None`: it has no body, or nobody watches its connection.
    /// `is_call`: it is one of gRPC, whose messages come when they come.
    pub(crate) fn of(session: &mut Session, is_call: bool) -> Option<Self> {
        if session.is_body_empty() {
            return None;
        }
        let until_told = head::expects_continue(session);
        let connection = Connection::of(session.digest())?.clone();
        let mut rate = Self::new(connection, session.as_http1().is_none());
        rate.exempt = is_call;
        rate.until_told = until_told;
        Some(rate)
    }

    fn new(connection: Arc<Connection>, http2: bool) -> Self {
        let unread = http2.then(|| connection.unread_bodies().add());
        Self {
            connection,
            credit: GRACE,
            since: None,
            exempt: false,
            until_told: false,
            stalled: None,
            unread,
            timer: None,
        }
    }

    /// Awaits the next part of the body, of a request that is not answered yet. An error: it comes
    /// too slowly.
    pub(crate) async fn read(
        this: &mut Option<Self>,
        reading: impl Future<Output = pingora::Result<Option<Bytes>>>,
    ) -> pingora::Result<Option<Bytes>> {
        let Some(rate) = this else {
            return reading.await;
        };
        let mut reading = pin!(reading);
        poll_fn(|context| {
            let part = reading.as_mut().poll(context);
            rate.pace(part, true, false, context)
        })
        .await
    }

    /// The client was told to send its body.
    pub(crate) fn mark_told(&mut self) {
        self.until_told = false;
    }

    /// Takes note of a part of the body, or of the wait for one. `counts`: the head of the answer
    /// is not there yet. `told`: the client was told to send its body.
    pub(crate) fn pace(
        &mut self,
        part: Poll<pingora::Result<Option<Bytes>>>,
        counts: bool,
        told: bool,
        context: &mut Context<'_>,
    ) -> Poll<pingora::Result<Option<Bytes>>> {
        self.until_told &= !told;
        if let Poll::Ready(ended) = &part {
            let bytes = ended.as_ref().ok().and_then(Option::as_ref);
            self.came(bytes.map_or(0, Bytes::len));
            return part;
        }
        self.note_unread(|bodies, body| bodies.mark_read(body));
        if !counts || self.exempt || self.until_told {
            self.rest();
            return Poll::Pending;
        }
        self.poll_too_slow(context).map(|()| Err(too_slow()))
    }

    /// Bytes are there, and are passed on before the next ones are read.
    fn came(&mut self, bytes: usize) {
        self.note_unread(|bodies, body| bodies.mark_unread(body));
        self.until_told &= bytes == 0;
        if let Some(since) = self.since {
            self.credit = self.credit.saturating_sub(since.elapsed());
        }
        self.rest();
        if let Some(min) = self.min() {
            let worth = Duration::from_micros((bytes as u64).saturating_mul(1_000_000) / min);
            self.credit = self.credit.saturating_add(worth).min(MAX_CREDIT);
        }
    }

    /// Bytes a second; `None`: any. A reload may change it.
    fn min(&self) -> Option<u64> {
        self.connection.limits().min_body_rate()
    }

    /// The client is not waited for.
    fn rest(&mut self) {
        self.since = None;
        self.stall(false);
    }

    /// Ready once the client is too slow.
    fn poll_too_slow(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.connection.state().close_reason() == Some(CloseReason::EvictedSlowBody) {
            return Poll::Ready(());
        }
        let begins = self.since.is_none();
        let first = *self.since.get_or_insert_with(Instant::now) + STALL;
        // Set for a wait of before, it goes off too early at worst.
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(first.into())));
        if begins && timer.deadline() > first.into() {
            timer.as_mut().reset(first.into());
        }
        while self.is_time(context) {
            let now = Instant::now();
            if let (Some(_), Some(until)) =
                (&self.unread, self.connection.unread_bodies().until(now))
            {
                // What others left unread may have kept this body from coming.
                self.since = self.since.max(Some(until));
            }
            let since = self.since.unwrap_or(now);
            let (stalled, next) = match Pace::of(since, self.credit, self.min().is_some(), now) {
                Pace::Fine(next) => (false, next),
                Pace::Stalled(next) => (true, next),
                Pace::TooSlow => return Poll::Ready(()),
            };
            self.stall(stalled);
            if let Some(timer) = &mut self.timer {
                timer.as_mut().reset(next.into());
            }
        }
        Poll::Pending
    }

    /// Whether the timer has gone off.
    fn is_time(&mut self, context: &mut Context<'_>) -> bool {
        let timer = self.timer.as_mut();
        timer.is_some_and(|timer| timer.as_mut().poll(context).is_ready())
    }

    fn stall(&mut self, stalled: bool) {
        if self.stalled.is_some() != stalled {
            self.stalled = stalled.then(|| self.connection.stalled());
        }
    }

    fn note_unread(&self, note: impl FnOnce(&UnreadBodies, &Arc<UnreadBody>)) {
        if let Some(body) = &self.unread {
            note(self.connection.unread_bodies(), body);
        }
    }
}

impl Drop for BodyRate {
    fn drop(&mut self) {
        self.note_unread(|bodies, body| bodies.remove(body));
    }
}

/// The error of a body that does not come, or comes too slowly.
pub(crate) fn too_slow() -> Box<Error> {
    Error::explain(ErrorType::ReadTimedout, "the request body comes too slowly").into_down()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::{ClientLimits, Clock};

    const SECOND: Duration = Duration::from_secs(1);

    fn rate(min: u64) -> BodyRate {
        let limits = Arc::new(ClientLimits::new(min, 0));
        BodyRate::new(
            Arc::new(Connection::new(Arc::<Clock>::default(), limits)),
            false,
        )
    }

    /// Waits for so long, and then so many bytes come. Whether that is in time.
    fn wait(rate: &mut BodyRate, time: Duration, bytes: usize) -> bool {
        let now = Instant::now();
        let since = now.checked_sub(time).unwrap();
        let too_slow = Pace::of(since, rate.credit, rate.min().is_some(), now) == Pace::TooSlow;
        rate.since = Some(since);
        rate.came(bytes);
        !too_slow
    }

    #[test]
    fn a_body_at_its_rate_passes_however_it_is_cut() {
        for (pause, bytes) in [(1, 250), (4, 1000), (20, 5000), (24, 6000)] {
            let mut rate = rate(240);
            rate.came(bytes);
            let passes = (0..50).all(|_| wait(&mut rate, SECOND * pause, bytes));
            assert!(passes, "{bytes} bytes every {pause} s");
        }
    }

    #[test]
    fn a_body_below_its_rate_has_its_grace_and_no_more() {
        for (millis, bytes, most) in [(400, 1, 5), (1000, 120, 10), (1000, 200, 30)] {
            let mut rate = rate(240);
            let pause = Duration::from_millis(millis);
            let parts = (0..1000)
                .take_while(|_| wait(&mut rate, pause, bytes))
                .count();
            let lasts = pause * u32::try_from(parts).unwrap();
            assert!(
                lasts >= SECOND * 4 && lasts <= SECOND * (most + 1),
                "{bytes} bytes every {pause:?} lasted {lasts:?}"
            );
        }
        assert!(wait(&mut rate(240), SECOND * 49 / 10, 1) && !wait(&mut rate(240), SECOND * 5, 1));
    }

    #[test]
    fn who_was_fast_has_a_longer_pause_but_no_endless_one() {
        let mut fast = rate(240);
        fast.came(10 << 20);
        assert!(wait(&mut fast, SECOND * 24, 1));
        let parts = (0..1000).take_while(|_| wait(&mut fast, SECOND, 1)).count();
        assert!(parts <= 2, "{parts}");
        let mut fast = rate(240);
        fast.came(10 << 20);
        assert!(!wait(&mut fast, SECOND * 26, 1));
    }

    #[test]
    fn without_a_minimum_nothing_is_too_slow_but_it_stalls() {
        assert!((0..100).all(|_| wait(&mut rate(0), SECOND * 60, 0)));
        let then = Instant::now();
        let at = |seconds| Pace::of(then, GRACE, false, then + seconds);
        assert_eq!(at(SECOND / 2), Pace::Fine(then + STALL));
        assert!(matches!(at(SECOND * 2), Pace::Stalled(_)));
    }

    #[test]
    fn it_stalls_when_it_is_silent_or_behind() {
        let then = Instant::now();
        let at = |credit, seconds| Pace::of(then, credit, true, then + seconds);
        assert_eq!(at(MAX_CREDIT, SECOND / 2), Pace::Fine(then + STALL));
        assert_eq!(at(MAX_CREDIT, SECOND), Pace::Stalled(then + MAX_CREDIT));
        assert_eq!(
            at(SECOND * 4, Duration::ZERO),
            Pace::Stalled(then + SECOND * 4)
        );
        assert_eq!(at(SECOND * 2, SECOND * 2), Pace::TooSlow);
    }

    #[tokio::test]
    async fn the_answer_and_a_client_that_was_not_told_are_not_waited_for() {
        let mut rate = Some(rate(240));
        let connection = rate.as_ref().unwrap().connection.clone();
        let stalled = || {
            connection
                .state()
                .eviction_class(STALL, Duration::MAX)
                .is_some()
        };
        connection.state().head_complete();
        let short = |counts: bool, told: bool, rate: &mut Option<BodyRate>| {
            let rate = rate.as_mut().unwrap();
            rate.since = Instant::now().checked_sub(SECOND * 4);
            let mut context = Context::from_waker(std::task::Waker::noop());
            assert!(
                rate.pace(Poll::Pending, counts, told, &mut context)
                    .is_pending()
            );
        };
        rate.as_mut().unwrap().until_told = true;
        short(true, false, &mut rate);
        assert!(rate.as_ref().unwrap().since.is_none(), "not told");
        short(true, true, &mut rate);
        assert!(rate.as_ref().unwrap().since.is_some(), "told");
        short(false, true, &mut rate);
        assert!(rate.as_ref().unwrap().since.is_none(), "answered");
        rate.as_mut().unwrap().stall(true);
        assert!(stalled());
        drop(rate);
        assert!(!stalled(), "its request is over");
    }

    #[tokio::test]
    async fn a_connection_that_is_given_up_ends_the_wait() {
        let mut rate = Some(rate(240));
        let connection = rate.as_ref().unwrap().connection.clone();
        connection.state().close(CloseReason::EvictedSlowBody);
        let read = BodyRate::read(&mut rate, std::future::pending()).await;
        assert_eq!(read.unwrap_err().etype(), &ErrorType::ReadTimedout);
    }
}
