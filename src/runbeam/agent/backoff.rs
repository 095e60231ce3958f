//! How long to wait after a failure: longer each time, with jitter, never for ever.

use std::time::Duration;

/// Grows from `first` to `most`, doubling.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    pub(super) fn new(first: Duration, most: Duration) -> Self {
        Self {
            first: first.min(most),
            most,
            failures: 0,
        }
    }

    /// The pause after one more failure; at least what the other side asked for.
    pub(super) fn after_failure(&mut self, asked: Option<Duration>) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1).min(31);
        let pause = self.first.saturating_mul(factor).min(self.most);
        jittered(pause).max(asked.unwrap_or_default())
    }

    /// After a success.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// The same, give or take 10 %, so that many gateways do not ask at once.
pub(super) fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.9 + 0.2 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(pause: Duration, seconds: u64) -> bool {
        let seconds = Duration::from_secs(seconds);
        pause >= seconds.mul_f64(0.9) && pause <= seconds.mul_f64(1.1)
    }

    #[test]
    fn it_doubles_to_its_limit_and_begins_anew() {
        let mut backoff = Backoff::new(Duration::from_secs(5), Duration::from_secs(300));
        for expected in [5, 10, 20, 40, 80, 160, 300, 300] {
            let pause = backoff.after_failure(None);
            assert!(about(pause, expected), "{pause:?}, not {expected} s");
        }
        for _ in 0..100 {
            assert!(about(backoff.after_failure(None), 300));
        }
        backoff.reset();
        assert!(about(backoff.after_failure(None), 5));
    }

    #[test]
    fn the_other_side_may_ask_for_more_but_not_for_less() {
        let mut backoff = Backoff::new(Duration::from_secs(5), Duration::from_secs(300));
        let minute = Duration::from_secs(60);
        assert_eq!(backoff.after_failure(Some(minute)), minute);
        assert!(about(
            backoff.after_failure(Some(Duration::from_secs(1))),
            10
        ));
    }
}
