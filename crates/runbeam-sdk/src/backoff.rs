//! Pauses after failures. Each is drawn from its whole range, so that clients that failed at one
//! moment do not all come back at one moment.

use std::time::Duration;

use fastrand::Rng;

/// A `Retry-After` up to this long is stretched by up to as much again, a longer one by this.
const MAX_STRETCH: Duration = Duration::from_secs(300);

/// Exponential backoff with full jitter: the n-th pause in a row is anywhere from 0 to a bound that
/// doubles. What the other side asks for (`Retry-After`) passes in full first.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    min_stretch: Duration,
    failures: u32,
}

impl Backoff {
    /// The first pause is `first` in the mean; none is longer than `max`, unless the other side
    /// asks for that.
    pub fn new(first: Duration, max: Duration) -> Self {
        Self {
            first,
            max,
            min_stretch: Duration::ZERO,
            failures: 0,
        }
    }

    /// Stretches what the other side asks for by up to this much at least. Default 0.
    #[must_use]
    pub fn with_min_stretch(self, min_stretch: Duration) -> Self {
        Self {
            min_stretch,
            ..self
        }
    }

    /// The pause after one more failure. All of `retry_after` passes first. What follows is
    /// anywhere up to as long again (at most five minutes), and no shorter than what would follow
    /// anyway.
    pub fn after_failure(&mut self, retry_after: Option<Duration>, random: &mut Rng) -> Duration {
        self.after_failure_not_before(Duration::ZERO, retry_after, random)
    }

    /// The same, but not within `earliest` from now, unless that is more than half of the range
    /// that the pause is drawn from: then not within that half.
    pub fn after_failure_not_before(
        &mut self,
        earliest: Duration,
        retry_after: Option<Duration>,
        random: &mut Rng,
    ) -> Duration {
        self.failures = self.failures.saturating_add(1).min(31);
        let mut range = self.first.saturating_mul(1 << self.failures).min(self.max);
        if let Some(asked) = retry_after {
            range = range.max(asked.min(MAX_STRETCH)).max(self.min_stretch);
        }
        let asked = retry_after.unwrap_or_default();
        between(
            asked.max(earliest.min(range / 2)),
            asked.saturating_add(range),
            random,
        )
    }

    /// Forgets the failures, after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A pause anywhere between the two.
pub fn between(min: Duration, max: Duration, random: &mut Rng) -> Duration {
    min + max.saturating_sub(min).mul_f64(random.f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Asserts that many pauses are spread evenly from `from` to `to` seconds.
    #[track_caller]
    fn assert_spread(mut draw: impl FnMut(&mut Rng) -> Duration, from: f64, to: f64) {
        let mut random = Rng::with_seed(1);
        let pauses: Vec<f64> = (0..20_000)
            .map(|_| draw(&mut random).as_secs_f64())
            .collect();
        let least = pauses.iter().copied().fold(f64::INFINITY, f64::min);
        let most = pauses.iter().copied().fold(0.0, f64::max);
        let mean = pauses.iter().sum::<f64>() / 20_000.0;
        let width = to - from;
        assert!(least >= from && least < from + width / 100.0, "{least}");
        assert!(most <= to && most > to - width / 100.0, "{most}");
        assert!((mean - (from + to) / 2.0).abs() < width / 50.0, "{mean}");
    }

    #[test]
    fn pauses_double_up_to_a_bound_and_start_over_after_a_success() {
        for (failures, range) in [(1, 60.0), (2, 120.0), (3, 240.0), (4, 300.0), (40, 300.0)] {
            let failed = |random: &mut Rng| {
                let mut backoff = Backoff::new(seconds(30), seconds(300));
                for _ in 1..failures {
                    backoff.after_failure(None, random);
                }
                backoff.after_failure(None, random)
            };
            assert_spread(failed, 0.0, range);
        }
        let reset = |random: &mut Rng| {
            let mut backoff = Backoff::new(seconds(30), seconds(300));
            for _ in 0..9 {
                backoff.after_failure(None, random);
            }
            backoff.reset();
            backoff.after_failure(None, random)
        };
        assert_spread(reset, 0.0, 60.0);
    }

    #[test]
    fn what_the_other_side_asks_for_is_stretched_and_never_cut() {
        for (asked, from, to) in [(1, 1.0, 11.0), (60, 60.0, 120.0), (3600, 3600.0, 3900.0)] {
            let pause = |random: &mut Rng| {
                Backoff::new(seconds(5), seconds(300)).after_failure(Some(seconds(asked)), random)
            };
            assert_spread(pause, from, to);
            let stretched = |random: &mut Rng| {
                Backoff::new(seconds(5), seconds(300))
                    .with_min_stretch(seconds(600))
                    .after_failure(Some(seconds(asked)), random)
            };
            assert_spread(stretched, from, from + 600.0);
        }
    }

    #[test]
    fn an_earliest_moment_takes_at_most_half_of_the_range() {
        for (earliest, from) in [(4, 4.0), (5, 5.0), (100, 5.0)] {
            let pause = |random: &mut Rng| {
                let mut backoff = Backoff::new(seconds(5), seconds(300));
                backoff.after_failure_not_before(seconds(earliest), None, random)
            };
            assert_spread(pause, from, 10.0);
        }
    }
}
