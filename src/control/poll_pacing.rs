//! When the cloud is polled. Every pause is drawn from its whole range, so that a fleet of gateways
//! that was stopped, refused or started at one moment does not poll at one moment.

use std::time::Duration;

use fastrand::Rng;

use runbeam_sdk::{Backoff, between};

/// When one gateway polls. `now` is the time since its first pause began.
#[derive(Debug)]
pub(super) struct PollPacing {
    interval: Duration,
    /// The first poll falls into this time, and no second one: otherwise the second polls of
    /// gateways that start together would come on top of the last of their first ones.
    initial_spread: Duration,
    failures: Backoff,
}

impl PollPacing {
    /// `at_once`: a command waits for the first poll.
    pub(super) fn new(interval: Duration, failures: Backoff, at_once: bool) -> Self {
        let initial_spread = if at_once { Duration::ZERO } else { interval };
        Self {
            interval,
            initial_spread,
            // Gateways that are told the same at one moment come back over two intervals at least.
            failures: failures.with_min_stretch(interval.saturating_mul(2)),
        }
    }

    /// The pause before the first poll: anywhere in the interval.
    pub(super) fn first(&self, random: &mut Rng) -> Duration {
        between(Duration::ZERO, self.initial_spread, random)
    }

    /// The pause after a poll that succeeded: from 0 to twice the interval.
    pub(super) fn after_success(&mut self, now: Duration, random: &mut Rng) -> Duration {
        self.failures.reset();
        let least = self.initial_spread.saturating_sub(now);
        between(least, self.interval.saturating_mul(2), random)
    }

    /// The pause after a poll that failed: all of `retry_after`, and more.
    pub(super) fn after_failure(
        &mut self,
        retry_after: Option<Duration>,
        now: Duration,
        random: &mut Rng,
    ) -> Duration {
        let earliest = self.initial_spread.saturating_sub(now);
        self.failures
            .after_failure_not_before(earliest, retry_after, random)
    }

    /// Forgets the failures, for another token.
    pub(super) fn reset(&mut self) {
        self.failures.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: usize = 1000;
    const INTERVAL: Duration = Duration::from_secs(30);
    /// Long after the beginning.
    const LATER: Duration = Duration::from_secs(3600);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// As the agent makes one.
    fn pacing(at_once: bool) -> PollPacing {
        PollPacing::new(INTERVAL, Backoff::new(INTERVAL, seconds(300)), at_once)
    }

    /// Least, mean and most of many pauses, in seconds.
    fn drawn(mut draw: impl FnMut(&mut Rng) -> Duration) -> (f64, f64, f64) {
        let mut random = Rng::with_seed(1);
        let pauses: Vec<f64> = (0..20_000)
            .map(|_| draw(&mut random).as_secs_f64())
            .collect();
        let sum: f64 = pauses.iter().sum();
        let least = pauses.iter().copied().fold(f64::INFINITY, f64::min);
        let most = pauses.iter().copied().fold(0.0, f64::max);
        (least, sum / 20_000.0, most)
    }

    #[track_caller]
    fn assert_spread((least, mean, most): (f64, f64, f64), from: f64, to: f64) {
        let width = to - from;
        assert!(least >= from && least < from + width / 100.0, "{least}");
        assert!(most <= to && most > to - width / 100.0, "{most}");
        assert!((mean - (from + to) / 2.0).abs() < width / 50.0, "{mean}");
    }

    #[test]
    fn pauses_are_drawn_from_their_whole_range() {
        let steady = |random: &mut Rng| pacing(false).after_success(LATER, random);
        assert_spread(drawn(steady), 0.0, 60.0);
        assert_spread(drawn(|random| pacing(false).first(random)), 0.0, 30.0);
        assert_eq!(drawn(|random| pacing(true).first(random)).2, 0.0);
        for (failures, bound) in [(1, 60.0), (2, 120.0), (3, 240.0), (4, 300.0), (40, 300.0)] {
            let failed = |random: &mut Rng| {
                let mut pacing = pacing(false);
                for _ in 1..failures {
                    pacing.after_failure(None, LATER, random);
                }
                pacing.after_failure(None, LATER, random)
            };
            assert_spread(drawn(failed), 0.0, bound);
        }
    }

    #[test]
    fn a_success_begins_anew() {
        let after = |random: &mut Rng| {
            let mut pacing = pacing(false);
            for _ in 0..9 {
                pacing.after_failure(None, LATER, random);
            }
            pacing.after_success(LATER, random);
            pacing.after_failure(None, LATER, random)
        };
        assert_spread(drawn(after), 0.0, 60.0);
    }

    /// What a cloud answers at a time; `None`: all is well.
    type Answer = fn(f64) -> Option<Option<Duration>>;

    /// How many of a thousand gateways, which all begin at 0, ask in each second.
    fn fleet(seed: u64, until: f64, answer: Answer) -> Vec<u32> {
        let mut random = Rng::with_seed(seed);
        let mut asked = vec![0; until as usize + 1];
        for _ in 0..NODES {
            let mut pacing = pacing(false);
            let mut now = pacing.first(&mut random).as_secs_f64();
            while now < until {
                asked[now as usize] += 1;
                let since = Duration::from_secs_f64(now);
                let pause = match answer(now) {
                    None => pacing.after_success(since, &mut random),
                    Some(retry_after) => pacing.after_failure(retry_after, since, &mut random),
                };
                now += pause.as_secs_f64();
            }
        }
        asked
    }

    const STEADY: f64 = NODES as f64 / 30.0;

    #[track_caller]
    fn assert_calm(asked: &[u32], what: &str) {
        let busiest = asked.iter().max().copied().unwrap_or_default();
        assert!(
            f64::from(busiest) <= 2.0 * STEADY,
            "{what}: {busiest} in the busiest second"
        );
    }

    #[test]
    fn a_fleet_never_comes_in_one_second() {
        for seed in 0..20 {
            let steady = fleet(seed, 1000.0, |_| None);
            assert_calm(&steady, "after a start of all at once");
            let mean = f64::from(steady[100..].iter().sum::<u32>()) / 901.0;
            assert!((mean - STEADY).abs() < STEADY / 20.0, "{mean} a second");
            let outage = fleet(seed, 4600.0, |now| (now < 3600.0).then_some(None));
            assert_calm(&outage, "in an outage of an hour and after it");
            let told = fleet(seed, 1000.0, |now| {
                (300.0..330.0).contains(&now).then_some(Some(seconds(60)))
            });
            assert_calm(&told, "after Retry-After: 60 to all");
        }
    }

    #[test]
    fn a_fleet_that_is_told_to_wait_at_one_moment_comes_back_over_many() {
        for seed in 0..20 {
            let mut random = Rng::with_seed(seed);
            let mut back = vec![0; 200];
            for _ in 0..NODES {
                let mut pacing = pacing(false);
                let pause = pacing.after_failure(Some(seconds(60)), LATER, &mut random);
                let pause = pause.as_secs_f64();
                assert!(pause >= 60.0);
                back[pause as usize] += 1;
                let mut now = pause;
                while now < 199.0 {
                    let seconds = Duration::from_secs_f64(3600.0 + now);
                    now += pacing.after_success(seconds, &mut random).as_secs_f64();
                    if now < 199.0 {
                        back[now as usize] += 1;
                    }
                }
            }
            assert_calm(&back, "told at one moment");
        }
    }
}
