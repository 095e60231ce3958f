//! Listening for signals, and the one with the smallest task: SIGUSR1.
//!
//! SIGHUP reloads (`background.rs`), SIGINT, SIGTERM and SIGQUIT end the process or hand over
//! (`lifecycle.rs`), SIGUSR2 starts the next process (`handover/successor.rs`).

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::telemetry::{LogWriter, audit};

/// SIGUSR1: for a log file that was moved away.
pub(super) async fn reopen_log(log: &LogWriter) {
    let Some(mut signals) = listen(SignalKind::user_defined1()) else {
        return;
    };
    while signals.recv().await.is_some() {
        log.reopen();
        audit::reopen();
    }
}

/// `None`, and a line in the log: the system does not let us.
pub(super) fn listen(kind: SignalKind) -> Option<Signal> {
    signal(kind)
        .inspect_err(|error| {
            log::error!("cannot listen for signal {}: {error}", kind.as_raw_value())
        })
        .ok()
}
