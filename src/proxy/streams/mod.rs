//! Responses that go on for long, and end when a credential that let their request in does: it
//! expires, is revoked, or a reload takes it out; or its issuer says that it is no longer active.
//!
//! One task checks all of them. Due times are in one sorted queue: a stream has no timer of its
//! own, and without streams there is nothing to wait for. A change of the configuration or of the
//! list of revocations makes it check every stream once.

mod authenticated_stream;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Waking, Poll};
use std::time::Duration;

use jose::clock::{self, UnixTime};
use pingora::http::RequestHeader;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use super::request::context::Context;
use crate::gateway::{Gateway, Live};
use authenticated_stream::{AuthenticatedStream, Recheck};

pub(crate) use authenticated_stream::EndCause;

/// The task waits no longer than this, so that a step of the system's clock delays nothing.
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// Between two checks of all streams, when the list of revocations changes all the time.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// Streams that are checked before other tasks get a turn.
const BATCH: usize = 64;

/// The streams that are open, and what they depend on.
pub struct OpenStreams {
    live: Arc<Live>,
    last_id: AtomicU64,
    register: Mutex<Register>,
    /// Notified when a stream becomes due sooner than the first in the queue.
    due_sooner: Notify,
}

#[derive(Default)]
struct Register {
    streams: HashMap<u64, Entry>,
    /// What is due when, in milliseconds since 1970.
    queue: BTreeSet<(u64, u64)>,
}

struct Entry {
    stream: Arc<AuthenticatedStream>,
    /// The number of the check that knew when it is due.
    check_number: u64,
    due: Option<u64>,
}

/// What a response is, that may end with its credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResponseKind {
    /// It goes on for as long as both sides like.
    Stream,
    /// It ends by itself.
    Download,
}

/// An open stream. It is checked for as long as this lives.
pub(crate) struct OpenStream {
    stream: Arc<AuthenticatedStream>,
    streams: Arc<OpenStreams>,
}

impl OpenStream {
    /// Waits for the end of a credential that let the request in.
    pub(crate) fn poll_ended(&self, waking: &mut Waking<'_>) -> Poll<EndCause> {
        self.stream.poll_ended(waking)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.streams.register().remove(self.stream.id);
        self.stream.metrics().stream_closed();
    }
}

impl OpenStreams {
    /// Without any streams.
    pub fn new(live: Arc<Live>) -> Arc<Self> {
        Arc::new(Self {
            live,
            last_id: AtomicU64::new(0),
            register: Mutex::default(),
            due_sooner: Notify::new(),
        })
    }

    /// Registers the response to a request; `None`: no credential of its ends it.
    pub(crate) fn open(
        self: &Arc<Self>,
        kind: ResponseKind,
        request: &RequestHeader,
        ctx: &Context,
    ) -> Option<OpenStream> {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed);
        let stream = Arc::new(AuthenticatedStream::new(id, kind, request, ctx)?);
        stream.metrics().stream_opened();
        self.register().streams.insert(
            id,
            Entry {
                stream: stream.clone(),
                check_number: 0,
                due: None,
            },
        );
        let open = OpenStream {
            stream: stream.clone(),
            streams: self.clone(),
        };
        // From now on every change reaches it. What has changed since the request was admitted:
        let gateway = self.live.gateway();
        let admitted_by = ctx.gateway.as_ref();
        let reloaded = !admitted_by.is_some_and(|admitted_by| Arc::ptr_eq(admitted_by, &gateway));
        self.check(&stream, reloaded.then_some(&*gateway));
        Some(open)
    }

    /// Checks the streams, for the life of the process.
    pub async fn run(self: &Arc<Self>) {
        let mut reloads = self.live.changes();
        let mut revocations = self.live.auth().revocations().changes();
        let (mut last_check, mut next_check) = (Instant::now(), None);
        loop {
            let wait = self.until_due();
            let (due, check_at) = (wait.unwrap_or_default(), next_check.unwrap_or(last_check));
            tokio::select! {
                () = self.due_sooner.notified() => {}
                () = sleep(due), if wait.is_some() => self.check_due(),
                Ok(()) = reloads.changed() => {
                    let gateway = self.live.gateway();
                    self.check_all(Some(&gateway)).await;
                }
                Ok(()) = revocations.changed(), if next_check.is_none() => {
                    next_check = Some((last_check + CHECK_INTERVAL).max(Instant::now()));
                }
                () = sleep_until(check_at), if next_check.is_some() => {
                    self.check_all(None).await;
                    (last_check, next_check) = (Instant::now(), None);
                }
            }
        }
    }

    /// How long there is nothing to do; `None`: until a stream is opened.
    fn until_due(&self) -> Option<Duration> {
        let (due, _) = *self.register().queue.first()?;
        let wait = Duration::from_millis(due.saturating_sub(whole_millis(clock::now())));
        Some(wait.min(LONGEST_WAIT))
    }

    fn check_due(self: &Arc<Self>) {
        let due = self.register().take_due(clock::now());
        for stream in due {
            self.check(&stream, None);
        }
    }

    async fn check_all(self: &Arc<Self>, gateway: Option<&Gateway>) {
        let entries = |entry: &Entry| entry.stream.clone();
        let all: Vec<_> = self.register().streams.values().map(entries).collect();
        for batch in all.chunks(BATCH) {
            for stream in batch {
                self.check(stream, gateway);
            }
            tokio::task::yield_now().await;
        }
    }

    /// Ends a stream, asks an issuer about its token, or notes when to check again. `gateway`: the
    /// one in service, if it is another one than before.
    fn check(self: &Arc<Self>, stream: &Arc<AuthenticatedStream>, gateway: Option<&Gateway>) {
        match stream.check(clock::now(), self.live.auth().revocations(), gateway) {
            Err(cause) => stream.end(cause),
            Ok(result) => {
                for recheck in result.rechecks {
                    tokio::spawn(self.clone().recheck(stream.clone(), recheck));
                }
                if self
                    .register()
                    .schedule(stream.id, result.number, result.due)
                {
                    self.due_sooner.notify_one();
                }
            }
        }
    }

    /// Asks the issuer of a stream's token about it again.
    async fn recheck(self: Arc<Self>, stream: Arc<AuthenticatedStream>, recheck: Recheck) {
        let gateway = self.live.gateway();
        stream.recheck(recheck, &gateway).await;
        self.check(&stream, None);
    }

    fn register(&self) -> MutexGuard<'_, Register> {
        self.register.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Register {
    /// Says when a stream is due; whether that is before all others. The result of a check that a
    /// later one has overtaken is ignored.
    fn schedule(&mut self, id: u64, check: u64, due: Option<UnixTime>) -> bool {
        let Some(entry) = self
            .streams
            .get_mut(&id)
            .filter(|entry| entry.check_number < check)
        else {
            return false;
        };
        entry.check_number = check;
        if let Some(before) = entry.due.take() {
            self.queue.remove(&(before, id));
        }
        entry.due = due.map(|due| whole_millis(due).saturating_add(1));
        let Some(due) = entry.due else { return false };
        self.queue.insert((due, id));
        self.queue.first() == Some(&(due, id))
    }

    /// The streams that are due.
    fn take_due(&mut self, now: UnixTime) -> Vec<Arc<AuthenticatedStream>> {
        let next = whole_millis(now).saturating_add(1);
        let later = self.queue.split_off(&(next, 0));
        let due = std::mem::replace(&mut self.queue, later);
        let entries = due.into_iter().filter_map(|(_, id)| {
            let entry = self.streams.get_mut(&id)?;
            entry.due = None;
            Some(entry.stream.clone())
        });
        entries.collect()
    }

    fn remove(&mut self, id: u64) {
        if let Some(due) = self.streams.remove(&id).and_then(|entry| entry.due) {
            self.queue.remove(&(due, id));
        }
    }
}

/// Milliseconds that have passed.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a moment that does not fit is the end of time"
)]
fn whole_millis(at: UnixTime) -> u64 {
    (at * 1000.0) as u64
}
