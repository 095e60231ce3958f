//! A connection over HTTP/2, and how many exchanges it takes.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{Ping, PingPong, Reason};
use pingora::protocols::Stream;
use pingora::{Error, ErrorType, RetryType};
use tokio::time::{sleep, timeout};

use super::frame_watch::{FrameWatch, Seen};
use crate::gateway::PeerAddress;
use crate::proxy::forward::deadline::{Deadline, Deadlines};
use crate::proxy::forward::error;
use crate::proxy::forward::pool::Permit;

/// Most exchanges at a time on one connection, whatever its server allows.
pub(in crate::proxy::forward) const MAX_STREAMS: usize = 100;
/// Most of one response that is held for a client that does not read it: with what else an exchange
/// takes, less than 64 KiB.
const STREAM_WINDOW: u32 = 32 * 1024;
/// Room for the responses of all exchanges: no client that does not read holds up another one.
const CONNECTION_WINDOW: u32 = 100 * STREAM_WINDOW;
/// For how many bytes small frames of responses may be short of 256 each, all together, while their
/// clients do not read them: h2 closes a connection at more, with all of its exchanges.
const DATA_FRAME_BUDGET: usize = 32 * 1024 * 1024;
/// Most of one request's body that waits for the connection.
const SEND_BUFFER: usize = 32 * 1024;
/// Largest head of a response, with 32 bytes for each field (RFC 9113 section 6.5.2).
const MAX_HEAD: u32 = 64 * 1024;
/// Streams that were reset are remembered for as long as the upstream may still send what was on
/// its way: what comes for others counts as an error of the connection.
const RESET_STREAMS: usize = 1024;
const RESET_REMEMBERED: Duration = Duration::from_secs(30);
/// After so much silence while exchanges are open, the upstream is asked whether it is there.
const SILENCE: Duration = Duration::from_secs(30);
/// How long it may take to say so.
const PONG_WITHIN: Duration = Duration::from_secs(10);
/// gRPC servers close connections that ping them more often than every five minutes, by default.
const BETWEEN_PINGS: Duration = Duration::from_secs(305);

/// An HTTP/2 connection to an upstream.
#[derive(Clone)]
pub(in crate::proxy::forward) struct Http2Connection(Arc<Shared>);

struct Shared {
    address: PeerAddress,
    sender: SendRequest<Bytes>,
    seen: Arc<Seen>,
    /// Exchanges that are on it.
    streams: AtomicUsize,
    /// Whether an exchange has been on it.
    used: AtomicBool,
    /// When the last exchange left it, in milliseconds since it was opened.
    idle_since: AtomicU64,
    closed: AtomicBool,
    /// Counts it, until it is closed.
    permit: Mutex<Option<Permit>>,
    deadlines: Arc<Deadlines>,
    /// Deadlines of exchanges that are over, for those to come.
    spare: Mutex<Vec<Arc<Deadline>>>,
}

impl Http2Connection {
    /// Begins HTTP/2 on a stream, and waits for the upstream's `SETTINGS`: whoever sends something
    /// else gets no request. From then on, a task reads what comes until the connection ends.
    pub(in crate::proxy::forward) async fn handshake(
        stream: Stream,
        address: PeerAddress,
        permit: Permit,
        deadlines: &Arc<Deadlines>,
    ) -> pingora::Result<Self> {
        let (stream, seen, mut settings) = FrameWatch::new(stream);
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .data_frame_budget(DATA_FRAME_BUDGET)
            .max_send_buffer_size(SEND_BUFFER)
            .max_header_list_size(MAX_HEAD)
            .max_concurrent_reset_streams(RESET_STREAMS)
            .reset_stream_duration(RESET_REMEMBERED)
            // By default h2 closes a connection, with all of its exchanges, once its clients have
            // given up 1024 responses that were under way.
            .max_local_error_reset_streams(None)
            .initial_max_send_streams(MAX_STREAMS);
        let (sender, mut connection) = match builder.handshake(stream).await {
            Ok(made) => made,
            Err(error) => return Err(failed_on(&seen, &error)),
        };
        let pings = connection.ping_pong();
        let shared = Arc::new(Shared {
            address,
            sender,
            seen: seen.clone(),
            streams: AtomicUsize::new(0),
            used: AtomicBool::new(false),
            idle_since: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            permit: Mutex::new(Some(permit)),
            deadlines: deadlines.clone(),
            spare: Mutex::default(),
        });
        // The task holds no sender: the connection ends once nobody else holds one.
        let weak = Arc::downgrade(&shared);
        let task = tokio::spawn(async move {
            let ended = tokio::select! {
                ended = connection => ended.err(),
                () = unanswered_ping(pings, &seen) => {
                    log::debug!("an HTTP/2 connection to an upstream ended: no answer to a ping");
                    None
                }
            };
            if let Some(shared) = weak.upgrade() {
                shared.close();
            }
            ended
        });
        // An error: the task has let go of the stream.
        if settings.wait_for(|received| *received).await.is_err() {
            return Err(match task.await {
                Ok(Some(error)) => failed_on(&shared.seen, &error),
                _ => Error::new_up(ErrorType::ConnectionClosed),
            });
        }
        Ok(Self(shared))
    }

    /// Takes room for one more exchange; `None`: there is none, or the connection is closing.
    pub(in crate::proxy::forward) fn reserve(&self) -> Option<Slot> {
        let shared = &self.0;
        if self.is_closing() {
            return None;
        }
        let most = self.max_streams();
        let one_more = |taken| (taken < most).then_some(taken + 1);
        let taken = shared
            .streams
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more);
        taken.ok()?;
        let spare = lock(&shared.spare).pop();
        Some(Slot {
            connection: self.clone(),
            reused: shared.used.swap(true, Ordering::Relaxed),
            deadline: spare.unwrap_or_else(|| {
                let deadline = Arc::new(Deadline::new());
                shared.deadlines.watch(&deadline);
                deadline
            }),
        })
    }

    /// The upstream's end.
    pub(in crate::proxy::forward) fn address(&self) -> &PeerAddress {
        &self.0.address
    }

    /// How many exchanges may be on it at a time.
    pub(in crate::proxy::forward) fn max_streams(&self) -> usize {
        MAX_STREAMS.min(self.0.sender.current_max_send_streams())
    }

    /// Whether it takes no more exchanges.
    pub(in crate::proxy::forward) fn is_closing(&self) -> bool {
        self.0.closed.load(Ordering::Acquire) || self.0.seen.is_going_away()
    }

    /// For how long no exchange has been on it; `None`: there is one.
    pub(in crate::proxy::forward) fn idle_for(&self) -> Option<Duration> {
        let shared = &self.0;
        let idle = shared.streams.load(Ordering::Acquire) == 0;
        let since = shared.idle_since.load(Ordering::Acquire);
        idle.then(|| Duration::from_millis(shared.seen.now().saturating_sub(since)))
    }

    /// Has it take no more exchanges, and counts it no more. It ends with the last exchange.
    pub(in crate::proxy::forward) fn close(&self) {
        self.0.close();
    }

    pub(super) fn sender(&self) -> SendRequest<Bytes> {
        self.0.sender.clone()
    }

    /// The error of a request that was not sent: the connection takes none, or cannot carry it.
    pub(super) fn unsent(&self, error: h2::Error) -> Box<Error> {
        let ended = error.is_io() || error.reason().is_some();
        if !ended && !error.to_string().contains("overflow") {
            let why = "the request cannot be sent over HTTP/2";
            return Error::because(ErrorType::H2Error, why, error);
        }
        self.0.close();
        Error::because(ErrorType::Custom(error::UNPROCESSED), "not sent", error).into_up()
    }

    /// The error of an exchange on it.
    /// `begun`: when its stream was opened, by [`Self::now`].
    pub(super) fn failed(&self, stream: u32, begun: u64, error: h2::Error) -> Box<Error> {
        let refused =
            error.is_reset() && error.is_remote() && error.reason() == Some(Reason::REFUSED_STREAM);
        if refused {
            return Error::because(ErrorType::Custom(error::REFUSED), "refused", error).into_up();
        }
        if self.0.seen.is_unprocessed(stream) {
            let kind = ErrorType::Custom(error::UNPROCESSED);
            return Error::because(kind, "going away", error).into_up();
        }
        let mut error = failed_on(&self.0.seen, &error);
        if self.0.seen.has_come_since(begun) {
            // The connection was there when the request was sent: it was not closed before.
            error.retry = RetryType::Decided(false);
        }
        error
    }

    /// Milliseconds since the connection was opened.
    pub(super) fn now(&self) -> u64 {
        self.0.seen.now()
    }
}

impl Shared {
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let permit = lock(&self.permit).take();
        drop(permit);
    }
}

/// Room for one exchange, until it is dropped.
pub(in crate::proxy::forward) struct Slot {
    connection: Http2Connection,
    /// Whether another exchange was on the connection before.
    pub(in crate::proxy::forward) reused: bool,
    pub(in crate::proxy::forward) deadline: Arc<Deadline>,
}

impl Slot {
    /// The upstream's end of the connection.
    pub(in crate::proxy::forward) fn address(&self) -> &PeerAddress {
        self.connection.address()
    }

    pub(super) fn connection(&self) -> &Http2Connection {
        &self.connection
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let shared = &self.connection.0;
        self.deadline.set(None);
        lock(&shared.spare).push(self.deadline.clone());
        shared
            .idle_since
            .store(shared.seen.now(), Ordering::Release);
        shared.streams.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The error of a connection, or of an exchange that the upstream may have seen: without what the
/// upstream sent along with it.
fn failed_on(seen: &Seen, error: &h2::Error) -> Box<Error> {
    if let Some(first) = seen.not_http2() {
        return error::not_http2(&first);
    }
    let Some(reason) = error.reason() else {
        let mut lost = match error.get_io() {
            Some(cause) => Error::because(
                ErrorType::ReadError,
                "HTTP/2 connection",
                std::io::Error::from(cause.kind()),
            ),
            None => Error::new(ErrorType::ConnectionClosed),
        };
        lost.retry = RetryType::ReusedOnly;
        return lost.into_up();
    };
    Error::explain(
        ErrorType::H2Error,
        match (error.is_remote(), error.is_go_away()) {
            (true, true) => format!("it closed the connection: {reason}"),
            (true, false) => format!("it reset the stream: {reason}"),
            (false, _) => format!("its response is not valid HTTP/2: {reason}"),
        },
    )
    .into_up()
}

/// Ends when the upstream does not answer a ping.
async fn unanswered_ping(pings: Option<PingPong>, seen: &Seen) {
    let Some(mut pings) = pings else {
        return std::future::pending().await;
    };
    let mut last = None::<Instant>;
    loop {
        let between = last.map_or(Duration::ZERO, |last| {
            BETWEEN_PINGS.saturating_sub(last.elapsed())
        });
        let wait = SILENCE.saturating_sub(seen.silence()).max(between);
        if !wait.is_zero() {
            sleep(wait).await;
            continue;
        }
        last = Some(Instant::now());
        match timeout(PONG_WITHIN, pings.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            // The connection has ended, which its own future tells.
            Ok(Err(_)) => return std::future::pending().await,
            Err(_) => return,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
