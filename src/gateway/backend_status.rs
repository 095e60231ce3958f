//! How backends stand, for whoever shows it: the Management API, the metrics.

use std::sync::Arc;

use super::Gateway;
use crate::balance::HealthStatus;
use crate::common::PeerAddress;
use crate::config::Balance;
use crate::telemetry::BackendMetrics;

/// How a backend that some pipeline uses stands.
#[derive(Debug, Clone)]
pub struct BackendStatus {
    /// The table's name.
    pub name: Arc<str>,
    /// The pipelines that use it.
    pub pipelines: Vec<Arc<str>>,
    /// Its counters.
    pub metrics: Arc<BackendMetrics>,
    /// How the load is shared: `round_robin`, `least_conn` or `consistent`. Of several pipelines,
    /// the first one's.
    pub balance: Balance,
    /// `weight`, if it names one.
    pub weight: Option<u32>,
    /// `when`, if it has one. Of several pipelines, it is the same.
    pub when: Option<String>,
    /// Connections that are open to its upstreams.
    pub connections: usize,
    /// Its upstreams; none for an echo.
    pub upstreams: Vec<UpstreamStatus>,
}

/// How an upstream stands.
#[derive(Debug, Clone)]
pub struct UpstreamStatus {
    /// `http://HOST:PORT` or `unix:/path/of/socket`, with the path.
    pub url: String,
    /// What its name resolves to now.
    pub addresses: Vec<PeerAddress>,
    /// Its share of the load.
    pub weight: u32,
    /// Whether it gets no new requests.
    pub drained: bool,
    /// Whether active checks are configured.
    pub checked: bool,
    /// Its state and its counts. Upstreams of several backends at one host and port with the same
    /// checks have them in common.
    pub health: HealthStatus,
}

impl BackendStatus {
    /// Every backend that a pipeline uses, in the order of the configuration.
    pub fn of(gateway: &Gateway) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for pipeline in gateway.pipelines() {
            for backend in pipeline.backends() {
                let known = all.iter().position(|status| status.name == backend.name);
                let index = known.unwrap_or_else(|| {
                    let mut settings = pipeline.settings.backends.iter();
                    let settings = settings.find(|settings| settings.name == backend.name);
                    let when = settings.and_then(|settings| settings.when.as_ref());
                    all.push(Self {
                        weight: settings.and_then(|settings| settings.weight),
                        when: when.map(ToString::to_string),
                        name: backend.name.clone(),
                        pipelines: Vec::new(),
                        metrics: backend.metrics.clone(),
                        balance: pipeline.balance.clone(),
                        connections: backend
                            .upstream()
                            .map_or(0, |upstream| upstream.connections.count()),
                        upstreams: Vec::new(),
                    });
                    all.len() - 1
                });
                let Some(status) = all.get_mut(index) else {
                    continue;
                };
                if !status.pipelines.contains(&pipeline.name) {
                    status.pipelines.push(pipeline.name.clone());
                }
                if let (Some(upstream), 1) = (backend.upstream(), status.pipelines.len()) {
                    status.upstreams.push(UpstreamStatus {
                        url: upstream.url.whole(),
                        addresses: upstream.addresses.known(),
                        weight: upstream.url.weight,
                        drained: upstream.is_drained(),
                        checked: upstream.health.check().is_some(),
                        health: upstream.health.status(),
                    });
                }
            }
        }
        all
    }
}
