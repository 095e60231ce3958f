//! What steps and rules in shadow would have refused.

use std::sync::Arc;

use super::label_counters::LabelCounters;

/// The counters of one step of a pipeline, and of its rules.
#[derive(Debug)]
pub struct ShadowMetrics {
    /// The step's name.
    pub step: Arc<str>,
    denials: LabelCounters,
}

impl ShadowMetrics {
    pub(super) fn new(step: Arc<str>) -> Self {
        Self {
            step,
            denials: LabelCounters::default(),
        }
    }

    /// Counts a request that it would have refused.
    pub fn count(&self, reason: &'static str) {
        self.denials.count(reason);
    }

    /// Requests that it would have refused, by reason.
    pub fn denials(&self) -> Vec<(&'static str, u64)> {
        self.denials.counts()
    }
}
