//! What each step made of a request, for `explain` and for a log at `debug`. Every other request
//! runs the same code with the trace off, which costs a look at one pointer for each step.

use std::sync::Arc;

use super::outcome::Reason;

/// Takes down what a request meets on its way through the steps of its pipeline; or nothing.
#[derive(Debug, Default)]
pub struct Trace(Option<Box<Recording>>);

#[derive(Debug, Default)]
struct Recording {
    /// Whether the request is only explained: nothing is to come of it.
    explains: bool,
    entries: Vec<Entry>,
    /// What belongs to the next entry.
    details: Vec<String>,
}

/// What a request has met. Never a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A step.
    Step {
        /// Its name.
        name: Arc<str>,
        /// What it made of the request, in words.
        outcome: String,
        /// What it looked at on the way there.
        details: Vec<String>,
    },
    /// A rate limit.
    Limit {
        /// Policy and rule.
        name: Arc<str>,
        /// What room there was.
        outcome: String,
    },
}

impl Trace {
    /// One that takes everything down of a request that is only explained.
    pub fn for_explain() -> Self {
        let explains = true;
        Self(Some(Box::new(Recording {
            explains,
            ..Recording::default()
        })))
    }

    /// One that takes everything down of a request that is served.
    pub fn for_log() -> Self {
        Self(Some(Box::default()))
    }

    /// One that takes nothing down.
    pub fn off() -> Self {
        Self(None)
    }

    /// Whether the request is only explained: nothing is to come of it.
    pub fn is_explain(&self) -> bool {
        self.0.as_ref().is_some_and(|recording| recording.explains)
    }

    /// Whether anything is taken down.
    pub fn is_recording(&self) -> bool {
        self.0.is_some()
    }

    /// One that takes down the same, for what runs beside the request.
    pub(crate) fn same_kind(&self) -> Self {
        Self(self.0.as_ref().map(|recording| {
            Box::new(Recording {
                explains: recording.explains,
                ..Recording::default()
            })
        }))
    }

    /// A detail of the step that is running; of the whole request if none is.
    pub fn detail(&mut self, detail: impl FnOnce() -> String) {
        if let Some(recording) = &mut self.0 {
            recording.details.push(detail());
        }
    }

    /// A step has ended.
    pub fn step(&mut self, name: &Arc<str>, outcome: impl FnOnce() -> String) {
        if let Some(recording) = &mut self.0 {
            recording.entries.push(Entry::Step {
                name: name.clone(),
                outcome: outcome(),
                details: std::mem::take(&mut recording.details),
            });
        }
    }

    /// A step has rejected a credential; the details say why.
    pub(crate) fn rejected(&mut self, name: &Arc<str>, reason: Reason) {
        if let Some(recording) = &mut self.0 {
            let details = std::mem::take(&mut recording.details);
            let why = details.iter().map(|detail| format!(": {detail}"));
            let why: String = why.collect();
            self.step(name, || format!("rejected: {}{why}", reason.as_str()));
        }
    }

    /// A rate limit was looked at.
    pub fn limit(&mut self, name: &Arc<str>, outcome: impl FnOnce() -> String) {
        if let Some(recording) = &mut self.0 {
            recording.entries.push(Entry::Limit {
                name: name.clone(),
                outcome: outcome(),
            });
        }
    }

    /// What was taken down, in its order, and the details of the whole request.
    pub fn finish(self) -> (Vec<Entry>, Vec<String>) {
        let Recording {
            entries, details, ..
        } = self.0.map(|it| *it).unwrap_or_default();
        (entries, details)
    }
}
