//! Client connections, from accept to a request's bytes: connection limits and time-outs that
//! Pingora does not have, TLS handshakes, and strict framing of HTTP/1.
//!
//! [`GuardedApp`] serves each connection that a limiter admits. Its stream finds where each request
//! ends and whether its bytes are one, and tracks the [`ConnectionState`]; a sweep closes what
//! makes no progress. For that, a request takes no timer, no lock and no allocation but its head's.

mod body;
mod client_limits;
mod clock;
mod close_reason;
mod connection;
mod error_response;
mod eviction;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod guarded;
mod http1;
mod http2;
mod limiter;
mod limiters;
mod malformed;
mod proxy_header;
mod refusals;
mod state;
mod stream;
mod tls;
mod unread_bodies;

use std::time::Duration;

pub use body::{DrainLimits, drain_body};
pub use client_limits::{ClientLimits, InProgress};
pub use clock::Clock;
pub use close_reason::CloseReason;
pub use connection::{ActiveStream, Connection, StalledBody};
pub use error_response::error_response;
pub use guarded::GuardedApp;
pub use http1::{ChunkedBody, MAX_FIELDS, MAX_HEAD, first_head};
pub use http2::options as http2_options;
pub use limiters::ConnectionLimiters;
pub use malformed::{Malformed, UNREADABLE};
pub use refusals::refused_path;
pub use state::ConnectionState;
pub use unread_bodies::{UnreadBodies, UnreadBody};

/// How long a client may read nothing of its response, and send nothing of its body.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
