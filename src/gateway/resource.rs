//! What pipelines publish of themselves (RFC 9728): one document each, at its own path of their
//! networks and hosts.

use bytes::Bytes;
use http::Method;
use serde_json::{Map, Value, json};

use super::routes::{RouteSpec, RouteTable};
use crate::config::{
    AuthSettings, CredentialLocation, Dpop, JwtAlgorithm, Network, Pipeline, Resource,
};

/// The documents of one network, each with its path.
#[derive(Debug, Default)]
pub(super) struct Documents(RouteTable<(String, Bytes)>);

impl Documents {
    /// Adds that of a pipeline. The configuration has made sure that no two have one location.
    pub(super) fn insert(&mut self, pipeline: &Pipeline, resource: &Resource, text: &Bytes) {
        let spec = RouteSpec {
            hosts: &pipeline.hosts(),
            prefix: &resource.document_path,
            ..RouteSpec::default()
        };
        let route = (resource.document_path.clone(), text.clone());
        self.0.insert(&spec, route);
    }

    /// The document at a path, for a host in lower case and without port.
    pub(super) fn find(&self, host: &str, path: &str) -> Option<&Bytes> {
        let (at, text) = self.0.find(host, path, &Method::GET)?.route;
        (at == path).then_some(text)
    }
}

/// The text of a document: what is written, and what follows from the steps and the networks of the
/// pipeline.
pub(super) fn document(pipeline: &Pipeline, resource: &Resource, networks: &[Network]) -> Bytes {
    let steps: Vec<TokenStep<'_>> = token_steps(pipeline).collect();
    let mut members = Map::new();
    let mut add = |name: &str, value: Value| members.insert(name.to_owned(), value);
    add("resource", json!(resource.identifier));
    if !resource.authorization_servers.is_empty() {
        add(
            "authorization_servers",
            json!(resource.authorization_servers),
        );
    }
    if !resource.scopes_supported.is_empty() {
        add("scopes_supported", json!(resource.scopes_supported));
    }
    if let Some(url) = &resource.documentation {
        add("resource_documentation", json!(url));
    }
    let mut methods: Vec<&str> = steps
        .iter()
        .filter_map(|(location, _)| method(location))
        .collect();
    methods.sort_unstable();
    methods.dedup();
    add("bearer_methods_supported", json!(methods));
    let proofs = steps.iter().filter_map(|(_, dpop)| *dpop);
    let mut algorithms: Vec<JwtAlgorithm> = Vec::new();
    for algorithm in proofs.clone().flat_map(|dpop| &dpop.algorithms) {
        if !algorithms.contains(algorithm) {
            algorithms.push(*algorithm);
        }
    }
    if !algorithms.is_empty() {
        let names: Vec<_> = algorithms.into_iter().map(JwtAlgorithm::name).collect();
        add("dpop_signing_alg_values_supported", json!(names));
        let required = proofs.clone().any(|dpop| dpop.required);
        add("dpop_bound_access_tokens_required", json!(required));
    }
    let asks = |network: &Network| {
        let tls = network.tls.as_ref();
        pipeline.networks.contains(&network.name)
            && tls.is_some_and(|tls| tls.asks_for_certificate())
    };
    let by_certificate = !steps.is_empty() && networks.iter().any(asks);
    add(
        "tls_client_certificate_bound_access_tokens",
        json!(by_certificate),
    );
    Value::Object(members).to_string().into()
}

/// Where a step looks for its token, and which proofs it takes.
type TokenStep<'a> = (&'a CredentialLocation, Option<&'a Dpop>);

fn token_steps(pipeline: &Pipeline) -> impl Iterator<Item = TokenStep<'_>> {
    let steps = pipeline.steps.iter();
    steps.filter_map(|step| match &step.enforced_auth()?.settings {
        AuthSettings::Jwt(settings) => Some((&settings.location, settings.dpop.as_ref())),
        AuthSettings::Introspection(settings) => Some((&settings.location, settings.dpop.as_ref())),
        AuthSettings::Basic(_) | AuthSettings::ApiKey(_) | AuthSettings::MutualTls(_) => None,
    })
}

/// The way of RFC 6750 section 2; `None`: another one.
fn method(location: &CredentialLocation) -> Option<&'static str> {
    match location {
        CredentialLocation::Authorization => Some("header"),
        CredentialLocation::Query(name) if name == "access_token" => Some("query"),
        CredentialLocation::Query(_)
        | CredentialLocation::Header(_)
        | CredentialLocation::Cookie(_) => None,
    }
}
