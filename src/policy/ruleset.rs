//! The rules of one step, and the verdict over all of them.

use std::fmt;
use std::sync::Arc;

use super::check;
use super::denial::{By, DeniedBy};
use super::facts::Facts;
use super::rate_limits::Limit;
use crate::config::{Check, Effect, Policies, Rule};

/// The rules of one `policies` step, ready.
#[derive(Debug)]
pub struct Ruleset {
    step: Arc<str>,
    rules: Vec<Rule>,
    limits: Vec<Limit>,
}

/// What one rule says of a request, for those who want to know every one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finding<'a> {
    /// The rule's name.
    pub rule: &'a str,
    /// The reading of the path that it looked at.
    pub path: &'a str,
    /// `None`: it does not match.
    pub effect: Option<Effect>,
}

impl fmt::Display for Finding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let says = match self.effect {
            Some(Effect::Allow) => "allows",
            Some(Effect::Deny) => "denies",
            None => "does not match",
        };
        write!(f, "rule {:?} {says} {}", self.rule, self.path)
    }
}

impl Ruleset {
    /// The rules of the step of this name.
    pub fn build(step: &Arc<str>, settings: &Policies) -> Self {
        let mut rules = Vec::new();
        let mut limits = Vec::new();
        for policy in &settings.policies {
            for rule in &policy.rules {
                match rule.check {
                    Check::RateLimit(settings) => limits.push(Limit {
                        name: format!("{} {}", policy.name, rule.name).into(),
                        owner: policy.owner,
                        settings,
                        place: limits.len(),
                    }),
                    _ => rules.push(rule.clone()),
                }
            }
        }
        Self {
            step: step.clone(),
            rules,
            limits,
        }
    }

    /// The step's name.
    pub fn step(&self) -> &Arc<str> {
        &self.step
    }

    /// Those that a request is counted under which it lets pass, the heavier ones first.
    pub(super) fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// Passes what at least one rule allows and none denies, by every reading of its path, and
    /// names that rule: the first one for the path itself. Every rule that is looked at is `noted`.
    /// Limits are another matter: see [`RateLimits`](super::RateLimits).
    ///
    /// # Errors
    ///
    /// What denies it.
    pub fn decide<'a>(
        &'a self,
        facts: &Facts<'a>,
        mut noted: impl FnMut(Finding<'a>),
    ) -> Result<&'a str, DeniedBy<'a>> {
        let rule = self.decide_one(facts, None, &mut noted)?;
        for (reading, facts) in facts.other_readings() {
            self.decide_one(&facts, Some(reading), &mut noted)?;
        }
        Ok(rule)
    }

    fn decide_one<'a>(
        &'a self,
        facts: &Facts<'a>,
        reading: Option<&'a str>,
        noted: &mut impl FnMut(Finding<'a>),
    ) -> Result<&'a str, DeniedBy<'a>> {
        let mut allowing = None;
        for Rule { name, check, .. } in &self.rules {
            let effect = check::finding(check, facts);
            noted(Finding {
                rule: name,
                path: facts.path,
                effect,
            });
            match effect {
                Some(Effect::Deny) => {
                    let by = By::Rule(name);
                    return Err(DeniedBy { by, reading });
                }
                Some(Effect::Allow) => allowing = allowing.or(Some(&**name)),
                None => {}
            }
        }
        let by = By::NoRule;
        allowing.ok_or(DeniedBy { by, reading })
    }
}

#[cfg(test)]
mod tests;
