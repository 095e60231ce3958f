//! The rules of one step, and the verdict over all of them.

use std::fmt;
use std::sync::Arc;

use super::check;
use super::facts::Facts;
use super::limits::Limit;
use crate::config::{Check, Effect, PathFilter, PathPattern, Policies, Rule};

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

/// What does not let a request pass. For the log and for `explain` alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denied<'a> {
    by: By<'a>,
    /// Of several readings of the path the one that does not pass; `None`: the path itself.
    reading: Option<&'a str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By<'a> {
    Rule(&'a str),
    NoRule,
    Pattern(&'a PathPattern),
    NoPattern,
}

impl fmt::Display for Denied<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.by {
            By::Rule(rule) => write!(f, "rule {rule:?} denies"),
            By::NoRule => f.write_str("no rule allows"),
            By::Pattern(pattern) => write!(f, "pattern {pattern:?} denies"),
            By::NoPattern => f.write_str("no pattern matches"),
        }?;
        match self.reading {
            Some(path) => write!(f, " the path read as {path}"),
            None => Ok(()),
        }
    }
}

impl From<Denied<'_>> for Refused {
    fn from(denied: Denied<'_>) -> Self {
        match denied.by {
            By::Rule(_) | By::NoRule => Self::Denied,
            By::Pattern(_) | By::NoPattern => Self::Filtered,
        }
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

    /// Passes what at least one rule allows and none denies, by every reading of its path, and names
    /// that rule: the first one for the path itself. Every rule that is looked at is `noted`. Limits
    /// are another matter: see [`Limits`](super::Limits).
    ///
    /// # Errors
    ///
    /// What denies it.
    pub fn decide<'a>(
        &'a self,
        facts: &Facts<'a>,
        mut noted: impl FnMut(Finding<'a>),
    ) -> Result<&'a str, Denied<'a>> {
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
    ) -> Result<&'a str, Denied<'a>> {
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
                    return Err(Denied { by, reading });
                }
                Some(Effect::Allow) => allowing = allowing.or(Some(&**name)),
                None => {}
            }
        }
        let by = By::NoRule;
        allowing.ok_or(Denied { by, reading })
    }
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
    /// it, by every reading of its path. Names the pattern that allows the path itself.
    ///
    /// # Errors
    ///
    /// What denies it.
    pub fn decide<'a>(&'a self, facts: &Facts<'a>) -> Result<&'a PathPattern, Denied<'a>> {
        let pattern = self.decide_one(facts, None)?;
        for (reading, facts) in facts.other_readings() {
            self.decide_one(&facts, Some(reading))?;
        }
        Ok(pattern)
    }

    fn decide_one<'a>(
        &'a self,
        facts: &Facts<'a>,
        reading: Option<&'a str>,
    ) -> Result<&'a PathPattern, Denied<'a>> {
        let path = facts.subpath();
        let mut rules = self.settings.rules.iter();
        let first = rules.find(|(effect, pattern)| match effect {
            Effect::Allow => pattern.is_match(path),
            Effect::Deny => pattern.covers(path, facts.case_sensitive_paths),
        });
        let by = match first {
            Some((Effect::Allow, pattern)) => return Ok(pattern),
            Some((Effect::Deny, pattern)) => By::Pattern(pattern),
            None => By::NoPattern,
        };
        Err(Denied { by, reading })
    }
}

#[cfg(test)]
mod tests;
