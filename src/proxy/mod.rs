//! The proxy: a request, from its head to its access record.
//!
//! `service` has the phases in order. `request` says whether a request may pass and where it
//! belongs, `local` responds to it, or `forward` has an upstream do so.

mod app;
mod explain;
mod forward;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod local;
mod request;
mod service;
mod streams;

pub use app::App;
pub use explain::{End, Explanation};
pub use forward::{HealthChecks, UpstreamPool};
pub use local::probe::Probe;
pub use service::Edge;
pub use streams::OpenStreams;
