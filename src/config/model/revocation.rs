//! How much the list of revocations keeps, and for how long.

use std::time::Duration;

/// `[revocations]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevocationLimits {
    /// `keep_secs`: how long an entry about tokens is kept that does not say until when it counts.
    /// No token may live longer. Default 30 days.
    pub keep: Duration,
    /// `max_revocations`: how many entries are kept; further ones are refused. Default 100,000.
    pub max_entries: usize,
}

impl Default for RevocationLimits {
    fn default() -> Self {
        Self {
            keep: Duration::from_secs(30 * 86_400),
            max_entries: 100_000,
        }
    }
}
