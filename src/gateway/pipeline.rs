//! A pipeline at run time: its stages, and the upstreams that share its load.

use std::sync::Arc;

use http::HeaderMap;
use jose::{KeySetStatus, shown_url};

use crate::auth::{CredentialLocations, Member, Shared};
use crate::balance::{HashKey, Health, Pick, Pool};
use crate::config::{
    self, AuthSettings, BackendTarget, Balance, ConsistentBy, HeaderRules, KeySource, Owner, Reach,
};
use crate::policy::{ConcurrencyLimits, Cors, RateLimits};
use crate::telemetry::{BackendMetrics, Metrics, PipelineMetrics};

use super::stage::{Stage, Stages};
use super::traffic_split::{Share, weights};
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
    /// Whether some backend takes other requests than the rest.
    splits: bool,
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
    /// Which requests it takes.
    pub share: Share,
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

    /// Whether an operator has drained it: it gets no new requests.
    fn is_drained(&self) -> bool {
        self.upstream()
            .is_some_and(|upstream| upstream.is_drained())
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
        let (backends, members) = build_backends(settings, upstreams, metrics, reach, &mut errors);
        let counters = metrics.pipeline(&settings.name);
        let metadata = settings
            .resource
            .as_ref()
            .map(config::Resource::document_url);
        let stages = Stages::build(&settings.steps, shared, &counters, metadata.as_deref());
        let stages = match stages {
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
            metrics: counters,
            pool: Pool::new(members, &balance),
            balance,
            stages,
            splits: settings.backends.iter().any(|backend| !backend.shares()),
            backends,
        })
    }

    /// Whether a step verifies tokens with the keys of this set.
    pub fn uses_key_set(&self, set: &KeySetStatus) -> bool {
        let steps = self.settings.steps.iter();
        let mut settings = steps.filter_map(|step| Some(&step.kind.auth()?.settings));
        settings.any(|settings| match settings {
            AuthSettings::Jwt(jwt) => {
                jwt.issuers
                    .iter()
                    .any(|issuer| match (&issuer.keys, &set.issuer) {
                        (KeySource::JwksUrl(written), None) => shown_url(&written.url) == set.url,
                        (KeySource::Discovery(written), Some(known)) => written.issuer == *known,
                        _ => false,
                    })
            }
            _ => false,
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

    /// The rate limits that are counted last, for requests that pass all stages and checks.
    pub fn final_rate_limits(&self) -> &RateLimits {
        &self.stages.limits
    }

    /// The limits of requests in flight, for what has passed all of that, too.
    pub fn concurrency_limits(&self) -> &ConcurrencyLimits {
        &self.stages.concurrency
    }

    /// Where its steps look for credentials, and which of these the upstream may see.
    pub fn credential_locations(&self) -> &CredentialLocations {
        &self.stages.locations
    }

    /// The rules of its `cors` step.
    pub fn cors(&self) -> Option<&Cors> {
        self.stages.cors.as_deref()
    }

    /// Those of its `headers` steps, in order.
    pub fn header_rules(&self) -> &[Arc<HeaderRules>] {
        &self.stages.header_rules
    }

    /// The header whose value decides where a request goes, if one does.
    pub fn consistent_header(&self) -> Option<&http::HeaderName> {
        match &self.balance {
            Balance::Consistent(ConsistentBy::Header(name)) => Some(name),
            _ => None,
        }
    }

    /// Chooses where a request goes: to the first backend whose `when` fits it and of which an
    /// upstream is in service, else to one of those without. `None`: there is no backend, or all
    /// are drained.
    pub fn choose(&self, key: HashKey<'_>, request: &HeaderMap) -> Option<Pick> {
        let fitting = || self.choose_fitting(key, request, |_| true);
        fitting().or_else(|| self.pool.choose(key, |index| self.shares(index)))
    }

    /// Chooses an HTTP upstream for a request that failed at others: one that was not `tried`,
    /// while there is one.
    pub fn choose_again(
        &self,
        key: HashKey<'_>,
        request: &HeaderMap,
        tried: &[usize],
    ) -> Option<Pick> {
        let sharing = |index: usize| self.is_http(index) && self.shares(index);
        let fresh = |index: usize| self.is_http(index) && !tried.contains(&index);
        let choose = |allowed: &dyn Fn(usize) -> bool| self.pool.choose(key, allowed);
        self.choose_fitting(key, request, fresh)
            .or_else(|| choose(&|index| fresh(index) && sharing(index)))
            .or_else(|| self.choose_fitting(key, request, |index| self.is_http(index)))
            .or_else(|| choose(&sharing))
    }

    /// Chooses a backend that is `wanted` and that takes this request. `None`: there is none.
    pub fn choose_matching(
        &self,
        request: &HeaderMap,
        wanted: impl Fn(&Backend) -> bool,
    ) -> Option<Pick> {
        let wanted = |backend: &Backend| {
            backend.share.takes(request) && !backend.is_drained() && wanted(backend)
        };
        let allowed = |index: usize| self.backends.get(index).is_some_and(&wanted);
        self.pool.choose(HashKey::Nothing, allowed)
    }

    /// The first backend whose `when` fits, at one of its upstreams that is `allowed` and in
    /// service.
    fn choose_fitting(
        &self,
        key: HashKey<'_>,
        request: &HeaderMap,
        allowed: impl Fn(usize) -> bool,
    ) -> Option<Pick> {
        if !self.splits {
            return None;
        }
        let fits =
            |backend: &Backend| matches!(&backend.share, Share::When(it) if it.fits(request));
        let of_one = self.backends.chunk_by(|one, other| one.name == other.name);
        let fitting = of_one.filter(|backends| backends.first().is_some_and(fits));
        fitting
            .filter_map(|backends| backends.first())
            .find_map(|backend| {
                let is_it = |index: usize| self.backends.get(index).map(|it| &it.name);
                let of_it = |index: usize| {
                    allowed(index) && !self.is_drained(index) && is_it(index) == Some(&backend.name)
                };
                self.pool.choose_in_service(key, of_it)
            })
    }

    /// What a pick stands for.
    pub fn backend(&self, pick: &Pick) -> Option<&Backend> {
        self.backends.get(pick.index())
    }

    /// All that share the load.
    pub fn backends(&self) -> &[Backend] {
        &self.backends
    }

    /// How many HTTP upstreams may take a request that was sent to these; drained ones do not.
    pub fn count_candidates(&self, tried: impl Iterator<Item = usize> + Clone) -> usize {
        let taking = |index: usize| {
            self.shares(index) || tried.clone().any(|it| self.are_of_one_backend(it, index))
        };
        (0..self.backends.len())
            .filter(|&index| self.is_http(index) && !self.is_drained(index) && taking(index))
            .count()
    }

    /// Whether another upstream than this one can take the load.
    pub fn has_other(&self, pick: &Pick) -> bool {
        let takes =
            |index: usize| self.shares(index) || self.are_of_one_backend(pick.index(), index);
        self.pool.has_other(pick.index(), |index| {
            self.is_http(index) && !self.is_drained(index) && takes(index)
        })
    }

    /// Whether a backend takes the requests that no `when` fits, and is not drained.
    fn shares(&self, index: usize) -> bool {
        let backend = || self.backends.get(index);
        let shares =
            !self.splits || backend().is_some_and(|it| matches!(it.share, Share::ByWeight));
        shares && !self.is_drained(index)
    }

    fn is_drained(&self, index: usize) -> bool {
        self.backends.get(index).is_some_and(Backend::is_drained)
    }

    fn are_of_one_backend(&self, one: usize, other: usize) -> bool {
        let name = |index: usize| self.backends.get(index).map(|backend| &backend.name);
        name(one) == name(other)
    }

    fn is_http(&self, index: usize) -> bool {
        let backend = self.backends.get(index);
        backend.is_some_and(|backend| backend.upstream().is_some())
    }
}

/// A member of a pool: its name, its weight and its health.
type PoolMember = (String, u32, Arc<Health>);

/// The backends of a pipeline at each of their upstreams, and the members of its pool, in the same
/// order.
fn build_backends(
    settings: &config::Pipeline,
    upstreams: &Upstreams,
    metrics: &Metrics,
    reach: Option<&Arc<Reach>>,
    errors: &mut Vec<config::Error>,
) -> (Vec<Backend>, Vec<PoolMember>) {
    let (mut backends, mut members, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    for backend in &settings.backends {
        let name = &backend.name;
        let counters = metrics.backend(name);
        let mut add = |target, place: &str, weight, health| {
            backends.push(Backend {
                name: name.clone(),
                metrics: counters.clone(),
                share: Share::of(backend),
                target,
            });
            shares.push((backend, weight));
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
    for (member, weight) in members.iter_mut().zip(weights(&shares)) {
        member.1 = weight;
    }
    (backends, members)
}
