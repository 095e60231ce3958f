//! SIGUSR2: the process starts the one that takes over from it.

use std::ffi::OsString;
use std::io;
use std::process::{Child, Command};

use tokio::signal::unix::SignalKind;

use crate::server::signals::listen;

/// The option that makes a new process take over.
const UPGRADE: &str = "--upgrade";

/// Starts, at each SIGUSR2, the binary that now stands where this one was started from.
pub(in crate::server) async fn start_successor() {
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
        Err(error) => log::error!("upgrade: cannot watch the new process: {error}"),
    }
}
