//! Rate limits that count attempts stand where attempts can still be seen.

use crate::config::model::{Check, Step, StepKind};
use crate::config::reader::Entry;

/// Reports those behind an authentication step: attempts that fail never get there.
pub(super) fn check(steps: &[Step], origin: &Entry<'_>) {
    let Some(first) = steps.iter().position(Step::authenticates) else {
        return;
    };
    for step in steps[first..].iter().filter(|step| step.enforce) {
        let StepKind::Policies(settings) = &step.kind else {
            continue;
        };
        let mut rules = settings.policies.iter().flat_map(|policy| &policy.rules);
        let counts_attempts =
            |check: &Check| matches!(check, Check::RateLimit(limit) if limit.attempts);
        if let Some(rule) = rules.find(|rule| rule.enforce && counts_attempts(&rule.check)) {
            origin.error_help(
                format!(
                    "rule {:?} of step {:?} counts attempts, and stands behind step {:?}, which \
                     the failed ones do not pass",
                    rule.name, step.name, steps[first].name
                ),
                "put the step before the authentication, or leave `count` out",
            );
        }
    }
}
