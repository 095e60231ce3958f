//! Policies: what is known of a request in, pass or refusal out. Also the filter of paths, and the
//! record of a request in the log.
//!
//! Everything that a rule compares with was compiled when the configuration was read. What counts
//! across requests is in [`Limiters`], of which a process has one. Not here: who the request is
//! from (the auth room), and what the refused client is told (the proxy).

mod check;
mod dump;
mod facts;
mod field_name;
mod limiter;
mod limits;
mod ruleset;
#[cfg(test)]
mod testing;

pub use check::counted;
pub use dump::Dump;
pub use facts::Facts;
pub use field_name::{is_ambiguous, reads_as};
pub use limiter::Limiters;
pub use limits::{Limits, Room};
pub use ruleset::{Denied, Filter, Finding, Refused, Ruleset};
