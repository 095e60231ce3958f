//! `Retry-After` (RFC 9110 section 10.2.3).

use std::time::Duration;

/// A wait in whole seconds, rounded up; at least 1.
pub(crate) fn retry_after(wait: Duration) -> u32 {
    let up = u64::from(wait.subsec_nanos() > 0);
    u32::try_from(wait.as_secs() + up)
        .unwrap_or(u32::MAX)
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_client_comes_back_too_early() {
        for (milliseconds, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (59_999, 60)] {
            let wait = Duration::from_millis(milliseconds);
            assert_eq!(retry_after(wait), seconds, "{wait:?}");
        }
        assert_eq!(retry_after(Duration::from_secs(1 << 40)), u32::MAX);
    }
}
