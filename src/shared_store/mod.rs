//! What the nodes of a fleet share by way of Redis or Valkey: `[shared]`.
//!
//! A question has 20 ms. When the store is silent for that long again and again, cannot be reached,
//! or takes no writes, it counts as down: nobody asks it any more, every node goes on with what it
//! knows, and this module tries again until it is back. No request depends on the store.
//!
//! Each file holds one thing that is shared: `budgets` the counts of rate limits, `failures` those
//! of failed passwords, `proofs` the DPoP proofs that were used, `revocations` the list of
//! revocations. The rooms that own these know the store by their own traits.

mod budgets;
mod connection;
mod error;
mod failures;
mod proofs;
mod revocations;

use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use redis::{ErrorKind, RedisResult, cmd};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use crate::common::{Hex, sha256};
use crate::config::SharedStore as Settings;
use connection::{Connection, Connector};
use error::sanitized;

/// What a question may cost the request that waits for it.
pub const REQUEST_TIMEOUT: Duration = Duration::from_millis(20);
/// After so many questions in a row without an answer in time, the store is down.
const MAX_LATE_ANSWERS: u32 = 4;
/// How long an answer is waited for that comes too late for its request.
const LATE_ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the key stays, in milliseconds, that shows that the store takes writes.
const PROBE_TTL_MS: u32 = 5000;
/// How often a store that is up is asked whether it is, without other questions too.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// How often it is said that a store that is up refuses questions.
const REFUSAL_LOG_INTERVAL: Duration = Duration::from_secs(60);
/// How often one that is connected, and too slow, is asked again.
const SLOW_PROBE_INTERVAL: Duration = Duration::from_millis(250);
/// How long after a connection that failed the next one is tried.
const RECONNECT: Duration = Duration::from_secs(1);

/// The store of `[shared]`. A clone is the same.
#[derive(Debug, Clone)]
pub struct SharedStore(Arc<Store>);

struct Store {
    connector: Connector,
    key_prefix: String,
    connect_timeout: Duration,
    connection: ArcSwapOption<Connection>,
    up: AtomicBool,
    late_in_a_row: AtomicU32,
    /// Woken when the connection is to be looked at.
    probe_now: Notify,
    up_count: watch::Sender<u64>,
    last_error: Mutex<Option<String>>,
    /// Why the store has refused a question, until it is known whether it refuses all.
    refusal: Mutex<Option<String>>,
    questions: AtomicU64,
    late: AtomicU64,
}

/// How the store stands, for a status page or a metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedStoreStatus {
    /// Whether it is connected and answers in time.
    pub up: bool,
    /// Questions that were asked.
    pub questions: u64,
    /// Those that were not answered in time.
    pub late: u64,
    /// Why it is down, or was the last time, or refuses some questions.
    pub last_error: Option<String>,
}

impl SharedStore {
    /// One that is not connected yet: see [`Self::run`].
    ///
    /// # Errors
    ///
    /// Settings that cannot work.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let connector = Connector::new(settings).map_err(|error| sanitized(&error))?;
        Ok(Self(Arc::new(Store {
            connector,
            key_prefix: settings.key_prefix.clone(),
            connect_timeout: settings.connect_timeout,
            connection: ArcSwapOption::empty(),
            up: AtomicBool::new(false),
            late_in_a_row: AtomicU32::new(0),
            probe_now: Notify::new(),
            up_count: watch::Sender::new(0),
            last_error: Mutex::default(),
            refusal: Mutex::default(),
            questions: AtomicU64::new(0),
            late: AtomicU64::new(0),
        })))
    }

    /// Connects, and connects again, until `stopping`.
    pub async fn run(&self, mut stopping: watch::Receiver<bool>) {
        tokio::select! {
            () = self.keep_connected() => {}
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
    }

    /// Whether it is worth asking.
    pub fn is_up(&self) -> bool {
        self.0.up.load(Ordering::Relaxed)
    }

    /// How it stands.
    pub fn status(&self) -> SharedStoreStatus {
        SharedStoreStatus {
            up: self.is_up(),
            questions: self.0.questions.load(Ordering::Relaxed),
            late: self.0.late.load(Ordering::Relaxed),
            last_error: locked(&self.0.last_error).clone(),
        }
    }

    async fn keep_connected(&self) {
        loop {
            match self.0.connector.connect(self.0.connect_timeout).await {
                Ok(connection) => self.watch(connection).await,
                Err(error) => self.mark_down(&sanitized(&error)),
            }
            sleep(RECONNECT).await;
        }
    }

    /// Asks again and again whether a connection is well; returns when it is lost.
    async fn watch(&self, connection: Connection) {
        self.0.connection.store(Some(Arc::new(connection.clone())));
        let (mut unanswered, mut said) = (0, None::<Instant>);
        // What is full, or a replica, answers a PING.
        let mut probe = cmd("SET");
        probe.arg(format!("{}:up", self.0.key_prefix)).arg(1);
        probe.arg("PX").arg(PROBE_TTL_MS);
        while unanswered < MAX_LATE_ANSWERS {
            let mut connection = connection.clone();
            let refusal = locked(&self.0.refusal).take();
            let asked = Instant::now();
            let answer = probe.query_async::<()>(&mut connection);
            match timeout(LATE_ANSWER_TIMEOUT, answer).await {
                Ok(Ok(())) if asked.elapsed() <= REQUEST_TIMEOUT => {
                    unanswered = 0;
                    self.0.late_in_a_row.store(0, Ordering::Relaxed);
                    self.mark_up();
                }
                Ok(Ok(())) => {
                    unanswered = 0;
                    self.count_late_answer();
                }
                Ok(Err(error)) => {
                    self.mark_down(&sanitized(&error));
                    break;
                }
                Err(_) => {
                    unanswered += 1;
                    self.mark_down(&format!("no answer within {LATE_ANSWER_TIMEOUT:?}"));
                }
            }
            if self.is_up() {
                if let Some(why) = refusal {
                    if said.is_none_or(|said| said.elapsed() >= REFUSAL_LOG_INTERVAL) {
                        log::warn!("shared store: a command was refused: {why}");
                        said = Some(Instant::now());
                    }
                    *locked(&self.0.last_error) = Some(why);
                }
                let _ = timeout(PROBE_INTERVAL, self.0.probe_now.notified()).await;
            } else {
                sleep(SLOW_PROBE_INTERVAL).await;
            }
        }
        self.0.connection.store(None);
    }

    /// Asks, if the store is up. `None`: there is no answer.
    ///
    /// An answer that comes too late for a request is waited for all the same, since the store has
    /// acted on the question. No request waits here.
    async fn query<T, F>(&self, name: &str, question: impl FnOnce(Connection) -> F) -> Option<T>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let asked = Instant::now();
        let mut answer = pin!(question(self.connection()?));
        let answered = match timeout(REQUEST_TIMEOUT, answer.as_mut()).await {
            Ok(answered) => {
                self.0.late_in_a_row.store(0, Ordering::Relaxed);
                Some(answered)
            }
            Err(_) => {
                self.0.late.fetch_add(1, Ordering::Relaxed);
                self.count_late_answer();
                timeout(LATE_ANSWER_TIMEOUT, answer).await.ok()
            }
        };
        self.answered(name, asked, answered)
    }

    /// Asks what no request waits for. A page of changes may take longer than a request's question,
    /// and says nothing of how long those take.
    async fn query_in_background<T, F>(
        &self,
        name: &str,
        question: impl FnOnce(Connection) -> F,
    ) -> Option<T>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let asked = Instant::now();
        let answer = question(self.connection()?);
        self.answered(name, asked, timeout(LATE_ANSWER_TIMEOUT, answer).await.ok())
    }

    /// For one question. `None`: the store is down.
    fn connection(&self) -> Option<Connection> {
        let connection = self.0.connection.load();
        let connection = connection.as_deref().filter(|_| self.is_up())?;
        self.0.questions.fetch_add(1, Ordering::Relaxed);
        Some(connection.clone())
    }

    /// `None`: nothing was, for as long as it was waited for.
    fn answered<T>(
        &self,
        name: &str,
        asked: Instant,
        answered: Option<RedisResult<T>>,
    ) -> Option<T> {
        let after = asked.elapsed();
        match &answered {
            Some(Ok(_)) => log::debug!("shared store: {name}: answered after {after:?}"),
            Some(Err(error)) => {
                log::debug!(
                    "shared store: {name}: {}, after {after:?}",
                    sanitized(error)
                );
            }
            None => log::debug!("shared store: {name}: no answer after {after:?}"),
        }
        answered?
            .inspect_err(|error| {
                match error.kind() {
                    // The store is there; whether it refuses everything, the next look shows.
                    ErrorKind::Server(_) | ErrorKind::Extension => {
                        *locked(&self.0.refusal) = Some(sanitized(error));
                    }
                    _ => self.mark_down(&sanitized(error)),
                }
                self.0.probe_now.notify_one();
            })
            .ok()
    }

    fn count_late_answer(&self) {
        let late_in_a_row = self.0.late_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
        if late_in_a_row >= MAX_LATE_ANSWERS {
            self.mark_down(&format!(
                "{MAX_LATE_ANSWERS} answers in a row took longer than {REQUEST_TIMEOUT:?}"
            ));
            self.0.probe_now.notify_one();
        }
    }

    fn mark_up(&self) {
        if !self.0.up.swap(true, Ordering::Relaxed) {
            log::info!("shared store: connected");
            self.0.up_count.send_modify(|times| *times += 1);
        }
    }

    /// Says so once.
    fn mark_down(&self, why: &str) {
        let was_up = self.0.up.swap(false, Ordering::Relaxed);
        let mut error = locked(&self.0.last_error);
        if was_up || error.is_none() {
            log::warn!(
                "shared store is down: {why}; this node counts alone until the store is back"
            );
        }
        *error = Some(why.to_owned());
    }

    /// A key of the store: what it is of, and the hash of what it names, which may be a person.
    fn key(&self, kind: &str, of: &[u8]) -> String {
        let hash = sha256(&[of]);
        format!("{}:{kind}:{}", self.0.key_prefix, Hex(&hash[..16]))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("up", &self.up)
            .finish_non_exhaustive()
    }
}
