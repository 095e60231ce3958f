//! What holds for the steps of a pipeline as a chain: groups are whole, and their last step is the
//! last.
//!
//! A group is a run of authentication steps with `optional = true` and the authentication step
//! after them.

use crate::config::model::{Step, StepKind};
use crate::config::reader::Entry;

/// Reports groups that are split or end wrongly, at the place that lists the steps.
pub(crate) fn check(steps: &[Step], origin: &Entry<'_>) {
    let last_authenticating = steps.iter().rposition(|step| joining(step).is_some());
    let mut checked = false;
    for (index, step) in steps.iter().enumerate() {
        let Some((optional, on_failed)) = joining(step) else {
            continue;
        };
        checked |= !optional;
        let next = steps.get(index + 1);
        let open = optional && last_authenticating > Some(index);
        if let Some(next) = next.filter(|next| open && joining(next).is_none()) {
            let sentence = format!(
                "step {:?} splits the group that the optional step {:?} begins",
                next.name, step.name
            );
            origin.error_help(sentence, "put it before or after the whole group");
        }
        if on_failed && !open {
            let sentence = format!(
                "step {:?} is the last of its group and has fallback_on = \"failed\"",
                step.name
            );
            origin.error_help(sentence, "there is nothing to fall back on: remove it, or put another authentication step after it");
        }
    }
    if last_authenticating.is_some() && !checked {
        origin.warning(
            "every authentication step is optional: a request without any credential passes",
        );
    }
}

/// `optional` and `fallback_on = "failed"` of an authentication step.
fn joining(step: &Step) -> Option<(bool, bool)> {
    match &step.kind {
        StepKind::Jwt(step) => Some((step.optional, step.fallback_on_failed)),
        StepKind::Basic(step) => Some((step.optional, step.fallback_on_failed)),
        StepKind::ApiKey(step) => Some((step.optional, step.fallback_on_failed)),
        StepKind::MutualTls(step) => Some((step.optional, step.fallback_on_failed)),
        StepKind::Policies(_)
        | StepKind::PathFilter(_)
        | StepKind::LogDump(_)
        | StepKind::Passthru => None,
    }
}
