//! The rules of one step, and the verdict over all of them.

use std::sync::Arc;
use std::time::Duration;

use super::check;
use super::facts::Facts;
use super::limiter::Limiters;
use crate::config::{Check, Effect, Owner, PathFilter, PathPattern, Policies, RateLimit, Rule};

/// Why a request does not pass. What exactly refused it is for the log alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// A rule denies it, or none allows it: 403.
    Denied,
    /// It would pass, but there were too many: 429.
    Limited {
        /// Seconds until there is room again; at least 1.
        retry_after: u32,
    },
    /// Its path is not served: 404, with an empty body.
    Filtered,
}

impl Refused {
    /// A stable label for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "policy_denied",
            Self::Limited { .. } => "rate_limited",
            Self::Filtered => "path_filtered",
        }
    }

    /// The status code of the answer.
    pub fn status(self) -> u16 {
        match self {
            Self::Denied => 403,
            Self::Limited { .. } => 429,
            Self::Filtered => 404,
        }
    }
}

/// The rules of one `policies` step, ready.
#[derive(Debug)]
pub struct Ruleset {
    step: Arc<str>,
    rules: Vec<Rule>,
    limits: Vec<Limit>,
}

#[derive(Debug)]
struct Limit {
    /// Policy and rule: what counts go on under when a configuration is replaced.
    name: Arc<str>,
    owner: Owner,
    settings: RateLimit,
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

    /// Passes what at least one rule allows and none denies, by every reading of its path, as long as
    /// there is room under every limit. Only what the other rules let pass is counted, once.
    pub fn decide(&self, facts: &Facts<'_>, limiters: &Limiters) -> Result<(), Refused> {
        if let Err(denied) = self.verdict(facts) {
            log::debug!("{}: {denied}", self.step);
            return Err(Refused::Denied);
        }
        for limit in &self.limits {
            let Limit {
                name,
                owner,
                settings,
            } = limit;
            let room = limiters.take(*owner, name, *settings, facts.client, facts.now);
            if let Err(wait) = room {
                log::debug!("{}: over limit {}", self.step, limit.name);
                return Err(Refused::Limited {
                    retry_after: whole_seconds(wait),
                });
            }
        }
        Ok(())
    }

    /// The same in words, without counting: whether the request goes on, and why.
    pub fn explain(&self, facts: &Facts<'_>) -> (bool, String) {
        match self.verdict(facts) {
            Err(denied) => (false, denied.to_string()),
            Ok(rule) if self.limits.is_empty() => (true, format!("rule {:?} allows", rule.name)),
            Ok(rule) => {
                let limits: Vec<&str> = self.limits.iter().map(|limit| &*limit.name).collect();
                let limits = limits.join(", ");
                (
                    true,
                    format!("rule {:?} allows, counted as {limits}", rule.name),
                )
            }
        }
    }

    /// The first rule that allows, if none denies, by every reading of the path.
    fn verdict(&self, facts: &Facts<'_>) -> Result<&Rule, Denied<'_>> {
        let rule = self.verdict_of_one(facts)?;
        for reading in facts.readings().skip(1) {
            self.verdict_of_one(&reading)?;
        }
        Ok(rule)
    }

    fn verdict_of_one(&self, facts: &Facts<'_>) -> Result<&Rule, Denied<'_>> {
        let mut allowing = None;
        for rule in &self.rules {
            match check::finding(&rule.check, facts) {
                Some(Effect::Deny) => return Err(Denied::By(&rule.name)),
                Some(Effect::Allow) => allowing = allowing.or(Some(rule)),
                None => {}
            }
        }
        allowing.ok_or(Denied::ByNone)
    }
}

/// What denies a request.
#[derive(Debug, thiserror::Error)]
enum Denied<'r> {
    #[error("rule {0:?} denies")]
    By(&'r str),
    #[error("no rule allows")]
    ByNone,
}

fn whole_seconds(wait: Duration) -> u32 {
    let up = u64::from(wait.subsec_nanos() > 0);
    u32::try_from(wait.as_secs() + up)
        .unwrap_or(u32::MAX)
        .max(1)
}

/// The rules of one `path-filter` step.
#[derive(Debug)]
pub struct Filter {
    step: Arc<str>,
    settings: Arc<PathFilter>,
}

impl Filter {
    /// The rules of the step of this name.
    pub fn new(step: &Arc<str>, settings: &Arc<PathFilter>) -> Self {
        Self {
            step: step.clone(),
            settings: settings.clone(),
        }
    }

    /// The step's name.
    pub fn step(&self) -> &Arc<str> {
        &self.step
    }

    /// Passes a request if the first rule that matches what follows the endpoint's prefix allows
    /// it, by every reading of its path.
    pub fn decide(&self, facts: &Facts<'_>) -> Result<(), Refused> {
        match self.verdict(facts) {
            Some((Effect::Allow, _)) => Ok(()),
            _ => Err(Refused::Filtered),
        }
    }

    /// The same in words: whether the request goes on, and why.
    pub fn explain(&self, facts: &Facts<'_>) -> (bool, String) {
        match self.verdict(facts) {
            Some((Effect::Allow, pattern)) => (true, format!("pattern {pattern:?} allows")),
            Some((Effect::Deny, pattern)) => (false, format!("pattern {pattern:?} denies")),
            None => (false, "no pattern matches".to_owned()),
        }
    }

    /// The rule that decides: of the readings of the path, the first that does not pass counts.
    fn verdict(&self, facts: &Facts<'_>) -> Option<&(Effect, PathPattern)> {
        let rule = self.first(facts)?;
        for reading in facts.readings().skip(1) {
            let of_reading = self.first(&reading)?;
            if rule.0 == Effect::Allow && of_reading.0 == Effect::Deny {
                return Some(of_reading);
            }
        }
        Some(rule)
    }

    fn first(&self, facts: &Facts<'_>) -> Option<&(Effect, PathPattern)> {
        let path = facts.subpath();
        let mut rules = self.settings.rules.iter();
        rules.find(|(effect, pattern)| match effect {
            Effect::Allow => pattern.is_match(path),
            Effect::Deny => pattern.covers(path, facts.case_sensitive_paths),
        })
    }
}

#[cfg(test)]
mod tests;
