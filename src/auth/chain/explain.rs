//! What each step of a chain makes of a request, for the operator who asks.

use std::sync::Arc;

use super::super::outcome::Outcome;
use super::{Chain, Group, clock};
use crate::auth::Presented;

/// What one step made of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepOutcome {
    /// The step's name.
    pub step: Arc<str>,
    /// What became of it, in words, with the value that does not fit. No credential.
    pub outcome: String,
}

impl Chain {
    /// Runs the steps as [`Chain::authenticate`] does, and tells how each of them ended. Returns
    /// whether the request goes on.
    pub async fn explain(&self, request: &Presented<'_>, outcomes: &mut Vec<StepOutcome>) -> bool {
        let mut passes = true;
        for group in &self.groups {
            if passes {
                passes = group.explain(request, outcomes).await;
            } else {
                outcomes.extend(group.steps().map(StepOutcome::not_reached));
            }
        }
        passes
    }

    /// The names of its steps.
    pub fn steps(&self) -> impl Iterator<Item = &Arc<str>> {
        self.groups.iter().flat_map(Group::steps)
    }
}

impl StepOutcome {
    /// Of a step behind one that ended the request.
    pub fn not_reached(step: &Arc<str>) -> Self {
        Self {
            step: step.clone(),
            outcome: "not reached".to_owned(),
        }
    }
}

impl Group {
    fn steps(&self) -> impl Iterator<Item = &Arc<str>> {
        self.members.iter().map(|member| &member.name)
    }

    /// Whether the group lets the request on.
    async fn explain(&self, request: &Presented<'_>, outcomes: &mut Vec<StepOutcome>) -> bool {
        let mut settled = None;
        let mut rejected = false;
        for member in &self.members {
            let outcome = if settled.is_some() {
                "skipped: the group is decided".to_owned()
            } else {
                match member
                    .authenticator
                    .authenticate(request, clock::now())
                    .await
                {
                    Outcome::Authenticated(identity) => {
                        settled = Some(true);
                        let subject = identity.subject().and_then(|subject| subject.to_str().ok());
                        format!("authenticated as {}", subject.unwrap_or("nobody by name"))
                    }
                    Outcome::NotPresented => "nothing presented".to_owned(),
                    Outcome::Rejected(refusal) => {
                        rejected = true;
                        if !member.fallback_on_failed {
                            settled = Some(false);
                        }
                        let reason = refusal.reason;
                        let why = member.authenticator.why(request, reason, clock::now());
                        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
                        format!("rejected: {}{why}", reason.as_str())
                    }
                }
            };
            outcomes.push(StepOutcome {
                step: member.name.clone(),
                outcome,
            });
        }
        settled.unwrap_or(self.optional && !rejected)
    }
}
