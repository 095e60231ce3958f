//! A latency histogram: fixed buckets, two additions for an observation.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets, in seconds; one more bucket takes what is above.
pub const BOUNDS: [f64; 15] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];
/// The same in microseconds: what is compared.
const BOUNDS_MICROS: [u64; 15] = [
    500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000,
];

/// Durations that were observed. Sum and buckets stand together.
#[derive(Debug, Default)]
pub struct Histogram {
    micros: AtomicU64,
    buckets: [AtomicU64; BOUNDS.len() + 1],
}

/// What a histogram held at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramSnapshot {
    /// The sum, in seconds.
    pub sum: f64,
    /// How many were at or below each of [`BOUNDS`]; and, last, all of them.
    pub cumulative: [u64; BOUNDS.len() + 1],
}

impl HistogramSnapshot {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.cumulative[BOUNDS.len()]
    }
}

impl Histogram {
    /// Adds a duration.
    pub fn observe(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MICROS.partition_point(|bound| *bound < micros);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// What it holds now.
    pub fn snapshot(&self) -> HistogramSnapshot {
        let mut total = 0;
        let cumulative = self.buckets.each_ref().map(|bucket| {
            total += bucket.load(Ordering::Relaxed);
            total
        });
        HistogramSnapshot {
            sum: Duration::from_micros(self.micros.load(Ordering::Relaxed)).as_secs_f64(),
            cumulative,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_are_the_same_in_both_units() {
        for (seconds, micros) in BOUNDS.into_iter().zip(BOUNDS_MICROS) {
            assert_eq!(
                Duration::from_secs_f64(seconds),
                Duration::from_micros(micros)
            );
        }
    }

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let histogram = Histogram::default();
        for micros in [0, 500, 501, 30_000_000, 30_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let observed = histogram.snapshot();
        assert_eq!(observed.cumulative[..3], [2, 3, 3]);
        assert_eq!(observed.cumulative[13..], [3, 4, 5]);
        assert_eq!((observed.count(), observed.sum), (5, 60.001_002));
    }
}
