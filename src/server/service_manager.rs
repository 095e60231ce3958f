//! What a service manager is told (`sd_notify`), and its watchdog. Without one, nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;

use super::self_check::SelfCheck;

/// This process serves. `took_over`: it is another one than the manager knows as the main process.
pub(super) fn ready(took_over: bool) {
    let mut states = vec![NotifyState::Ready, NotifyState::Status("serving")];
    if took_over {
        states.insert(0, NotifyState::MainPid(std::process::id()));
    }
    send(&states);
}

/// A reload begins; [`ready`] or [`reloaded`] must follow.
pub(super) fn reloading() {
    let mut states = vec![NotifyState::Reloading];
    states.extend(NotifyState::monotonic_usec_now());
    send(&states);
}

/// The reload has ended, one way or the other.
pub(super) fn reloaded(status: &str) {
    // A line break would begin another state.
    let line = status.lines().next().unwrap_or_default();
    send(&[NotifyState::Ready, NotifyState::Status(line)]);
}

/// The process drains, and ends.
pub(super) fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// Feeds the watchdog while this process answers itself, for ever.
pub(super) async fn feed(self_check: &SelfCheck) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    let pause = (limit / 2).max(Duration::from_millis(10));
    let mut answered = true;
    loop {
        let before = std::mem::replace(&mut answered, self_check.answers(pause / 2).await);
        match (before, answered) {
            (_, true) => send(&[NotifyState::Watchdog]),
            (true, false) => {
                log::error!("this process does not answer itself: the watchdog is not fed")
            }
            (false, false) => {}
        }
        tokio::time::sleep(pause).await;
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("cannot notify the service manager: {error}");
    }
}
