//! What the operator watches: the metrics, what is shipped to read them, and the status page in a
//! real browser.

mod exposition;
mod metrics;
mod page;
mod shipped;

use std::process::Command;

/// Whether a program is there. Where it is not, the test that needs it says so and ends.
fn has(program: &str, argument: &str) -> bool {
    let found = Command::new(program).arg(argument).output().is_ok();
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}
