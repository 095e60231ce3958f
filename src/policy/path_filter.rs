//! The rules of one `path-filter` step.

use std::sync::Arc;

use super::denial::{By, DeniedBy};
use super::facts::Facts;
use crate::config::{Effect, PathFilter as Settings, PathPattern};

/// `path-filter`: the first pattern that matches decides.
#[derive(Debug)]
pub struct PathFilter {
    step: Arc<str>,
    settings: Arc<Settings>,
}

impl PathFilter {
    /// The rules of the step of this name.
    pub fn new(step: &Arc<str>, settings: &Arc<Settings>) -> Self {
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
    pub fn decide<'a>(&'a self, facts: &Facts<'a>) -> Result<&'a PathPattern, DeniedBy<'a>> {
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
    ) -> Result<&'a PathPattern, DeniedBy<'a>> {
        let path = facts.subpath();
        let mut rules = self.settings.rules.iter();
        let first = rules.find(|(effect, pattern)| facts.meets(path, pattern, *effect));
        let by = match first {
            Some((Effect::Allow, pattern)) => return Ok(pattern),
            Some((Effect::Deny, pattern)) => By::Pattern(pattern),
            None => By::NoPattern,
        };
        Err(DeniedBy { by, reading })
    }
}

#[cfg(test)]
mod tests;
