//! Steps and rules in shadow (`enforce = false`): what they would refuse is logged and counted, and
//! changes nothing for the request.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::auth::{BuildError, Chain, CredentialLocation, Shared};
use crate::config::{Step, StepKind};
use crate::policy::{ConcurrencyLimits, PathFilter, RateLimits, Ruleset};
use crate::telemetry::{PipelineMetrics, ShadowMetrics};

/// Evaluations of one step that may go on beside the requests that began them. Beyond that, a
/// request is not evaluated.
const IN_BACKGROUND: usize = 256;

/// A step in shadow, or the rules of a step that are.
#[derive(Debug)]
pub struct Shadow {
    /// What `explain` calls it.
    pub name: Arc<str>,
    /// What is tried.
    pub check: ShadowCheck,
    /// Its limits that count attempts.
    pub attempts: Vec<RateLimits>,
    /// Its other limits.
    pub limits: Vec<ShadowLimit>,
    /// What it would have refused, under the step's name.
    pub metrics: Arc<ShadowMetrics>,
}

/// One limit, which counts by itself: what another one refuses is not refused.
#[derive(Debug)]
pub enum ShadowLimit {
    /// `rate_limit`.
    Rate(RateLimits),
    /// `concurrency_limit`.
    Concurrency(ConcurrencyLimits),
}

/// What is tried.
#[derive(Debug)]
pub enum ShadowCheck {
    /// A step that authenticates.
    Authenticate {
        /// It alone.
        chain: Arc<Chain>,
        /// One for each evaluation that may wait beside its request.
        background: Arc<Semaphore>,
    },
    /// A `policies` step.
    Policies(Ruleset),
    /// Rules of a `policies` step, for requests that pass its other rules or whose others are in
    /// shadow too: only what they deny counts.
    Rules(Ruleset),
    /// A `path-filter` step.
    PathFilter(PathFilter),
}

impl Shadow {
    /// That of a step that is not enforced. `None`: there is nothing that it could refuse.
    pub(super) fn of_step(
        step: &Step,
        shared: &Shared,
        metrics: &PipelineMetrics,
    ) -> Result<Option<Self>, Vec<BuildError>> {
        let check = match &step.kind {
            StepKind::Auth(_) => ShadowCheck::Authenticate {
                chain: Arc::new(Chain::alone(step, &shared.for_shadow())?),
                background: Arc::new(Semaphore::new(IN_BACKGROUND)),
            },
            StepKind::Policies(settings) => {
                ShadowCheck::Policies(Ruleset::for_shadow(&step.name, settings))
            }
            StepKind::PathFilter(settings) => {
                ShadowCheck::PathFilter(PathFilter::new(&step.name, settings))
            }
            StepKind::Cors(_)
            | StepKind::Headers(_)
            | StepKind::LogDump(_)
            | StepKind::Passthru => return Ok(None),
        };
        let name = step.name.clone();
        Ok(Some(Self::new(name, check, metrics.shadow(&step.name))))
    }

    /// That of the rules in shadow of a step, which may be in shadow itself. `None`: it has none.
    pub(super) fn of_rules(step: &Step, metrics: &PipelineMetrics) -> Option<Self> {
        let StepKind::Policies(settings) = &step.kind else {
            return None;
        };
        let name = format!("{}, rules in shadow", step.name).into();
        let check = ShadowCheck::Rules(Ruleset::in_shadow(&step.name, settings)?);
        Some(Self::new(name, check, metrics.shadow(&step.name)))
    }

    fn new(name: Arc<str>, check: ShadowCheck, metrics: Arc<ShadowMetrics>) -> Self {
        let (mut attempts, mut limits) = (Vec::new(), Vec::new());
        if let ShadowCheck::Policies(rules) | ShadowCheck::Rules(rules) = &check {
            for limit in rules.rate_limits().chunks(1) {
                let alone = |counts_attempts| {
                    let mut alone = RateLimits::default();
                    alone.add(limit, counts_attempts, std::iter::empty());
                    (!alone.is_empty()).then_some(alone)
                };
                attempts.extend(alone(true));
                limits.extend(alone(false).map(ShadowLimit::Rate));
            }
            for limit in rules.concurrency_limits().chunks(1) {
                let mut alone = ConcurrencyLimits::default();
                alone.add(limit);
                limits.push(ShadowLimit::Concurrency(alone));
            }
        }
        Self {
            name,
            check,
            attempts,
            limits,
            metrics,
        }
    }

    /// Where it looks for credentials: they are the application's, and not for a log.
    pub fn locations(&self) -> impl Iterator<Item = &CredentialLocation> {
        let chain = match &self.check {
            ShadowCheck::Authenticate { chain, .. } => Some(chain),
            _ => None,
        };
        chain.into_iter().flat_map(|chain| chain.locations())
    }
}
