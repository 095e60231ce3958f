//! Operation: how a process begins, hands over, reloads under a service manager, writes its log,
//! and ends.

mod by_hand;
mod handover;
mod load;
mod log;
mod notify;
mod reloads;
mod sockets;
mod stopping;
mod unit;

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::support::poll::eventually;

/// How long the end of a process may take on a busy machine.
const END: Duration = Duration::from_secs(60);

/// Waits for the end of a process.
#[track_caller]
fn ended(process: &mut Child) -> ExitStatus {
    eventually("the end of a process", END, || process.try_wait().expect("the status of a child"))
}

/// Whether a program is installed; says so if it is not, and the test may go.
fn has(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok();
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}
