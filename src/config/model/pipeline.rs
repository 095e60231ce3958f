//! Pipelines and what they are made of.

use std::sync::Arc;

use http::Method;

use super::*;

/// `[pipelines.NAME]`, with everything it refers to.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    /// The table's name.
    pub name: Arc<str>,
    /// `description`, or empty.
    pub description: String,
    /// `networks`: names of [`Config::networks`]; at least one; never the management network.
    pub networks: Vec<Arc<str>>,
    /// `endpoints`: where requests come in; at least one.
    pub endpoints: Vec<Endpoint>,
    /// The request side of `middleware`, or the main file's `[[middleware]]` entries, in order.
    /// Empty: the pipeline is open.
    pub steps: Vec<Step>,
    /// `backends`: where requests go, sharing the load; empty only when every endpoint answers by
    /// itself (`echo`). Those that name a `balance` name the same one.
    pub backends: Vec<Backend>,
    /// `case_sensitive_paths`: whether its servers tell upper case from lower case in paths, so
    /// that another pipeline may serve what differs from its paths in case only. Default false.
    pub case_sensitive_paths: bool,
    /// `encoded_slashes = "reject"`: a path with `%2F` is always 400. Default: `"keep"`.
    pub reject_encoded_slashes: bool,
    /// `resource`: what it publishes of itself.
    pub resource: Option<Resource>,
}

impl Pipeline {
    /// How the upstreams of all its backends share the load.
    pub fn balance(&self) -> Balance {
        let named = self.backends.iter().find_map(Backend::balance);
        named.cloned().unwrap_or_default()
    }
}

/// `[endpoints.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// The table's name.
    pub name: Arc<str>,
    /// `service`.
    pub service: Service,
    /// `path_prefix`: begins with `/`, canonical, no trailing slash unless it is `/` alone. Default
    /// `/`.
    pub path_prefix: String,
    /// `prefix_boundary`. Default [`PrefixBoundary::Segment`].
    pub prefix_boundary: PrefixBoundary,
    /// `strip_prefix`: whether the upstream gets the path without the prefix. Default true.
    pub strip_prefix: bool,
    /// `hosts`, in lower case, without ports. Empty: any host.
    pub hosts: Vec<String>,
    /// `methods`. Empty: every method.
    pub methods: Vec<Method>,
    /// `max_body_size`, bytes. Default 10 MiB.
    pub max_body_size: u64,
}

/// `service` of an endpoint or a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// HTTP.
    Http,
    /// Answers with the request as JSON, credentials left out.
    Echo,
}
