//! What time it is, for claims: seconds since 1970, fractions included (RFC 7519 section 2,
//! NumericDate).

use std::time::{SystemTime, UNIX_EPOCH};

/// A moment in seconds since 1970.
pub type UnixTime = f64;

/// Now, by the system's clock. A clock that stands before 1970 is broken: then it is the end of
/// time, and every token has expired.
pub fn now() -> UnixTime {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(f64::INFINITY, |since| since.as_secs_f64())
}
