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
    /// What became of it, in words. No credential, no claim but the subject.
    pub outcome: String,
}

impl Chain {
    /// Runs the steps as [`Chain::authenticate`] does, and tells how each of them ended.
    pub async fn explain(&self, request: &Presented<'_>) -> Vec<StepOutcome> {
        let mut outcomes = Vec::new();
        let mut denied = false;
        for group in &self.groups {
            if denied {
                let not_reached = |member: &super::Member| StepOutcome {
                    step: member.name.clone(),
                    outcome: "not reached".to_owned(),
                };
                outcomes.extend(group.members.iter().map(not_reached));
            } else {
                denied = !group.explain(request, &mut outcomes).await;
            }
        }
        outcomes
    }
}

impl Group {
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
                        format!("rejected: {}", refusal.reason.as_str())
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
