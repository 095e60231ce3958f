//! The steps of a pipeline as a request meets them, in the order of the file.

use std::sync::Arc;

use crate::auth::{BuildError, Chain, CredentialLocations, Member, Shared};
use crate::config::{self, HeaderRules, Step, StepKind};
use crate::policy::{ConcurrencyLimits, Cors, LogDump, PathFilter, RateLimits, Ruleset};
use crate::telemetry::PipelineMetrics;

use super::shadow::Shadow;

/// One step; or several that authenticate one after another, which make up one chain.
#[derive(Debug)]
pub enum Stage {
    /// Who is it from?
    Authenticate(Chain),
    /// `policies`.
    Policies(Ruleset),
    /// `path-filter`.
    PathFilter(PathFilter),
    /// `log_dump`.
    LogDump(LogDump),
    /// `cors`: ends the way of every preflight.
    Cors(Arc<Cors>),
    /// `headers`, which changes what the upstream and the client get.
    Headers(Arc<str>, Arc<HeaderRules>),
    /// A step or rules that are not enforced.
    Shadow(Shadow),
    /// The rate limits of a `policies` step that count attempts: every request that gets there,
    /// whatever becomes of it.
    RateLimits(RateLimits),
}

impl Stage {
    /// A step that authenticates nobody and is enforced. `steps` are all of its pipeline.
    fn of_step(step: &Step, steps: &[Step]) -> Option<Self> {
        let name = &step.name;
        match &step.kind {
            StepKind::Policies(settings) => Some(Self::Policies(Ruleset::build(name, settings))),
            StepKind::PathFilter(settings) => {
                Some(Self::PathFilter(PathFilter::new(name, settings)))
            }
            StepKind::Cors(settings) => Some(Self::Cors(Arc::new(Cors::new(name, settings)))),
            StepKind::Headers(rules) => Some(Self::Headers(name.clone(), rules.clone())),
            StepKind::LogDump(settings) => {
                Some(Self::LogDump(LogDump::build(name, settings, steps)))
            }
            StepKind::Auth(_) | StepKind::Passthru => None,
        }
    }

    /// Its authentication steps.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Member> {
        let chain = match self {
            Self::Authenticate(chain) => Some(chain),
            _ => None,
        };
        chain.into_iter().flat_map(Chain::members)
    }

    /// What is in shadow, if it is that.
    pub fn shadow(&self) -> Option<&Shadow> {
        match self {
            Self::Shadow(shadow) => Some(shadow),
            _ => None,
        }
    }

    /// The names of its steps.
    pub fn steps(&self) -> Vec<&Arc<str>> {
        match self {
            Self::Authenticate(chain) => chain.steps().collect(),
            Self::Policies(rules) => vec![rules.step()],
            Self::PathFilter(filter) => vec![filter.step()],
            Self::LogDump(dump) => vec![dump.step()],
            Self::Cors(cors) => vec![cors.step()],
            Self::Headers(step, _) => vec![step],
            Self::Shadow(shadow) => vec![&shadow.name],
            Self::RateLimits(_) => Vec::new(),
        }
    }
}

/// The stages of a pipeline.
#[derive(Debug)]
pub(super) struct Stages {
    pub(super) stages: Vec<Stage>,
    /// The other rate limits of its `policies`: what passes everything is counted under them.
    pub(super) limits: RateLimits,
    /// What passes everything is in flight under these.
    pub(super) concurrency: ConcurrencyLimits,
    /// Where its steps look for credentials.
    pub(super) locations: CredentialLocations,
    /// The rules of its `cors` step.
    pub(super) cors: Option<Arc<Cors>>,
    /// Those of its `headers` steps.
    pub(super) header_rules: Vec<Arc<HeaderRules>>,
}

impl Stages {
    /// Compiles the steps, and reports every error. `metadata` is the URL of the protected resource
    /// metadata of the pipeline.
    pub(super) fn build(
        steps: &[Step],
        shared: &Shared,
        metrics: &PipelineMetrics,
        metadata: Option<&str>,
    ) -> Result<Self, Vec<config::Error>> {
        let mut stages = Vec::new();
        let mut errors = Vec::new();
        for run in runs(steps) {
            match &run.enforced {
                Enforced::Nothing => {}
                Enforced::Chain(chain) => match Chain::of_resource(chain, shared, metadata) {
                    Ok(chain) => stages.push(Stage::Authenticate(chain)),
                    Err(found) => errors.extend(found.into_iter().map(in_middleware)),
                },
                Enforced::Step(step) => {
                    stages.extend(Stage::of_step(step, steps));
                    stages.extend(Shadow::of_rules(step, metrics).map(Stage::Shadow));
                }
            }
            for step in run.in_shadow {
                match Shadow::of_step(step, shared, metrics) {
                    Ok(shadow) => {
                        stages.extend(shadow.map(Stage::Shadow));
                        stages.extend(Shadow::of_rules(step, metrics).map(Stage::Shadow));
                    }
                    Err(found) => errors.extend(found.into_iter().map(in_middleware)),
                }
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut concurrency = ConcurrencyLimits::default();
        for stage in &stages {
            if let Stage::Policies(rules) = stage {
                concurrency.add(rules.concurrency_limits());
            }
        }
        let (mut stages, limits) = place_limits(stages);
        let (mut locations, mut steps) = (CredentialLocations::default(), 0);
        for stage in &mut stages {
            if let Stage::Authenticate(chain) = stage {
                chain.add_locations(&mut locations);
                chain.number_steps(&mut steps);
            }
        }
        let tried = stages.iter().filter_map(Stage::shadow);
        let tried: Vec<_> = tried.flat_map(Shadow::locations).cloned().collect();
        for stage in &mut stages {
            if let Stage::LogDump(dump) = stage {
                dump.hide(locations.iter().chain(&tried));
            }
        }
        let cors = stages.iter().find_map(|stage| match stage {
            Stage::Cors(cors) => Some(cors.clone()),
            _ => None,
        });
        let header_rules = stages.iter().filter_map(|stage| match stage {
            Stage::Headers(_, rules) => Some(rules.clone()),
            _ => None,
        });
        Ok(Self {
            cors,
            header_rules: header_rules.collect(),
            stages,
            limits,
            concurrency,
            locations,
        })
    }
}

/// Steps that are compiled together.
struct Run<'s> {
    enforced: Enforced<'s>,
    /// What comes after the first enforced step, and before what comes next.
    in_shadow: Vec<&'s Step>,
}

/// The steps of a run that are enforced.
enum Enforced<'s> {
    /// Those in shadow come first.
    Nothing,
    /// Several that authenticate one after another, or one.
    Chain(Vec<Step>),
    /// One of any other type.
    Step(&'s Step),
}

/// Those that authenticate stay together as if those in shadow between them were not there.
fn runs(steps: &[Step]) -> Vec<Run<'_>> {
    let begin = |enforced| Run {
        enforced,
        in_shadow: Vec::new(),
    };
    let mut runs = vec![begin(Enforced::Nothing)];
    for step in steps {
        let Some(run) = runs.last_mut() else {
            continue;
        };
        // What refuses nothing is as good as enforced.
        let refuses = !matches!(step.kind, StepKind::LogDump(_) | StepKind::Passthru);
        match (&step.kind, &mut run.enforced) {
            _ if !step.enforce && refuses => run.in_shadow.push(step),
            (StepKind::Auth(_), Enforced::Chain(chain)) => chain.push(step.clone()),
            (StepKind::Auth(_), _) => runs.push(begin(Enforced::Chain(vec![step.clone()]))),
            (StepKind::Passthru, _) => {}
            _ => runs.push(begin(Enforced::Step(step))),
        }
    }
    runs
}

fn in_middleware(error: BuildError) -> config::Error {
    config::Error::new(["middleware", error.step()], error.to_string())
}

/// Says where the rate limits of `policies` are counted: attempts where they stand, all others at
/// the end, and none twice.
fn place_limits(stages: Vec<Stage>) -> (Vec<Stage>, RateLimits) {
    let mut placed = Vec::with_capacity(stages.len());
    let mut at_end = RateLimits::default();
    for stage in stages {
        let mut here = RateLimits::default();
        if let Stage::Policies(rules) = &stage {
            let earlier = placed.iter().filter_map(|stage| match stage {
                Stage::RateLimits(limits) => Some(limits),
                _ => None,
            });
            here.add(rules.rate_limits(), true, earlier);
            at_end.add(rules.rate_limits(), false, std::iter::empty());
        }
        placed.push(stage);
        if !here.is_empty() {
            placed.push(Stage::RateLimits(here));
        }
    }
    (placed, at_end)
}

#[cfg(test)]
mod tests;
