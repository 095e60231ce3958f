//! One row of the bench: a fault, watched from before it begins until all is well again, and then
//! judged and printed.

use std::time::{Duration, Instant};

use crate::SOON;
use crate::support::{Edge, eventually};
use crate::traffic::Traffic;

/// A row under way.
pub struct Row<'a> {
    fault: String,
    edge: &'a Edge,
    traffic: Traffic,
    resident: u64,
    /// How much of the log is from before.
    log: usize,
    recovery: Duration,
    seen: Vec<String>,
}

impl<'a> Row<'a> {
    /// Begins before the fault does, with requests that go on until [`Self::end`].
    pub fn begin(fault: &str, edge: &'a Edge, traffic: Traffic) -> Self {
        traffic.await_requests(20);
        edge.forget_peak();
        Self {
            fault: fault.to_owned(),
            edge,
            traffic,
            resident: edge.resident_mib(),
            log: edge.log().len(),
            recovery: Duration::ZERO,
            seen: Vec::new(),
        }
    }

    /// Waits for a line in the log that was not there when the row began, and holds all these
    /// words.
    #[track_caller]
    pub fn sees_line(&mut self, words: &[&str]) {
        let line = eventually(&format!("{}: a line with {words:?}", self.fault), SOON, || {
            self.line(words)
        });
        self.seen
            .push(line.split_once(' ').map_or(line.clone(), |(_, rest)| rest.trim().to_owned()));
    }

    /// How many such lines there are.
    pub fn lines(&self, words: &[&str]) -> usize {
        self.new_log().lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
    }

    /// Waits until the metric, named with its labels as far as they matter, has a value that will
    /// do.
    #[track_caller]
    pub fn sees_metric(&mut self, name: &str, will_do: impl Fn(f64) -> bool) {
        let found = eventually(&format!("{}: {name}", self.fault), SOON, || {
            metric(self.edge, name).filter(|(_, value)| will_do(*value))
        });
        self.seen.push(format!("{} {}", found.0, found.1));
    }

    pub fn sees(&mut self, what: impl Into<String>) {
        self.seen.push(what.into());
    }

    /// The fault has just ended: waits until `well`, and takes the time.
    #[track_caller]
    pub fn recovers(&mut self, mut well: impl FnMut() -> bool) {
        let ended = Instant::now();
        eventually(&format!("{}: recovery", self.fault), SOON, || well().then_some(()));
        self.recovery = ended.elapsed();
    }

    /// Prints the row and fails if requests were lost or admitted wrongly, or if memory grew by
    /// more than this.
    #[track_caller]
    pub fn end(self, growth_mib: u64) {
        self.end_with_losses(growth_mib, 0);
    }

    /// The same, where so many requests may be lost.
    #[track_caller]
    pub fn end_with_losses(self, growth_mib: u64, losses: usize) {
        let peak = self.edge.peak_mib();
        let Self { fault, resident, recovery, seen, traffic, .. } = self;
        let outcome = traffic.stop();
        println!(
            "{fault:<44} | {:>5} requests, {} lost, {} admitted wrongly | {resident:>3} MiB, at \
             most {peak:>3} | well again after {:.1} s",
            outcome.requests,
            outcome.lost.len(),
            outcome.admitted,
            recovery.as_secs_f64()
        );
        seen.iter().for_each(|line| println!("    {line}"));
        assert!(outcome.lost.len() <= losses, "{fault}: requests lost: {:?}", outcome.lost);
        assert_eq!(outcome.admitted, 0, "{fault}: requests that should not have been admitted");
        assert!(peak <= resident + growth_mib, "{fault}: from {resident} to {peak} MiB");
    }

    fn line(&self, words: &[&str]) -> Option<String> {
        self.new_log()
            .lines()
            .find(|line| words.iter().all(|word| line.contains(word)))
            .map(str::to_owned)
    }

    fn new_log(&self) -> String {
        self.edge.log().get(self.log..).unwrap_or_default().to_owned()
    }
}

/// The first sample that begins with `name` (`metric`, `metric{label="value"`), and its value.
pub fn metric(edge: &Edge, name: &str) -> Option<(String, f64)> {
    let text = edge.manage("/metrics").send().text();
    let line = text.lines().find(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ', ',', '}']))
    })?;
    let (sample, value) = line.rsplit_once(' ')?;
    Some((sample.to_owned(), value.parse().ok()?))
}
