//! What stands between Pingora's accept and the application: limits on connections that Pingora has
//! none for, and what an HTTP/1 connection carries that is no request.
//!
//! A head has ten seconds however it trickles, an idle connection a minute, a listener a number of
//! connections. Of a request, the stream sees where it ends and whether its bytes are one; the
//! application of what it makes of it, and a sweeper ends what makes no headway. A request costs no
//! timer, no lock and no allocation.

mod backlog;
mod client_limits;
mod close_reason;
mod connection;
mod error_response;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod guarded;
mod http1;
mod http2;
mod limiter;
mod limiters;
mod malformed;
mod refusals;
mod state;
mod stream;
mod tls;

use std::time::Duration;

pub use backlog::{Backlog, Hold};
pub use client_limits::{ClientLimits, InProgress};
pub use close_reason::Cut;
pub use connection::{Connection, Served, Stalled};
pub use error_response::answer;
pub use guarded::Guarded;
pub use http1::{MAX_FIELDS, MAX_HEAD, first_head};
pub use http2::options as http2_options;
pub use limiters::Gates;
pub use malformed::{Malformed, UNREADABLE};
pub use refusals::refused_path;
pub use state::{Clock, Progress};

/// How long a client may take none of its answer, and send nothing of its body.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
