//! How often, and how many at once: `rate_limit` and `concurrency_limit`.

mod budgets;
mod concurrency;
mod counts;
mod fields;
mod fleet;
mod leases;
mod limiters;
mod named;
mod rate_limits;
mod requester;
mod transfer;

pub use budgets::{Budgets, Lease, LeaseRequest};
pub use concurrency::{ConcurrencyLimits, ConcurrencyPermits};
pub use fields::RateLimitFields;
pub use limiters::{Limiters, LimitersStatus};
pub use named::Limit;
pub(in crate::policy) use named::Table;
pub use rate_limits::{RateLimits, Verdict};
pub use requester::Requester;
