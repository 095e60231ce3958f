//! The fault bench: what is around the edge breaks while requests go on, and each row tells what
//! that cost. `cargo test --test faults -- --show-output` prints the rows.
//!
//! A binary of its own, so that no other test is in the way of what it measures. What an answer
//! must be for one broken request is the matter of `tests/edge`; here it is what becomes of all the
//! others: requests lost, memory, the time until all is well again without a restart, and what the
//! operator sees meanwhile.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test that cannot go on should say where, and stop"
)]
#![allow(
    unreachable_pub,
    reason = "nothing of a test is public; `pub` marks what a module offers to the others"
)]

mod clock;
mod cloud;
mod descriptors;
mod disk;
mod issuer;
mod log;
mod memory;
mod row;
#[allow(
    dead_code,
    unused_imports,
    reason = "the harness of tests/edge; this bench needs a part of it"
)]
#[path = "../edge/support/mod.rs"]
mod support;
mod traffic;
mod upstream;
mod volume;

use std::process::{Command, Stdio};
use std::time::Duration;

/// How long anything may take on a busy machine.
const SOON: Duration = Duration::from_secs(40);

/// Whether this program with these arguments succeeds here; says what is missing if it does not,
/// and the test may go.
fn can(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let can = command.status().is_ok_and(|status| status.success());
    if !can {
        eprintln!("skipped: {program} {} is not possible here", arguments.join(" "));
    }
    can
}
