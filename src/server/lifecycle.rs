//! The life of the process as others see it: when it serves and says so, who may take over from it,
//! and how it ends.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pingora::server::ShutdownWatch;
use tokio::sync::watch;

use super::drain::drain;
use super::handover::{Directory, Mark, TakenOver};
use super::self_check::SelfCheck;
use super::sockets::Sockets;
use super::{clock_steps, service_manager, signals};
use crate::telemetry::LogWriter;

/// How long one question to itself may take at the start.
const FIRST_ANSWER: Duration = Duration::from_millis(500);
/// After this long without one, it is taken to serve all the same: the watchdog, where there is
/// one, knows better.
const FIRST_ANSWERS: Duration = Duration::from_secs(30);

/// What the parts of the life share.
pub(super) struct Lifecycle {
    pub(super) sockets: Arc<Sockets>,
    pub(super) directory: Option<Directory>,
    /// Present from the start until this process serves, when it took over.
    pub(super) taken_over: Mutex<Option<TakenOver>>,
    pub(super) self_check: Option<SelfCheck>,
    /// Whether the signals that end the process are listened for.
    pub(super) armed: watch::Sender<bool>,
    /// Whether all other signals are.
    pub(super) listening: watch::Sender<bool>,
    /// Whether another process has the listeners now.
    pub(super) given: AtomicBool,
    pub(super) in_flight: Arc<AtomicUsize>,
    pub(super) grace: Duration,
    pub(super) log: LogWriter,
}

impl Lifecycle {
    /// All of it, from the start to the end of the process.
    pub(super) async fn run(&self, shutdown: ShutdownWatch) {
        tokio::join!(
            signals::reopen_log(&self.log),
            signals::start_successor(),
            clock_steps::watch(),
            self.live_and_end(shutdown)
        );
    }

    /// Gives the listeners to the process that asks for them; whether it has them and serves.
    pub(super) async fn give(&self) -> bool {
        let Some(directory) = &self.directory else {
            log::error!(
                "hand-over: there is no directory to meet the new process in; this process goes on"
            );
            return false;
        };
        log::info!("hand-over: sending the listeners");
        match directory.give(&self.sockets).await {
            Ok(()) => {
                log::info!("hand-over: the new process serves");
                true
            }
            Err(error) => {
                log::error!("hand-over failed, this process goes on: {error}");
                false
            }
        }
    }

    async fn live_and_end(&self, mut shutdown: ShutdownWatch) {
        let mark = Mutex::new(None);
        let life = async {
            *mark.lock().unwrap_or_else(PoisonError::into_inner) = self.announce().await;
            if let Some(self_check) = &self.self_check {
                service_manager::feed(self_check).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = life => {}
            _ = shutdown.wait_for(|stopping| *stopping) => {}
        }
        drop(mark);
        self.end().await;
    }

    /// Waits until this process serves, and tells everybody who waits for that.
    async fn announce(&self) -> Option<Mark> {
        let _ = self.armed.subscribe().wait_for(|armed| *armed).await;
        if let Some(self_check) = &self.self_check {
            let answers = async {
                // Right after a hand-over the question may reach the other process, which does not
                // know the answer.
                while !self_check.answers(FIRST_ANSWER).await {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            if tokio::time::timeout(FIRST_ANSWERS, answers).await.is_err() {
                log::error!("this process does not answer itself");
            }
        }
        let taken_over = self
            .taken_over
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let took_over = taken_over.is_some();
        // Before the word to the old process: the service manager must know this one when that one
        // ends.
        service_manager::ready("serving", took_over);
        let mark = self.mark(took_over);
        if let Some(Err(error)) = taken_over.map(TakenOver::confirm) {
            log::warn!("the process before was gone when it was told of this one: {error}");
        }
        if took_over {
            log::info!("took over");
        }
        mark
    }

    fn mark(&self, took_over: bool) -> Option<Mark> {
        let directory = self.directory.as_ref()?;
        if let (false, Ok(Some(other))) = (took_over, directory.marked()) {
            log::warn!(
                "no hand-over to a later process: process {} uses the same directory; give this \
                 one a proxy.id or a state_dir of its own",
                other.as_raw_nonzero()
            );
            return None;
        }
        directory
            .mark()
            .inspect_err(|error| log::warn!("no hand-over to a later process: {error}"))
            .ok()
    }

    /// Finishes what is in flight and ends the process.
    async fn end(&self) {
        let gave = self.given.load(Ordering::Relaxed);
        if !gave {
            service_manager::stopping();
        }
        self.sockets.close();
        let in_flight = || self.in_flight.load(Ordering::Relaxed);
        log::info!("stopping: {} requests in flight", in_flight());
        match drain(in_flight, gave, self.grace).await {
            0 => log::info!("stopped"),
            cut => log::warn!("stopped: {cut} requests cut off"),
        }
        self.log.flush();
        std::process::exit(0);
    }
}
