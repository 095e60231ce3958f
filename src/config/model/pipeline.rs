//! Pipelines and what they are made of.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use http::{Method, StatusCode};

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
    /// itself (`echo`, `redirect`, `backchannel-logout`,
    /// `security-events`). Those that name a `balance` name the same one.
    pub backends: Vec<Backend>,
    /// `case_sensitive_paths`: whether its servers tell upper case from lower case in paths, so
    /// that another pipeline may serve what differs from its paths in case only. Default false.
    pub case_sensitive_paths: bool,
    /// `encoded_slashes = "reject"`: a path with `%2F` is always 400. Default: `"keep"`.
    pub reject_encoded_slashes: bool,
    /// `resource`: what it publishes of itself.
    pub resource: Option<Resource>,
    /// `access_log` and `access_log_sample`.
    pub access_log: AccessLog,
}

/// Which requests of a pipeline the access log shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AccessLog {
    /// `access_log` is not `"off"`: those that were rejected or failed (status 400 and above).
    pub errors: bool,
    /// The share of the others, 0 to 1: `access_log_sample`, or 0 with `access_log = "errors"`.
    /// Default 1.
    pub sample: f64,
}

impl Pipeline {
    /// Whether nothing is behind it that its steps could protect. If that holds for one endpoint,
    /// it does for all.
    pub fn is_self_contained(&self) -> bool {
        let mut endpoints = self.endpoints.iter();
        endpoints.any(|endpoint| endpoint.service.is_self_contained())
    }

    /// The hosts that any of its endpoints is for. Empty: every host.
    pub fn hosts(&self) -> Vec<String> {
        let mut endpoints = self.endpoints.iter();
        if endpoints.any(|endpoint| endpoint.hosts.is_empty()) {
            return Vec::new();
        }
        let hosts = self.endpoints.iter().flat_map(|endpoint| &endpoint.hosts);
        let hosts: BTreeSet<&String> = hosts.collect();
        hosts.into_iter().cloned().collect()
    }

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
    /// `add_prefix`: stands in front of what the upstream gets, behind its own base path; the same
    /// form as `path_prefix`. Default `/`: nothing.
    pub add_prefix: String,
    /// `hosts`, in lower case, without ports. `*.NAME` is whatever is below a name, by one label or
    /// more. Empty: any host.
    pub hosts: Vec<String>,
    /// `methods`. Empty: every method.
    pub methods: Vec<Method>,
    /// `max_body_size`, bytes. Default 10 MiB.
    pub max_body_size: u64,
}

/// `service` of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Service {
    /// HTTP.
    Http,
    /// Answers with the request as JSON, credentials left out.
    Echo,
    /// Sends the client elsewhere.
    Redirect(Redirect),
    /// Is told by an issuer that somebody has logged out.
    BackchannelLogout(BackchannelLogout),
    /// Is told by a transmitter that something has happened.
    SecurityEvents(SecurityEvents),
}

impl Service {
    /// The value of `service`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Echo => "echo",
            Self::Redirect(_) => "redirect",
            Self::BackchannelLogout(_) => "backchannel-logout",
            Self::SecurityEvents(_) => "security-events",
        }
    }

    /// Whether nothing is behind it that the steps of its pipeline could protect: it sends clients
    /// elsewhere, or verifies itself what it is sent.
    pub fn is_self_contained(&self) -> bool {
        match self {
            Self::Http | Self::Echo => false,
            Self::Redirect(_) | Self::BackchannelLogout(_) | Self::SecurityEvents(_) => true,
        }
    }
}

/// Where `service = "redirect"` sends a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// `to`: an absolute URL or a path, in parts. Whatever they are filled with, the authority is
    /// the one that is written, or has the request's own host in it.
    pub to: Vec<RedirectPart>,
    /// `status`: 301, 302, 307 or 308. Default 308.
    pub status: StatusCode,
}

/// A part of a redirect's target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedirectPart {
    /// As it is written.
    Text(String),
    /// `{host}`: the host that was asked for, without port; only where the endpoint names `hosts`.
    Host,
    /// `{path}`: the whole path with its query.
    Path,
}

impl fmt::Display for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.status.as_u16())?;
        self.to.iter().try_for_each(|part| {
            f.write_str(match part {
                RedirectPart::Text(text) => text,
                RedirectPart::Host => "{host}",
                RedirectPart::Path => "{path}",
            })
        })
    }
}
