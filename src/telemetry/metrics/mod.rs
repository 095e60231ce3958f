//! What is counted of requests: by pipeline and by backend, for the life of the process.
//!
//! A pipeline gets its counters once, when a gateway is built, and a reload gives a pipeline of the
//! same name the same ones. A request then costs a few relaxed additions: no look-up by name, no
//! lock, no allocation. A pipeline that a reload removed takes its counters with it, once its last
//! request has ended.

mod histogram;
mod label_counters;
mod shadow;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use crate::common::WeakMap;
pub use histogram::{BOUNDS, Histogram, HistogramSnapshot};
use label_counters::LabelCounters;
pub use shadow::ShadowMetrics;

/// The codes that have a place of their own: 100 to 599.
const FIRST_CODE: u16 = 100;
const CODES: usize = 500;
/// Switching Protocols: such a request lasts as long as its WebSocket.
const UPGRADED: u16 = 101;

/// Every counter of the process.
#[derive(Debug)]
pub struct Metrics {
    /// When the process began, near enough.
    pub started: SystemTime,
    in_flight: Arc<AtomicUsize>,
    pipelines: WeakMap<Arc<str>, PipelineMetrics>,
    backends: WeakMap<Arc<str>, BackendMetrics>,
    networks: WeakMap<Arc<str>, NetworkMetrics>,
    unmatched: Arc<PipelineMetrics>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            started: SystemTime::now(),
            in_flight: Arc::default(),
            pipelines: WeakMap::default(),
            backends: WeakMap::default(),
            networks: WeakMap::default(),
            unmatched: Arc::new(PipelineMetrics::new("".into())),
        }
    }
}

impl Metrics {
    /// The counters of a pipeline; the same ones for as long as somebody holds them.
    pub fn pipeline(&self, name: &Arc<str>) -> Arc<PipelineMetrics> {
        counters(&self.pipelines, name, PipelineMetrics::new)
    }

    /// The counters of a backend; the same ones for as long as somebody holds them.
    pub fn backend(&self, name: &Arc<str>) -> Arc<BackendMetrics> {
        counters(&self.backends, name, BackendMetrics::new)
    }

    /// The counters of a network; the same ones for as long as somebody holds them.
    pub fn network(&self, name: &Arc<str>) -> Arc<NetworkMetrics> {
        counters(&self.networks, name, NetworkMetrics::new)
    }

    /// The counters of requests that belong to no pipeline.
    pub fn unmatched(&self) -> &PipelineMetrics {
        &self.unmatched
    }

    /// Requests that are being served.
    pub fn in_flight(&self) -> &Arc<AtomicUsize> {
        &self.in_flight
    }

    /// Every pipeline in use, by name; the one without a name, for requests that belong to none,
    /// comes first.
    pub fn pipelines(&self) -> Vec<Arc<PipelineMetrics>> {
        let mut all = self.pipelines.values();
        all.push(self.unmatched.clone());
        all.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// Every network, by name.
    pub fn networks(&self) -> Vec<Arc<NetworkMetrics>> {
        let mut all = self.networks.values();
        all.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// Every backend in use, by name.
    pub fn backends(&self) -> Vec<Arc<BackendMetrics>> {
        let mut all = self.backends.values();
        all.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        all
    }
}

/// The counters of this name.
fn counters<T>(
    known: &WeakMap<Arc<str>, T>,
    name: &Arc<str>,
    new: impl FnOnce(Arc<str>) -> T,
) -> Arc<T> {
    known.get_or_make(name.clone(), |name| Arc::new(new(name.clone())))
}

/// The counters of one pipeline. On cache lines of their own, so that two pipelines on two workers
/// do not slow each other down.
#[derive(Debug)]
#[repr(align(128))]
pub struct PipelineMetrics {
    /// The pipeline's name; empty for requests that belong to none.
    pub name: Arc<str>,
    duration: Histogram,
    gone: AtomicU64,
    codes: Box<[AtomicU64]>,
    refusals: LabelCounters,
    open_streams: AtomicUsize,
    ended_streams: LabelCounters,
    shadows: WeakMap<Arc<str>, ShadowMetrics>,
}

impl PipelineMetrics {
    fn new(name: Arc<str>) -> Self {
        Self {
            name,
            duration: Histogram::default(),
            gone: AtomicU64::new(0),
            codes: (0..CODES).map(|_| AtomicU64::new(0)).collect(),
            refusals: LabelCounters::default(),
            open_streams: AtomicUsize::new(0),
            ended_streams: LabelCounters::default(),
            shadows: WeakMap::default(),
        }
    }

    /// A response has begun that ends with the credential that let its request in.
    pub fn stream_opened(&self) {
        self.open_streams.fetch_add(1, Ordering::Relaxed);
    }

    /// It has ended, one way or another.
    pub fn stream_closed(&self) {
        self.open_streams.fetch_sub(1, Ordering::Relaxed);
    }

    /// Responses under way that end with a credential.
    pub fn open_streams(&self) -> usize {
        self.open_streams.load(Ordering::Relaxed)
    }

    /// Counts a response that is ended because a credential has.
    pub fn count_ended_stream(&self, cause: &'static str) {
        self.ended_streams.count(cause);
    }

    /// Those, by cause.
    pub fn ended_streams(&self) -> Vec<(&'static str, u64)> {
        self.ended_streams.counts()
    }

    /// The counters of a step in shadow; the same ones for as long as somebody holds them.
    pub fn shadow(&self, step: &Arc<str>) -> Arc<ShadowMetrics> {
        counters(&self.shadows, step, ShadowMetrics::new)
    }

    /// Every step in shadow, by name.
    pub fn shadows(&self) -> Vec<Arc<ShadowMetrics>> {
        let mut all = self.shadows.values();
        all.sort_unstable_by(|one, other| one.step.cmp(&other.step));
        all
    }

    /// Counts a request that has ended. `code`: what the client got; `None`: it was gone before.
    /// `reason`: why the request was refused or failed.
    pub fn count(&self, code: Option<u16>, duration: Duration, reason: Option<&'static str>) {
        let place =
            code.and_then(|code| self.codes.get(usize::from(code.wrapping_sub(FIRST_CODE))));
        place.unwrap_or(&self.gone).fetch_add(1, Ordering::Relaxed);
        if code != Some(UPGRADED) {
            self.duration.observe(duration);
        }
        if let Some(reason) = reason {
            self.refusals.count(reason);
        }
    }

    /// Requests by code, those that occurred. Code 0: the client was gone before it was answered.
    pub fn codes(&self) -> Vec<(u16, u64)> {
        let gone = (0, self.gone.load(Ordering::Relaxed));
        let codes =
            (FIRST_CODE..).zip(self.codes.iter().map(|count| count.load(Ordering::Relaxed)));
        std::iter::once(gone)
            .chain(codes)
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// How long requests took, upgraded connections left out.
    pub fn duration(&self) -> HistogramSnapshot {
        self.duration.snapshot()
    }

    /// Requests that were refused or failed, by reason.
    pub fn refusals(&self) -> Vec<(&'static str, u64)> {
        self.refusals.counts()
    }
}

/// The counters of one backend.
#[derive(Debug)]
pub struct BackendMetrics {
    /// From `[backends.NAME]`.
    pub name: Arc<str>,
    failures: LabelCounters,
}

impl BackendMetrics {
    fn new(name: Arc<str>) -> Self {
        Self {
            name,
            failures: LabelCounters::default(),
        }
    }

    /// Counts an attempt that failed.
    pub fn count_failure(&self, kind: &'static str) {
        self.failures.count(kind);
    }

    /// Attempts that failed, by kind.
    pub fn failures(&self) -> Vec<(&'static str, u64)> {
        self.failures.counts()
    }
}

/// The counters of one network.
#[derive(Debug)]
pub struct NetworkMetrics {
    /// From `[network.NAME]`.
    pub name: Arc<str>,
    /// Connections of clients that are open.
    pub open: AtomicUsize,
    closed: LabelCounters,
}

impl NetworkMetrics {
    /// Those of a network where nothing has happened.
    pub fn new(name: Arc<str>) -> Self {
        Self {
            name,
            open: AtomicUsize::new(0),
            closed: LabelCounters::default(),
        }
    }

    /// Counts a connection that was closed for a limit's sake.
    pub fn count_closed(&self, reason: &'static str) {
        self.closed.count(reason);
    }

    /// Connections that were, by reason.
    pub fn closed(&self) -> Vec<(&'static str, u64)> {
        self.closed.counts()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(metrics: &Metrics) -> Vec<String> {
        let names = metrics.pipelines();
        names.iter().map(|found| found.name.to_string()).collect()
    }

    #[test]
    fn counters_live_as_long_as_somebody_holds_them() {
        let metrics = Metrics::default();
        let before = metrics.pipeline(&"api".into());
        before.count(Some(200), Duration::ZERO, None);
        let after = metrics.pipeline(&"api".into());
        assert!(Arc::ptr_eq(&before, &after));
        drop(before);
        assert_eq!(
            (names(&metrics), after.codes()),
            (vec![String::new(), "api".to_owned()], vec![(200, 1)])
        );
        drop(after);
        assert_eq!(names(&metrics), [""]);
        assert!(metrics.pipeline(&"api".into()).codes().is_empty());
    }

    #[test]
    fn every_code_has_its_place() {
        let counters = PipelineMetrics::new("".into());
        for code in [
            None,
            Some(0),
            Some(99),
            Some(100),
            Some(101),
            Some(204),
            Some(599),
            Some(600),
            Some(u16::MAX),
        ] {
            counters.count(code, Duration::from_millis(3), None);
        }
        assert_eq!(
            counters.codes(),
            [(0, 5), (100, 1), (101, 1), (204, 1), (599, 1)]
        );
        assert_eq!(
            counters.duration().count(),
            8,
            "an upgraded connection has no duration"
        );
    }

    #[test]
    fn reasons_are_counted_apart() {
        let counters = PipelineMetrics::new("".into());
        for reason in ["expired", "missing", "expired"] {
            counters.count(Some(401), Duration::ZERO, Some(reason));
        }
        assert_eq!(counters.refusals(), [("expired", 2), ("missing", 1)]);
    }
}
