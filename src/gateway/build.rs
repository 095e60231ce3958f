//! Builds a gateway from a configuration, and reports every error.

use std::sync::Arc;

use http::HeaderName;

use super::resource::{self, Documents};
use super::{
    Gateway, Listener, NetworkInService, Pipeline, RootsError, Route, RouteSpec, RouteTable,
    Tickets, Upstreams, system_roots,
};
use crate::auth::{Receiver, Shared};
use crate::config::{self, AuthSettings, BackendTarget, Bind, Config, Owner, Service};
use crate::telemetry::Metrics;

impl Gateway {
    /// Builds a gateway beside the one that serves. Reads key files and certificates; fetches
    /// nothing.
    pub fn build(
        config: &Config,
        shared: &Shared,
        upstreams: &Upstreams,
        tickets: &Tickets,
        metrics: &Metrics,
    ) -> Result<Self, config::Errors> {
        let mut errors = Vec::new();
        let mut networks = build_networks(config, tickets, &mut errors);
        errors.extend(without_roots(config));
        let mut pipelines = Vec::new();
        for settings in &config.pipelines {
            let reach = match config.owner(settings) {
                Owner::Local => None,
                Owner::Cloud => Some(&config.reach),
            };
            match Pipeline::build(settings, shared, upstreams, metrics, reach) {
                Ok(pipeline) => {
                    let pipeline = Arc::new(pipeline);
                    add_routes(&mut networks, config, &pipeline, shared, &mut errors);
                    pipelines.push(pipeline);
                }
                Err(found) => errors.extend(found),
            }
        }
        if !errors.is_empty() {
            return Err(errors.into_iter().collect());
        }
        let claim_headers = headers_from_claims(config, Owner::Local);
        let mut cloud_claim_headers = headers_from_claims(config, Owner::Cloud);
        cloud_claim_headers.retain(|name| !claim_headers.contains(name));
        Ok(Self {
            id: config.id.clone(),
            pipelines,
            networks: networks.into_iter().map(|(_, network)| network).collect(),
            trusted_proxies: config.trusted_proxies.clone(),
            forwarded: config.forwarded,
            claim_headers,
            cloud_claim_headers,
        })
    }
}

/// The networks that requests come in on, with their names and without routes.
fn build_networks<'c>(
    config: &'c Config,
    tickets: &Tickets,
    errors: &mut Vec<config::Error>,
) -> Vec<(&'c Arc<str>, NetworkInService)> {
    let management = config.management.as_ref().map(|settings| &settings.network);
    let mut networks = Vec::new();
    for network in &config.networks {
        let Bind::Tcp(listens) = network.bind else {
            continue;
        };
        let of_management = management == Some(&network.name);
        let tls = network
            .tls
            .as_ref()
            .map(|tls| Listener::build(&network.name, tls, of_management, tickets));
        let tls = tls.transpose().unwrap_or_else(|found| {
            errors.extend(found);
            None
        });
        let in_service = NetworkInService {
            listens,
            routes: RouteTable::default(),
            documents: Documents::default(),
            tls,
            https_port: network.https_port,
            proxy_protocol: network.proxy_protocol,
        };
        networks.push((&network.name, in_service));
    }
    networks
}

/// Adds a pipeline to its networks: its endpoints, and what it publishes of itself.
fn add_routes(
    networks: &mut [(&Arc<str>, NetworkInService)],
    config: &Config,
    pipeline: &Arc<Pipeline>,
    shared: &Shared,
    errors: &mut Vec<config::Error>,
) {
    let settings = &pipeline.settings;
    let own = networks
        .iter_mut()
        .filter(|(name, _)| settings.networks.contains(name));
    let mut own: Vec<_> = own.map(|(_, network)| network).collect();
    if let Some(resource) = &settings.resource {
        let document = resource::document(settings, resource, &config.networks);
        for network in &mut own {
            network.documents.insert(settings, resource, &document);
        }
    }
    for endpoint in &settings.endpoints {
        let receiver = receiver(endpoint, shared).unwrap_or_else(|error| {
            errors.push(config::Error::new(["endpoints", &endpoint.name], error));
            None
        });
        let route = Arc::new(Route {
            pipeline: pipeline.clone(),
            endpoint: endpoint.clone(),
            receiver,
        });
        let spec = RouteSpec {
            hosts: &endpoint.hosts,
            prefix: &endpoint.path_prefix,
            methods: &endpoint.methods,
            case_sensitive: settings.case_sensitive_paths,
            boundary: endpoint.prefix_boundary,
        };
        for network in &mut own {
            network.routes.insert(&spec, route.clone());
        }
    }
}

/// What takes the posts of an endpoint that is told of revocations.
fn receiver(endpoint: &config::Endpoint, shared: &Shared) -> Result<Option<Receiver>, String> {
    let name = &endpoint.name;
    match &endpoint.service {
        Service::BackchannelLogout(settings) => shared.backchannel_logout(name, settings),
        Service::SecurityEvents(settings) => shared.security_events(name, settings),
        Service::Http | Service::Echo | Service::Redirect(_) => return Ok(None),
    }
    .map(Some)
}

/// Backends with https that nothing could be verified for.
fn without_roots(config: &Config) -> Vec<config::Error> {
    let needing: Vec<_> = config
        .pipelines
        .iter()
        .flat_map(|pipeline| &pipeline.backends)
        .filter(|backend| match &backend.target {
            BackendTarget::Http(http) => {
                let mut upstreams = http.upstreams.iter();
                http.ca_cert_path.is_none() && upstreams.any(|upstream| upstream.tls)
            }
            BackendTarget::Echo => false,
        })
        .collect();
    if needing.is_empty() {
        return Vec::new();
    }
    let why = match system_roots() {
        Ok(0) => RootsError::None,
        Ok(_) => return Vec::new(),
        Err(error) => error,
    };
    let named = needing.into_iter();
    named
        .map(|backend| config::Error::new(["backends", &backend.name], why.to_string()))
        .collect()
}

fn headers_from_claims(config: &Config, owner: Owner) -> Vec<HeaderName> {
    let mut names: Vec<HeaderName> = config
        .pipelines
        .iter()
        .filter(|pipeline| config.owner(pipeline) == owner)
        .flat_map(|pipeline| &pipeline.steps)
        .filter_map(|step| match &step.enforced_auth()?.settings {
            AuthSettings::Jwt(jwt) => Some(&jwt.rules.claims_to_headers),
            AuthSettings::Introspection(step) => Some(&step.rules.claims_to_headers),
            _ => None,
        })
        .flatten()
        .map(|(_, name)| name.clone())
        .collect();
    names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    names
}
