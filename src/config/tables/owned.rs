//! Local pipelines that are the cloud's to change: with `runbeam.cloud_owns_uploaded`, those that
//! an upload carried.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::model::Pipeline;
use crate::config::reader::Entry;

/// Local pipelines that are the cloud's to change.
#[derive(Default)]
pub(crate) struct OwnedPipelines {
    /// Each with the backends that the local files give it.
    pub(crate) backends: BTreeMap<Arc<str>, Vec<Arc<str>>>,
    /// Those that the cloud has changed, in tables that they use.
    pub(crate) changed: BTreeSet<Arc<str>>,
}

impl OwnedPipelines {
    /// Whether a local pipeline is the cloud's to change.
    pub(crate) fn contains(&self, pipeline: &str) -> bool {
        self.backends.contains_key(pipeline)
    }

    /// Whether a pipeline is the cloud's: it stands in one of its texts, or the cloud has changed
    /// something that it uses.
    pub(super) fn is_of_cloud(&self, pipeline: &Pipeline, entry: &Entry<'_>) -> bool {
        entry.span().cloud || self.changed.contains(&pipeline.name)
    }

    /// Whether the local files give a pipeline this backend.
    pub(super) fn has(&self, pipeline: &str, backend: &str) -> bool {
        let found = self.backends.get(pipeline);
        found.is_some_and(|backends| backends.iter().any(|known| &**known == backend))
    }
}
