//! A pipeline at run time: its stages, and the upstreams that share its load.

use std::sync::Arc;

use crate::auth::{CredentialLocations, Member, Shared};
use crate::balance::{HashKey, Pick, Pool};
use crate::config::{self, BackendTarget, Balance, ConsistentBy, Owner, Reach};
use crate::policy::RateLimits;
use crate::telemetry::{BackendMetrics, Metrics, PipelineMetrics};

use super::stage::{Stage, Stages};
use super::upstream::{Upstream, Upstreams};

/// One pipeline: what a request must pass, and where it goes then.
#[derive(Debug)]
pub struct Pipeline {
    /// The table's name.
    pub name: Arc<str>,
    /// Who it is from.
    pub owner: Owner,
    /// How its upstreams share the load.
    pub balance: Balance,
    /// What it was built from.
    pub settings: config::Pipeline,
    /// Its counters, which a reload keeps.
    pub metrics: Arc<PipelineMetrics>,
    stages: Stages,
    backends: Vec<Backend>,
    pool: Pool,
    ends_downloads: bool,
}

/// Where a request may go: a backend, at one of its upstreams. All upstreams of all backends of a
/// pipeline are one pool.
#[derive(Debug)]
pub struct Backend {
    /// The table's name.
    pub name: Arc<str>,
    /// What answers.
    pub target: Target,
    /// Its counters, which a reload keeps.
    pub metrics: Arc<BackendMetrics>,
}

/// What answers.
#[derive(Debug)]
pub enum Target {
    /// This process, with the request as JSON.
    Echo,
    /// An HTTP server.
    Http(Arc<Upstream>),
}

impl Backend {
    /// The HTTP server, if it is one.
    pub fn upstream(&self) -> Option<&Arc<Upstream>> {
        match &self.target {
            Target::Http(upstream) => Some(upstream),
            Target::Echo => None,
        }
    }

    /// Whether it is this process.
    pub fn is_echo(&self) -> bool {
        matches!(self.target, Target::Echo)
    }
}

impl Pipeline {
    /// `reach`: what a pipeline from the cloud may connect to; `None`: it is a local one.
    pub(super) fn build(
        settings: &config::Pipeline,
        shared: &Shared,
        upstreams: &Upstreams,
        metrics: &Metrics,
        reach: Option<&Arc<Reach>>,
    ) -> Result<Self, Vec<config::Error>> {
        let mut errors = Vec::new();
        let mut backends = Vec::new();
        let mut members = Vec::new();
        for backend in &settings.backends {
            let name = &backend.name;
            let counters = metrics.backend(name);
            let mut add = |target, place: &str, weight, health| {
                backends.push(Backend {
                    name: name.clone(),
                    metrics: counters.clone(),
                    target,
                });
                members.push((format!("{name} {place}"), weight, health));
            };
            let http = match &backend.target {
                BackendTarget::Echo => {
                    add(Target::Echo, "echo", 1, Upstreams::echo());
                    continue;
                }
                BackendTarget::Http(http) => http,
            };
            match upstreams.of(name, http, reach) {
                Ok(built) => {
                    for upstream in built {
                        let url = &upstream.url;
                        let (origin, weight) = (url.origin(), url.weight);
                        let health = upstream.health.clone();
                        add(Target::Http(Arc::new(upstream)), &origin, weight, health);
                    }
                }
                Err(error) => errors.push(config::Error::new(["backends", name.as_ref()], error)),
            }
        }
        let stages = match Stages::build(&settings.steps, shared) {
            Ok(stages) if errors.is_empty() => stages,
            Ok(_) => return Err(errors),
            Err(found) => {
                errors.extend(found);
                return Err(errors);
            }
        };
        let balance = settings.balance();
        let mut steps = settings
            .steps
            .iter()
            .filter_map(config::Step::enforced_auth);
        Ok(Self {
            ends_downloads: steps.any(|step| step.ends_streams && step.ends_downloads),
            owner: reach.map_or(Owner::Local, |_| Owner::Cloud),
            name: settings.name.clone(),
            settings: settings.clone(),
            metrics: metrics.pipeline(&settings.name),
            pool: Pool::new(members, &balance),
            balance,
            stages,
            backends,
        })
    }

    /// What a request must pass, in order.
    pub fn stages(&self) -> &[Stage] {
        &self.stages.stages
    }

    /// Its authentication steps.
    pub(crate) fn auth_steps(&self) -> impl Iterator<Item = &Member> {
        self.stages().iter().flat_map(|stage| stage.members())
    }

    /// The authentication step that took a credential ([`Admitted::step`](crate::auth::Admitted)).
    pub(crate) fn auth_step(&self, number: usize) -> Option<&Member> {
        self.auth_steps().find(|step| step.number == number)
    }

    /// Whether any response may end with the credential that let its request in.
    pub fn ends_downloads(&self) -> bool {
        self.ends_downloads
    }

    /// The rate limits that count what has passed all of that, and everything else.
    pub fn limits(&self) -> &RateLimits {
        &self.stages.limits
    }

    /// Where its steps look for credentials, and which of these the upstream may see.
    pub fn credential_locations(&self) -> &CredentialLocations {
        &self.stages.places
    }

    /// The header whose value decides where a request goes, if one does.
    pub fn consistent_header(&self) -> Option<&http::HeaderName> {
        match &self.balance {
            Balance::Consistent(ConsistentBy::Header(name)) => Some(name),
            _ => None,
        }
    }

    /// Chooses where a request goes. `None`: there is no backend.
    pub fn choose(&self, key: HashKey<'_>) -> Option<Pick> {
        self.pool.choose(key, |_| true)
    }

    /// Chooses an HTTP upstream for a request that failed at others: one that was not `tried`,
    /// while there is one.
    pub fn choose_again(&self, key: HashKey<'_>, tried: &[usize]) -> Option<Pick> {
        let fresh = |index: usize| self.is_http(index) && !tried.contains(&index);
        let choose = || self.pool.choose(key, fresh);
        choose().or_else(|| self.pool.choose(key, |index| self.is_http(index)))
    }

    /// Chooses a backend that is `wanted`. `None`: there is none.
    pub fn choose_one(&self, wanted: impl Fn(&Backend) -> bool) -> Option<Pick> {
        let allowed = |index: usize| self.backends.get(index).is_some_and(&wanted);
        self.pool.choose(HashKey::Nothing, allowed)
    }

    /// What a pick stands for.
    pub fn backend(&self, pick: &Pick) -> Option<&Backend> {
        self.backends.get(pick.index())
    }

    /// All that share the load.
    pub fn backends(&self) -> &[Backend] {
        &self.backends
    }

    /// How many HTTP upstreams share the load.
    pub fn upstreams(&self) -> usize {
        let backends = self.backends.iter();
        backends
            .filter(|backend| backend.upstream().is_some())
            .count()
    }

    /// Whether another upstream than this one can take the load.
    pub fn has_other(&self, pick: &Pick) -> bool {
        self.pool
            .has_other(pick.index(), |index| self.is_http(index))
    }

    fn is_http(&self, index: usize) -> bool {
        let backend = self.backends.get(index);
        backend.is_some_and(|backend| backend.upstream().is_some())
    }
}
