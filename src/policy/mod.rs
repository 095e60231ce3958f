//! Policies: what is known of a request in, pass or refusal out. Also the filter of paths, and the
//! record of a request in the log.
//!
//! Everything that a rule compares with was compiled when the configuration was read. What counts
//! across requests is in [`Limiters`], of which a process has one. Not here: who the request is
//! from (the auth room), and what the refused client is told (the proxy).

mod check;
mod cors;
mod denial;
mod expression;
mod facts;
mod field_name;
mod limits;
mod log_dump;
mod path_filter;
mod ruleset;
#[cfg(test)]
mod testing;

pub use cors::{Cors, RequestOrigin, preflighted_method};
pub use denial::{Denial, DeniedBy};
pub use facts::Facts;
pub use field_name::{is_ambiguous, reads_as};
pub use limits::{
    Budgets, ConcurrencyLimits, ConcurrencyPermits, Lease, LeaseRequest, Limit, Limiters,
    LimitersStatus, RateLimitFields, RateLimits, Requester, Verdict,
};
pub use log_dump::LogDump;
pub use path_filter::PathFilter;
pub use ruleset::{Finding, Ruleset};
