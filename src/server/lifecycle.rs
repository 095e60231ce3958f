//! The life of the process as others see it: when it serves and says so, who may take over from it,
//! and how it ends.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch, ShutdownWatch};
use tokio::signal::unix::SignalKind;
use tokio::sync::watch;

use super::drain::drain;
use super::handover::{self, HandoverDirectory, PendingTakeover, PidFile};
use super::self_check::SelfCheck;
use super::sockets::Sockets;
use super::{clock_steps, service_manager, signals};
use crate::gateway::Live;
use crate::telemetry::{LogWriter, audit, spans};

/// Time-out of one self-check at the start.
const FIRST_CHECK: Duration = Duration::from_millis(500);
/// After this long without a success, the process counts as serving all the same: the watchdog,
/// where there is one, decides.
const FIRST_CHECKS: Duration = Duration::from_secs(30);

/// The life of the process, and what its parts share.
pub(super) struct Lifecycle {
    pub(super) sockets: Arc<Sockets>,
    pub(super) directory: Option<HandoverDirectory>,
    /// Present from the start until this process serves, when it took over.
    pub(super) taken_over: Mutex<Option<PendingTakeover>>,
    pub(super) self_check: Option<SelfCheck>,
    /// Whether SIGINT, SIGTERM and SIGQUIT are listened for.
    pub(super) shutdown_signals: watch::Sender<bool>,
    /// Whether all other signals are.
    pub(super) other_signals: watch::Sender<bool>,
    /// Whether the process was told to stop: it is no longer ready.
    pub(super) stopping: Arc<AtomicBool>,
    /// How long it goes on serving after that.
    pub(super) shutdown_delay: Duration,
    /// Whether another process has taken over.
    pub(super) handed_over: AtomicBool,
    pub(super) in_flight: Arc<AtomicUsize>,
    pub(super) grace: Duration,
    pub(super) log: LogWriter,
    /// What the next process continues with: counts, and which upstreams are drained.
    pub(super) live: Arc<Live>,
}

impl Lifecycle {
    /// All of it, from the start to the end of the process.
    pub(super) async fn run(&self, shutdown: ShutdownWatch) {
        tokio::join!(
            signals::reopen_log(&self.log),
            handover::start_successor(),
            clock_steps::watch(),
            self.live_and_end(shutdown)
        );
    }

    /// Gives the listeners to the process that asks for them; whether it has them and serves.
    async fn hand_over(&self) -> bool {
        let Some(directory) = &self.directory else {
            log::error!(
                "hand-over: there is no directory to meet the new process in; this process goes on"
            );
            return false;
        };
        log::info!("hand-over: sending the listeners");
        match directory
            .hand_over(&self.sockets, &self.live.drained(), || {
                self.live.limiters().hand_over()
            })
            .await
        {
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
        let pid_file = Mutex::new(None);
        let life = async {
            *pid_file.lock().unwrap_or_else(PoisonError::into_inner) = self.announce().await;
            if let Some(self_check) = &self.self_check {
                service_manager::feed(self_check).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = life => {}
            _ = shutdown.wait_for(|stopping| *stopping) => {}
        }
        drop(pid_file);
        self.end().await;
    }

    /// Waits until this process serves, and tells everybody who waits for that.
    async fn announce(&self) -> Option<PidFile> {
        let _ = self
            .shutdown_signals
            .subscribe()
            .wait_for(|listening| *listening)
            .await;
        if let Some(self_check) = &self.self_check {
            let answers = async {
                // Right after a hand-over the question may reach the other process, which does not
                // know the answer.
                while !self_check.answers(FIRST_CHECK).await {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            if tokio::time::timeout(FIRST_CHECKS, answers).await.is_err() {
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
        service_manager::ready(took_over);
        let pid_file = self.write_pid_file(took_over);
        if let Some(taken_over) = taken_over {
            let limiters = self.live.limiters().clone();
            let confirmed = tokio::task::spawn_blocking(move || {
                let counts = taken_over.confirm()?;
                limiters.take_over(&counts);
                Ok::<_, std::io::Error>(())
            });
            if let Ok(Err(error)) = confirmed.await {
                log::warn!(
                    "the previous process had ended before it was told of this one: {error}"
                );
            }
        }
        if took_over {
            log::info!("took over");
        }
        pid_file
    }

    fn write_pid_file(&self, took_over: bool) -> Option<PidFile> {
        let directory = self.directory.as_ref()?;
        if let (false, Ok(Some(other))) = (took_over, directory.running_process()) {
            log::warn!(
                "no hand-over to a later process: process {} uses the same directory; give this \
                 one a proxy.id or a state_dir of its own",
                other.as_raw_nonzero()
            );
            return None;
        }
        directory
            .write_pid_file()
            .inspect_err(|error| log::warn!("no hand-over to a later process: {error}"))
            .ok()
    }

    /// Finishes what is in flight and ends the process.
    async fn end(&self) {
        let handed_over = self.handed_over.load(Ordering::Relaxed);
        if !handed_over {
            service_manager::stopping();
        }
        self.sockets.close();
        let in_flight = || self.in_flight.load(Ordering::Relaxed);
        log::info!("stopping: {} requests in flight", in_flight());
        match drain(in_flight, handed_over, self.grace).await {
            0 => log::info!("stopped"),
            cut => log::warn!("stopped: {cut} requests cut off"),
        }
        if let Some(tracer) = spans::tracer() {
            tracer.flush().await;
        }
        self.log.flush();
        audit::flush();
        std::process::exit(0);
    }
}

/// The signals that end the process, for Pingora.
pub(super) struct ShutdownSignals(pub(super) Arc<Lifecycle>);

#[async_trait]
impl ShutdownSignalWatch for ShutdownSignals {
    async fn recv(&self) -> ShutdownSignal {
        let kinds = [
            SignalKind::quit(),
            SignalKind::terminate(),
            SignalKind::interrupt(),
        ];
        let [Some(mut quit), Some(mut terminate), Some(mut interrupt)] = kinds.map(signals::listen)
        else {
            return ShutdownSignal::FastShutdown;
        };
        self.0.shutdown_signals.send_replace(true);
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => return ShutdownSignal::FastShutdown,
                _ = quit.recv() => {}
            }
            // Pingora's own hand-over would end this process also when it failed.
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => return ShutdownSignal::FastShutdown,
                handed_over = self.0.hand_over() => if handed_over {
                    self.0.handed_over.store(true, Ordering::Relaxed);
                    return ShutdownSignal::GracefulTerminate;
                },
            }
        }
        // Whoever sends requests here has to find out first: until then, none is refused.
        self.0.stopping.store(true, Ordering::Relaxed);
        let delay = self.0.shutdown_delay;
        if delay.is_zero() {
            return ShutdownSignal::GracefulTerminate;
        }
        let seconds = delay.as_secs();
        log::info!("stopping in {seconds} s; no longer ready");
        tokio::select! {
            () = tokio::time::sleep(delay) => ShutdownSignal::GracefulTerminate,
            _ = terminate.recv() => ShutdownSignal::FastShutdown,
            _ = interrupt.recv() => ShutdownSignal::FastShutdown,
        }
    }
}
