//! What is counted, minute by minute, and how the end compares with the beginning.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::process::Process;

/// What the clients add to, and a minute's end takes from.
#[derive(Default)]
pub struct Record(Mutex<State>);

#[derive(Default)]
struct State {
    /// Microseconds of each small request that was answered well.
    small: Vec<u32>,
    requests: usize,
    failed: usize,
    excused: usize,
    /// How often each failure came, since the start.
    failures: BTreeMap<String, usize>,
    excuse_until: Option<Instant>,
}

/// One minute.
pub struct Sample {
    minute: usize,
    resident: f64,
    descriptors: usize,
    threads: usize,
    p50: u32,
    p99: u32,
    requests: usize,
    pub failed: usize,
    excused: usize,
}

impl Record {
    /// A request was answered as it should be; `small` ones are compared by their time.
    pub fn well(&self, small: bool, took: Duration) {
        let mut state = self.state();
        state.requests += 1;
        if small {
            state.small.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        }
    }

    /// It was not; `repeatable` ones should have been all the same.
    pub fn failed(&self, repeatable: bool, why: String) {
        let mut state = self.state();
        state.requests += 1;
        let excused = !repeatable && state.excuse_until.is_some_and(|until| Instant::now() < until);
        let why = if excused { format!("excused: {why}") } else { why };
        *(if excused { &mut state.excused } else { &mut state.failed }) += 1;
        *state.failures.entry(why).or_default() += 1;
    }

    /// An upstream is being started anew.
    pub fn excuse_until(&self, until: Instant) {
        self.state().excuse_until = Some(until);
    }

    pub fn take(&self, minute: usize, edge: &Process) -> anyhow::Result<Sample> {
        let (descriptors, threads) = edge.descriptors_and_threads()?;
        let resident = edge.resident()?;
        let mut state = self.state();
        let mut small = std::mem::take(&mut state.small);
        small.sort_unstable();
        let at = |percent: usize| {
            small
                .get((small.len() * percent / 100).min(small.len().saturating_sub(1)))
                .copied()
                .unwrap_or_default()
        };
        let take = std::mem::take::<usize>;
        let (requests, failed, excused) =
            (take(&mut state.requests), take(&mut state.failed), take(&mut state.excused));
        Ok(Sample {
            minute,
            resident,
            descriptors,
            threads,
            p50: at(50),
            p99: at(99),
            requests,
            failed,
            excused,
        })
    }

    pub fn print_failures(&self) {
        for (why, count) in &self.state().failures {
            println!("{count} times {why}");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sample {
    pub const HEAD: &str = "minute | memory MB | descriptors | threads | p50 µs | p99 µs | \
                            requests | failed | excused";
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { minute, resident, descriptors, threads, p50, p99, requests, failed, excused } =
            self;
        write!(
            f,
            "{minute:>6} | {resident:>9.1} | {descriptors:>11} | {threads:>7} | {p50:>6} | \
             {p99:>6} | {requests:>8} | {failed:>6} | {excused:>7}"
        )
    }
}

/// The second minute beside the last, and how memory went in between.
pub fn compare(samples: &[Sample]) {
    let [_, first, .., last] = samples else {
        return;
    };
    println!(
        "memory {:.1} -> {:.1} MB, descriptors {} -> {}, threads {} -> {}",
        first.resident,
        last.resident,
        first.descriptors,
        last.descriptors,
        first.threads,
        last.threads
    );
    println!(
        "p50 {} -> {} µs, p99 {} -> {} µs, for small requests on kept connections",
        first.p50, last.p50, first.p99, last.p99
    );
    // Least squares.
    let points: Vec<(f64, f64)> =
        samples.iter().skip(1).map(|sample| (sample.minute as f64, sample.resident)).collect();
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let slope = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum::<f64>()
        / points.iter().map(|point| (point.0 - x).powi(2)).sum::<f64>();
    println!("memory grows by {slope:.2} MB a minute after the first");
}
