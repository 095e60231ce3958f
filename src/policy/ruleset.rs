//! The rules of one step, and the verdict over all of them.

use std::fmt;
use std::sync::Arc;

use super::check;
use super::denial::{By, DeniedBy};
use super::facts::Facts;
use super::limits::{Limit, Table};
use crate::config::{Check, ConcurrencyLimit, Effect, Policies, RateLimit, Rule};

/// The rules of one `policies` step, ready.
#[derive(Debug)]
pub struct Ruleset {
    step: Arc<str>,
    rules: Vec<Rule>,
    rate_limits: Vec<Limit<RateLimit>>,
    concurrency_limits: Vec<Limit<ConcurrencyLimit>>,
}

/// What one rule says of a request, for those who want to know every one.
#[derive(Debug, Clone, Copy)]
pub struct Finding<'a> {
    rule: &'a Rule,
    /// By one reading of the path.
    facts: Facts<'a>,
    /// `None`: it does not match.
    effect: Option<Effect>,
}

impl fmt::Display for Finding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let says = match self.effect {
            Some(Effect::Allow) => "allows",
            Some(Effect::Deny) => "denies",
            None => "does not match",
        };
        write!(f, "rule {:?} {says} {}", self.rule.name, self.facts.path)?;
        check::describe_inputs(&self.rule.check, &self.facts)
            .iter()
            .enumerate()
            .try_for_each(|(index, value)| {
                let before = if index == 0 { ": " } else { "; " };
                write!(f, "{before}{value}")
            })
    }
}

impl Ruleset {
    /// The rules of the step of this name that are enforced.
    pub fn build(step: &Arc<str>, settings: &Policies) -> Self {
        Self::of(step, settings, true, false)
    }

    /// The same of a step in shadow, whose limits count under names of their own.
    pub fn for_shadow(step: &Arc<str>, settings: &Policies) -> Self {
        Self::of(step, settings, true, true)
    }

    /// Those that are in shadow. `None`: there are none.
    pub fn in_shadow(step: &Arc<str>, settings: &Policies) -> Option<Self> {
        let found = Self::of(step, settings, false, true);
        let limits = found.rate_limits.len() + found.concurrency_limits.len();
        (!found.rules.is_empty() || limits > 0).then_some(found)
    }

    /// Those rules that are enforced, or those that are not; `in_shadow`: none of them counts.
    fn of(step: &Arc<str>, settings: &Policies, enforced: bool, in_shadow: bool) -> Self {
        let mut rules = Vec::new();
        let (mut rate_limits, mut concurrency_limits) = (Vec::new(), Vec::new());
        for policy in &settings.policies {
            let meant = policy.rules.iter();
            for rule in meant.filter(|rule| rule.enforce == enforced) {
                let name = || match in_shadow {
                    false => format!("{} {}", policy.name, rule.name).into(),
                    true => format!("{step} in shadow, {} {}", policy.name, rule.name).into(),
                };
                let table = match in_shadow {
                    false => policy.owner.into(),
                    true => Table::Shadow,
                };
                match &rule.check {
                    Check::RateLimit(settings) => rate_limits.push(Limit {
                        name: name(),
                        table,
                        settings: settings.clone(),
                    }),
                    Check::ConcurrencyLimit(settings) => concurrency_limits.push(Limit {
                        name: name(),
                        table,
                        settings: settings.clone(),
                    }),
                    _ => rules.push(rule.clone()),
                }
            }
        }
        Self {
            step: step.clone(),
            rules,
            rate_limits,
            concurrency_limits,
        }
    }

    /// The step's name.
    pub fn step(&self) -> &Arc<str> {
        &self.step
    }

    /// Those that a request is counted under which it lets pass, the heavier ones first.
    pub fn rate_limits(&self) -> &[Limit<RateLimit>] {
        &self.rate_limits
    }

    /// Those that a request is in flight under which it lets pass.
    pub fn concurrency_limits(&self) -> &[Limit<ConcurrencyLimit>] {
        &self.concurrency_limits
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

    /// What denies a request, by any reading of its path, whether or not a rule allows it.
    pub fn denied_by<'a>(
        &'a self,
        facts: &Facts<'a>,
        mut noted: impl FnMut(Finding<'a>),
    ) -> Option<DeniedBy<'a>> {
        let readings = facts
            .other_readings()
            .map(|(path, facts)| (Some(path), facts));
        let mut readings = std::iter::once((None, *facts)).chain(readings);
        readings.find_map(|(reading, facts)| {
            let denied = self.decide_one(&facts, reading, &mut noted).err();
            denied.filter(|denied| denied.by != By::NoRule)
        })
    }

    fn decide_one<'a>(
        &'a self,
        facts: &Facts<'a>,
        reading: Option<&'a str>,
        noted: &mut impl FnMut(Finding<'a>),
    ) -> Result<&'a str, DeniedBy<'a>> {
        let mut allowing = None;
        for rule in &self.rules {
            let effect = check::evaluate(&rule.check, facts);
            noted(Finding {
                rule,
                facts: *facts,
                effect,
            });
            match effect {
                Some(Effect::Deny) => {
                    let by = By::Rule(&rule.name);
                    return Err(DeniedBy { by, reading });
                }
                Some(Effect::Allow) => allowing = allowing.or(Some(&*rule.name)),
                None => {}
            }
        }
        let by = By::NoRule;
        allowing.ok_or(DeniedBy { by, reading })
    }
}

#[cfg(test)]
mod tests;
