//! What the process does on each signal, but for SIGHUP, which is a reload: end at once (SIGINT),
//! drain and end (SIGTERM), give the listeners to the process that waits for them (SIGQUIT), start
//! such a process (SIGUSR2), open the log file anew (SIGUSR1).

use std::ffi::OsString;
use std::io;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::lifecycle::Lifecycle;
use crate::telemetry::LogWriter;

/// The option that makes a new process take over.
const UPGRADE: &str = "--upgrade";

/// What ends the process, for Pingora.
pub(super) struct Endings(pub(super) Arc<Lifecycle>);

#[async_trait]
impl ShutdownSignalWatch for Endings {
    async fn recv(&self) -> ShutdownSignal {
        let signals = [
            SignalKind::quit(),
            SignalKind::terminate(),
            SignalKind::interrupt(),
        ];
        let [Some(mut quit), Some(mut terminate), Some(mut interrupt)] = signals.map(listen) else {
            return ShutdownSignal::FastShutdown;
        };
        self.0.armed.send_replace(true);
        loop {
            tokio::select! {
                _ = terminate.recv() => return ShutdownSignal::GracefulTerminate,
                _ = interrupt.recv() => return ShutdownSignal::FastShutdown,
                _ = quit.recv() => {}
            }
            // Pingora's own hand-over would end this process also when it failed.
            tokio::select! {
                _ = terminate.recv() => return ShutdownSignal::GracefulTerminate,
                _ = interrupt.recv() => return ShutdownSignal::FastShutdown,
                given = self.0.give() => if given {
                    self.0.given.store(true, Ordering::Relaxed);
                    return ShutdownSignal::GracefulTerminate;
                },
            }
        }
    }
}

/// SIGUSR1: for a log file that was moved away.
pub(super) async fn reopen_log(log: &LogWriter) {
    let Some(mut signals) = listen(SignalKind::user_defined1()) else {
        return;
    };
    while signals.recv().await.is_some() {
        log.reopen();
    }
}

/// SIGUSR2: starts the binary that now stands where this one was started from, which takes over.
pub(super) async fn start_successor() {
    let Some(mut signals) = listen(SignalKind::user_defined2()) else {
        return;
    };
    while signals.recv().await.is_some() {
        match spawn_successor() {
            Ok(child) => {
                log::info!("upgrade: process {} started", child.id());
                tokio::task::spawn_blocking(move || watch(child));
            }
            Err(error) => log::error!("upgrade: no new process: {error}; this one goes on"),
        }
    }
}

fn spawn_successor() -> io::Result<Child> {
    let mut arguments = std::env::args_os();
    let program = arguments.next().ok_or(io::ErrorKind::NotFound)?;
    let others = arguments.filter(|argument| *argument != *UPGRADE);
    let mut command = Command::new(program);
    command.args(others).arg(OsString::from(UPGRADE));
    // Meant for this process alone.
    for name in ["WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
        command.env_remove(name);
    }
    command.spawn()
}

/// Until one of the two ends.
fn watch(mut child: Child) {
    match child.wait() {
        Ok(status) if status.success() => {}
        Ok(status) => log::error!("upgrade: the new process ended: {status}; this one goes on"),
        Err(error) => log::error!("upgrade: the new process is out of sight: {error}"),
    }
}

pub(super) fn listen(kind: SignalKind) -> Option<Signal> {
    signal(kind)
        .inspect_err(|error| {
            log::error!(
                "signal {} cannot be listened for: {error}",
                kind.as_raw_value()
            )
        })
        .ok()
}
