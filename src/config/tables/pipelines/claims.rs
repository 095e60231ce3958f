//! Who reads the claims of tokens: where nobody does, an identity is kept without them; where
//! somebody does, there have to be some.

use std::sync::Arc;

use crate::config::model::{AuthSettings, ClaimRules, HeaderTemplate, Pipeline, Step, StepKind};
use crate::config::reader::Entry;

/// Lets the steps keep the claims that something in the pipeline reads.
pub(super) fn keep(pipeline: &mut Pipeline) {
    if !reads_claims(pipeline) {
        return;
    }
    for step in pipeline.steps.iter_mut().filter(|step| step.enforce) {
        if let Some(rules) = claim_rules(&mut step.kind) {
            rules.keeps_claims = true;
        }
    }
}

/// Whether anything in the pipeline reads claims: every place that does is asked here.
fn reads_claims(pipeline: &Pipeline) -> bool {
    let mut rules = pipeline.steps.iter().flat_map(|step| step.kind.rules());
    let mut headers = pipeline.steps.iter().filter_map(Step::header_rules);
    rules.any(|rule| rule.check.reads_claims() || rule.check.limits_by_claim())
        || headers.any(|rules| rules.templates().any(HeaderTemplate::reads_claims))
}

fn claim_rules(kind: &mut StepKind) -> Option<&mut ClaimRules> {
    let StepKind::Auth(step) = kind else {
        return None;
    };
    match &mut step.settings {
        AuthSettings::Jwt(settings) => Some(&mut Arc::make_mut(settings).rules),
        AuthSettings::Introspection(settings) => Some(&mut Arc::make_mut(settings).rules),
        AuthSettings::Basic(_) | AuthSettings::ApiKey(_) | AuthSettings::MutualTls(_) => None,
    }
}

/// Warns of limits by an identity in a pipeline where nobody has one.
fn warn_of_limits(steps: &[Step], origin: &Entry<'_>) {
    if steps.iter().any(|step| step.enforced_auth().is_some()) {
        return;
    }
    for step in steps {
        for rule in step
            .kind
            .rules()
            .filter(|rule| rule.check.limits_by_identity())
        {
            origin.warning(&format!(
                "rule {:?} of step {:?} counts by the identity, and no step authenticates \
                 anybody: all requests of an address are counted together",
                rule.name, step.name
            ));
        }
    }
}

/// Reports rules that look at an identity where there is none yet: such a rule to deny would deny
/// nothing. Warns of those that look at claims where whoever passes has none.
pub(super) fn check(steps: &[Step], origin: &Entry<'_>) {
    warn_of_limits(steps, origin);
    let mut anybody = false;
    let mut tokens = false;
    let mut settled = false;
    for step in steps {
        if let Some(auth) = step.enforced_auth() {
            anybody = true;
            let is_token = matches!(
                auth.settings,
                AuthSettings::Jwt(_) | AuthSettings::Introspection(_)
            );
            tokens |= is_token && !settled;
            settled |= !auth.optional;
            continue;
        }
        for rule in step.kind.rules() {
            let what = match &rule.check {
                check if check.reads_identity() => "the identity",
                check if check.reads_claims() => "claims",
                _ => continue,
            };
            let sentence = format!(
                "rule {:?} of step {:?} looks at {what}",
                rule.name, step.name
            );
            if !anybody {
                origin.error_help(
                    format!("{sentence}, and no step before it authenticates anybody"),
                    "put the step after the authentication",
                );
            } else if what == "claims" && !tokens {
                origin.warning(&format!(
                    "{sentence}, and the first authentication step before it takes no tokens: \
                     who passes it has none"
                ));
            }
        }
    }
}
