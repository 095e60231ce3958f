//! What holds for the steps of a pipeline as a chain: groups are whole, and their last step is the
//! last.
//!
//! A group is a run of authentication steps with `optional = true` and the authentication step
//! after them. Steps in shadow count as not there.

use crate::config::model::Step;
use crate::config::reader::Entry;

/// Reports groups that are split or end wrongly, at the place that lists the steps.
pub(crate) fn check(steps: &[Step], origin: &Entry<'_>) {
    let steps: Vec<&Step> = steps.iter().filter(|step| step.enforce).collect();
    let last_authenticating = steps.iter().rposition(|step| step.authenticates());
    let mut checked = false;
    for (index, step) in steps.iter().enumerate() {
        let Some(auth) = step.kind.auth() else {
            continue;
        };
        checked |= !auth.optional;
        let next = steps.get(index + 1);
        let open = auth.optional && last_authenticating > Some(index);
        if let Some(next) = next.filter(|next| open && !next.authenticates()) {
            let sentence = format!(
                "step {:?} splits the group that the optional step {:?} begins",
                next.name, step.name
            );
            origin.error_help(sentence, "put it before or after the whole group");
        }
        if auth.fallback_on_failed && !open {
            let sentence = format!(
                "step {:?} is the last of its group and has fallback_on = \"failed\"",
                step.name
            );
            origin.error_help(
                sentence,
                "there is nothing to fall back on: remove it, or put \
                 another authentication step after it",
            );
        }
    }
    if last_authenticating.is_some() && !checked {
        origin.warning(
            "every authentication step is optional: a request without any credential passes",
        );
    }
}
