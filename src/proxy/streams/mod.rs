//! Responses that go on for long, and end when a credential that let their request in does: it
//! expires, is revoked, or a reload takes it out; or its issuer says that it is no longer active.
//!
//! One task looks after all of them. What is due by the clock stands in one sorted queue: a stream
//! has no timer of its own, and without streams there is nothing to wait for. A change of the
//! configuration or of the list of revocations makes it look at every stream once.

mod held;

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
use held::{Held, Question};

pub(crate) use held::EndCause;

/// The task waits no longer than this, so that a step of the system's clock delays nothing.
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// Between two looks at every stream, when the list of revocations changes all the time.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
/// As many streams are looked at in one go.
const BATCH: usize = 64;

/// The streams that are open, and what they depend on.
pub struct OpenStreams {
    live: Arc<Live>,
    last_id: AtomicU64,
    register: Mutex<Register>,
    /// Notified when a stream becomes due earlier than the first in the queue.
    earlier: Notify,
}

#[derive(Default)]
struct Register {
    streams: HashMap<u64, Entry>,
    /// What is due when, in milliseconds since 1970.
    queue: BTreeSet<(u64, u64)>,
}

struct Entry {
    held: Arc<Held>,
    /// The number of the look that knew when it is due.
    look: u64,
    due: Option<u64>,
}

/// What a response is, that may end with its credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It goes on for as long as both sides like.
    Stream,
    /// It ends by itself.
    Download,
}

/// An open stream. It is looked after for as long as this lives.
pub(crate) struct OpenStream {
    held: Arc<Held>,
    streams: Arc<OpenStreams>,
}

impl OpenStream {
    /// Waits for the end of a credential that let the request in.
    pub(crate) fn poll_ended(&self, waking: &mut Waking<'_>) -> Poll<EndCause> {
        self.held.poll_ended(waking)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.streams.register().remove(self.held.id);
        self.held.metrics().stream_closed();
    }
}

impl OpenStreams {
    /// Nobody has a stream yet.
    pub fn new(live: Arc<Live>) -> Arc<Self> {
        Arc::new(Self {
            live,
            last_id: AtomicU64::new(0),
            register: Mutex::default(),
            earlier: Notify::new(),
        })
    }

    /// Looks after the response to a request; `None`: no credential of its ends it.
    pub(crate) fn open(
        self: &Arc<Self>,
        kind: Kind,
        request: &RequestHeader,
        ctx: &Context,
    ) -> Option<OpenStream> {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed);
        let held = Arc::new(Held::new(id, kind, request, ctx)?);
        held.metrics().stream_opened();
        self.register().streams.insert(
            id,
            Entry {
                held: held.clone(),
                look: 0,
                due: None,
            },
        );
        let open = OpenStream {
            held: held.clone(),
            streams: self.clone(),
        };
        // From now on it is told of every change. What has changed since the request was admitted:
        let gateway = self.live.gateway();
        let admitted_by = ctx.gateway.as_ref();
        let reloaded = !admitted_by.is_some_and(|admitted_by| Arc::ptr_eq(admitted_by, &gateway));
        self.look_at(&held, reloaded.then_some(&*gateway));
        Some(open)
    }

    /// Looks after the streams, for the life of the process.
    pub async fn run(self: &Arc<Self>) {
        let mut reloads = self.live.changes();
        let mut revocations = self.live.revocations().changes();
        let (mut last_look, mut next_look) = (Instant::now(), None);
        loop {
            let wait = self.until_due();
            let (due, look) = (wait.unwrap_or_default(), next_look.unwrap_or(last_look));
            tokio::select! {
                () = self.earlier.notified() => {}
                () = sleep(due), if wait.is_some() => self.look_at_due(),
                Ok(()) = reloads.changed() => {
                    let gateway = self.live.gateway();
                    self.look_at_all(Some(&gateway)).await;
                }
                Ok(()) = revocations.changed(), if next_look.is_none() => {
                    next_look = Some((last_look + BETWEEN_LOOKS).max(Instant::now()));
                }
                () = sleep_until(look), if next_look.is_some() => {
                    self.look_at_all(None).await;
                    (last_look, next_look) = (Instant::now(), None);
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

    fn look_at_due(self: &Arc<Self>) {
        let due = self.register().take_due(clock::now());
        for held in due {
            self.look_at(&held, None);
        }
    }

    async fn look_at_all(self: &Arc<Self>, gateway: Option<&Gateway>) {
        let entries = |entry: &Entry| entry.held.clone();
        let all: Vec<_> = self.register().streams.values().map(entries).collect();
        for batch in all.chunks(BATCH) {
            for held in batch {
                self.look_at(held, gateway);
            }
            tokio::task::yield_now().await;
        }
    }

    /// Ends a stream, asks an issuer about its token, or knows when to look again. `gateway`: the
    /// one in service, if it is another one than before.
    fn look_at(self: &Arc<Self>, held: &Arc<Held>, gateway: Option<&Gateway>) {
        match held.check(clock::now(), self.live.revocations(), gateway) {
            Err(cause) => held.end(cause),
            Ok(found) => {
                for question in found.questions {
                    tokio::spawn(self.clone().ask(held.clone(), question));
                }
                if self.register().schedule(held.id, found.look, found.due) {
                    self.earlier.notify_one();
                }
            }
        }
    }

    /// Asks the issuer of a stream's token about it again.
    async fn ask(self: Arc<Self>, held: Arc<Held>, question: Question) {
        let gateway = self.live.gateway();
        held.ask(question, &gateway).await;
        self.look_at(&held, None);
    }

    fn register(&self) -> MutexGuard<'_, Register> {
        self.register.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Register {
    /// Says when a stream is to be looked at; whether that is before all others. What a look has
    /// found that a later one has overtaken does not count.
    fn schedule(&mut self, id: u64, look: u64, due: Option<UnixTime>) -> bool {
        let Some(entry) = self.streams.get_mut(&id).filter(|entry| entry.look < look) else {
            return false;
        };
        entry.look = look;
        if let Some(before) = entry.due.take() {
            self.queue.remove(&(before, id));
        }
        entry.due = due.map(|due| whole_millis(due).saturating_add(1));
        let Some(due) = entry.due else { return false };
        self.queue.insert((due, id));
        self.queue.first() == Some(&(due, id))
    }

    /// The streams that are due.
    fn take_due(&mut self, now: UnixTime) -> Vec<Arc<Held>> {
        let next = whole_millis(now).saturating_add(1);
        let later = self.queue.split_off(&(next, 0));
        let due = std::mem::replace(&mut self.queue, later);
        let entries = due.into_iter().filter_map(|(_, id)| {
            let entry = self.streams.get_mut(&id)?;
            entry.due = None;
            Some(entry.held.clone())
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
