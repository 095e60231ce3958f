//! The health of one upstream: what active checks found, how requests ended, and whether it is
//! ejected.
//!
//! The state of a request's path is in atomics; a lock is taken only when something failed or the
//! state changes, and for a status.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::health_status::{Availability, HealthState, HealthStatus};
use crate::config::{Ejection, HealthCheck};

/// The longest ejection of an upstream that keeps failing, unless the configured one is longer.
const MAX_EJECTION_TIME: Duration = Duration::from_secs(300);

/// The health of one upstream.
#[derive(Debug)]
pub struct Health {
    name: String,
    ejection: Ejection,
    check: Option<HealthCheck>,
    clock: Instant,
    /// What checks say, or that a request succeeded: [`HealthState::Unchecked`],
    /// [`HealthState::Healthy`] or [`HealthState::Unhealthy`].
    verdict: AtomicU8,
    /// When the ejection ends, in milliseconds since `clock`; 0: it is not ejected.
    ejected_until: AtomicU64,
    failed_in_a_row: AtomicU32,
    pub(super) in_flight: AtomicUsize,
    requests: AtomicU64,
    failures: AtomicU64,
    notes: Mutex<Notes>,
}

#[derive(Debug)]
struct Notes {
    since: SystemTime,
    last_error: Option<String>,
    /// Ejections that followed each other at once.
    ejections: u32,
    /// When the last ejection ended, in milliseconds since `clock`.
    returned_at: u64,
    checks: Checks,
}

/// Checks in a row that said the opposite of what holds.
#[derive(Debug, Default)]
struct Checks {
    passed: u32,
    failed: u32,
}

impl Health {
    /// Of an upstream that nothing is known of. `name` is for the log.
    pub fn new(name: impl Into<String>, ejection: Ejection, check: Option<HealthCheck>) -> Self {
        Self {
            name: name.into(),
            ejection,
            check,
            clock: Instant::now(),
            verdict: AtomicU8::new(HealthState::Unchecked as u8),
            ejected_until: AtomicU64::new(0),
            failed_in_a_row: AtomicU32::new(0),
            in_flight: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            notes: Mutex::new(Notes {
                since: SystemTime::now(),
                last_error: None,
                ejections: 0,
                returned_at: 0,
                checks: Checks::default(),
            }),
        }
    }

    /// How it is to be checked.
    pub fn check(&self) -> Option<&HealthCheck> {
        self.check.as_ref()
    }

    /// What there is to tell.
    pub fn status(&self) -> HealthStatus {
        let notes = self.notes();
        HealthStatus {
            state: self.state(),
            since: notes.since,
            last_error: notes.last_error.clone(),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
        }
    }

    /// How it stands.
    pub fn state(&self) -> HealthState {
        match self.verdict.load(Ordering::Relaxed) {
            verdict if verdict == HealthState::Unhealthy as u8 => HealthState::Unhealthy,
            _ if self.ejected_until.load(Ordering::Relaxed) != 0 => HealthState::Ejected,
            verdict if verdict == HealthState::Healthy as u8 => HealthState::Healthy,
            _ => HealthState::Unchecked,
        }
    }

    /// Takes the outcome of an active check in, and why it failed.
    pub fn record_check(&self, outcome: Result<(), String>) {
        let Some(check) = &self.check else { return };
        let mut notes = self.notes();
        let before = self.state();
        match outcome {
            Ok(()) => {
                notes.checks.failed = 0;
                notes.checks.passed = notes.checks.passed.saturating_add(1);
                let enough = match before {
                    HealthState::Unchecked => true,
                    HealthState::Healthy => false,
                    HealthState::Unhealthy | HealthState::Ejected => {
                        notes.checks.passed >= check.healthy_after
                    }
                };
                if enough {
                    self.verdict
                        .store(HealthState::Healthy as u8, Ordering::Relaxed);
                    self.end_ejection(&mut notes);
                    self.changed(&mut notes, before, "its checks succeed");
                }
            }
            Err(why) => {
                notes.checks.passed = 0;
                notes.checks.failed = notes.checks.failed.saturating_add(1);
                if notes.checks.failed >= check.unhealthy_after {
                    let verdict = HealthState::Unhealthy as u8;
                    self.verdict.store(verdict, Ordering::Relaxed);
                    self.changed(&mut notes, before, &format!("its checks fail: {why}"));
                }
                notes.last_error = Some(why);
            }
        }
    }

    /// Whether a request may go there.
    pub(super) fn availability(&self) -> Availability {
        if self.verdict.load(Ordering::Relaxed) == HealthState::Unhealthy as u8 {
            return Availability::Unavailable;
        }
        match self.ejected_until.load(Ordering::Relaxed) {
            0 => Availability::Available,
            until if self.now() >= until => Availability::TrialDue,
            _ => Availability::Unavailable,
        }
    }

    /// Claims the trial that is due. Only one of several who try gets it; if nothing comes of it,
    /// the next one is due after the same time.
    pub(super) fn claim_trial(&self) -> bool {
        let until = self.ejected_until.load(Ordering::Relaxed);
        let now = self.now();
        let next = now.saturating_add(millis(self.ejection.time)).max(1);
        until != 0
            && now >= until
            && self
                .ejected_until
                .compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// An attempt begins.
    pub(super) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// An attempt that was made while the upstream was in service, or `after_ejection`, was
    /// answered.
    pub(super) fn succeeded(&self, after_ejection: bool) {
        if self.failed_in_a_row.load(Ordering::Relaxed) != 0 {
            self.failed_in_a_row.store(0, Ordering::Relaxed);
        }
        let unchecked = self.verdict.load(Ordering::Relaxed) == HealthState::Unchecked as u8;
        let ejected = after_ejection && self.ejected_until.load(Ordering::Relaxed) != 0;
        if !unchecked && !ejected {
            return;
        }
        let mut notes = self.notes();
        let before = self.state();
        let (from, to) = (HealthState::Unchecked as u8, HealthState::Healthy as u8);
        // What a check has said meanwhile stands.
        let _ = self
            .verdict
            .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
        if ejected {
            self.end_ejection(&mut notes);
        }
        self.changed(&mut notes, before, "a request to it succeeded");
    }

    /// An attempt failed. `trial`: it was the one that tried an ejected upstream; `others`: whether
    /// another upstream can take the load.
    pub(super) fn failed(&self, why: &str, trial: bool, others: bool) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let mut notes = self.notes();
        let in_a_row = self
            .failed_in_a_row
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1);
        let ejected = self.ejected_until.load(Ordering::Relaxed) != 0;
        let enough = self.ejection.after != 0 && in_a_row >= self.ejection.after;
        notes.last_error = Some(why.to_owned());
        if trial && ejected {
            notes.ejections = notes.ejections.saturating_add(1);
            self.eject(&notes);
        } else if enough && others && !ejected {
            let before = self.state();
            let calm = self.now().saturating_sub(notes.returned_at);
            notes.ejections =
                if notes.ejections > 0 && calm <= millis(self.ejection_time(notes.ejections)) {
                    notes.ejections.saturating_add(1)
                } else {
                    1
                };
            notes.checks.passed = 0;
            let time = self.eject(&notes);
            let seconds = time.as_secs();
            let why = format!("for {seconds} s, {in_a_row} consecutive requests failed: {why}");
            self.changed(&mut notes, before, &why);
        }
    }

    /// How long the given ejection in a row lasts.
    fn ejection_time(&self, ejections: u32) -> Duration {
        let doubled = ejections.saturating_sub(1).min(16);
        let time = self.ejection.time.saturating_mul(1 << doubled);
        time.min(MAX_EJECTION_TIME.max(self.ejection.time))
    }

    fn eject(&self, notes: &Notes) -> Duration {
        let time = self.ejection_time(notes.ejections);
        let until = self.now().saturating_add(millis(time)).max(1);
        self.ejected_until.store(until, Ordering::Relaxed);
        time
    }

    fn end_ejection(&self, notes: &mut Notes) {
        if self.ejected_until.swap(0, Ordering::Relaxed) != 0 {
            self.failed_in_a_row.store(0, Ordering::Relaxed);
            notes.returned_at = self.now();
        }
    }

    /// Notes and logs a change of state; nothing if there is none.
    fn changed(&self, notes: &mut Notes, before: HealthState, why: &str) {
        let now = self.state();
        if now == before {
            return;
        }
        notes.since = SystemTime::now();
        let name = &self.name;
        match now {
            HealthState::Unhealthy | HealthState::Ejected => {
                log::warn!("upstream {name}: {}, {why}", now.as_str())
            }
            // That it works from the beginning is no news.
            _ if before == HealthState::Unchecked => log::debug!("upstream {name}: healthy, {why}"),
            _ => log::info!("upstream {name}: {} again, {why}", now.as_str()),
        }
    }

    fn now(&self) -> u64 {
        millis(self.clock.elapsed())
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
