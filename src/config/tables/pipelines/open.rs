//! Pipelines that let anyone pass: only where somebody wrote so, and never without a warning.
//!
//! A pipeline with a backend that says nothing about its steps is an error: whoever forgets a line
//! must not publish what is behind it. An endpoint that answers by itself has nothing behind it and
//! may stay silent.

use crate::config::model::{Pipeline, Step};
use crate::config::reader::{Entry, Named, Reader};
use crate::config::tables::middleware::Steps;

impl Pipeline {
    /// How a pipeline without authentication is open, as a remark in the log; `None` for one with,
    /// and for one with nothing behind it that could be protected.
    pub fn open(&self) -> Option<String> {
        if self.is_self_contained() || self.steps.iter().any(|step| step.authenticates()) {
            return None;
        }
        let restricting = self.steps.iter().filter(|step| step.restricts());
        let restricting: Vec<&str> = restricting.map(|step| &*step.name).collect();
        Some(match restricting.as_slice() {
            [] => "open: anyone may pass".to_owned(),
            names => format!(
                "open, no authentication: all that pass {}",
                names.join(", ")
            ),
        })
    }
}

/// Reports that nobody said which steps a request has to pass.
pub(crate) fn report_unsaid(reader: &Reader<'_>, key: &'static str, steps: &Steps<'_>) {
    let example = example(&steps.named);
    let mut help = format!(
        "list the steps that a request has to pass, like {key} = [{example:?}], or write {key} = \
         [] to let anyone pass"
    );
    if reader.span().cloud && steps.chain.is_some() {
        help += " (the main file's [[middleware]] does not reach what the cloud sends)";
    }
    reader.missing(key, &help);
}

/// A step of the file that authenticates.
fn example(named: &Named<Step>) -> &str {
    let found = named
        .iter()
        .find(|(_, step)| step.authenticates())
        .map(|(name, _)| name);
    found.unwrap_or("NAME")
}

/// Warns of an open pipeline where its steps are listed.
pub(crate) fn warn(pipeline: &Pipeline, origin: &Entry<'_>) {
    if let Some(open) = pipeline.open() {
        origin.warning(&format!("pipeline {:?} is {open}", pipeline.name));
    }
}
