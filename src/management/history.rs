//! `GET /status/history`: samples of `/status` from the last two minutes, so that the status page
//! can show rates as soon as it opens.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use pingora::server::ShutdownWatch;
use serde_json::{Value, json};

use super::metrics::unix;
use super::response::ApiResponse;
use super::status::{backend_counts, counts, span_counts};
use crate::gateway::{BackendStatus, Live};
use crate::telemetry::{BOUNDS, LogWriter, audit};

const INTERVAL: Duration = Duration::from_secs(4);
const SAMPLES: usize = 31;

/// Samples of what is counted, the oldest first: each has a part of what `/status` has.
#[derive(Debug, Default)]
pub struct History(Mutex<VecDeque<Value>>);

impl History {
    /// Takes samples until the process is to end.
    pub async fn run(&self, live: &Live, log: &LogWriter, mut shutdown: ShutdownWatch) {
        let mut ticks = tokio::time::interval(INTERVAL);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.add(sample(live, log)),
                _ = shutdown.wait_for(|stopping| *stopping) => return,
            }
        }
    }

    pub(super) fn answer(&self) -> ApiResponse {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ApiResponse::ok(&json!({ "samples": *samples }))
    }

    fn add(&self, sample: Value) {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back(sample);
    }
}

fn sample(live: &Live, log: &LogWriter) -> Value {
    let gateway = live.gateway();
    let revocations = live.auth().revocations().status();
    let backends = BackendStatus::of(&gateway);
    let pipelines = gateway.pipelines().iter().map(|pipeline| {
        let own = backends
            .iter()
            .filter(|one| one.pipelines.contains(&pipeline.name));
        let mut object = counts(&pipeline.metrics);
        object["name"] = json!(&*pipeline.name);
        object["backends"] = own.map(backend_counts).collect();
        object
    });
    json!({
        "now": unix(SystemTime::now()),
        "started": unix(live.metrics().started),
        "in_flight": live.metrics().in_flight().load(Ordering::Relaxed),
        "duration_bounds": BOUNDS,
        "pipelines": pipelines.collect::<Vec<Value>>(),
        "unmatched": counts(live.metrics().unmatched()),
        "introspection": { "failed": live.auth().introspections().failed },
        "revocations": {
            "turned_away": revocations.turned_away,
            "failed": revocations.failed,
        },
        "spans": span_counts(),
        "log": { "dropped": log.dropped() + audit::dropped().unwrap_or(0) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_forgets_the_oldest() {
        let history = History::default();
        for number in 0..=SAMPLES {
            history.add(json!(number));
        }
        let samples = history.0.lock().unwrap();
        assert_eq!((samples.len(), &samples[0]), (SAMPLES, &json!(1)));
    }
}
