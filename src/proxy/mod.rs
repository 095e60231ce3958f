//! The proxy: Pingora's filters, thin. Route, authenticate, forward, log.
//!
//! Each filter translates between Pingora and the rooms that decide: [`crate::gateway`] knows where
//! a request belongs, [`crate::auth`] who it is from,
//! [`crate::policy`] whether it may pass. What may goes through `exchange`, between two sessions of Pingora's.

mod body_rate;
mod explain;
mod forward;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod local;
mod request;
mod service;

pub use explain::{End, Explanation};
pub use forward::health_checks::Checks;
pub use forward::pool::Connections;
pub use local::probe::Probe;
pub use service::Edge;
