//! The proxy: Pingora's filters, thin. Route, authenticate, forward, log.
//!
//! Each filter translates between Pingora and the rooms that decide: [`crate::gateway`] knows where
//! a request belongs, [`crate::auth`] who it is from,
//! [`crate::policy`] whether it may pass. What may goes through `exchange`, between two sessions of Pingora's.

mod backlog;
mod body_rate;
mod client_limits;
mod connection;
mod cut;
mod explain;
mod forward;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod local;
mod malformed;
mod progress;
mod request;
mod service;

use std::time::Duration;

pub use client_limits::ClientLimits;
pub use connection::{Connection, Served};
pub use cut::Cut;
pub use explain::{End, Explanation};
pub use forward::health_checks::Checks;
pub use forward::pool::Connections;
pub use local::probe::Probe;
pub use malformed::Malformed;
pub use progress::{Clock, Limits, Phase, Progress, Spare};
pub use request::head::{MAX_FIELDS, MAX_HEAD};
pub use request::record::refused_path;
pub use service::Edge;

/// How long a client may take none of its answer, and send nothing of its body.
pub const PATIENCE: Duration = Duration::from_secs(60);
