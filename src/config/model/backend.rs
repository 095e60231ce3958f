//! Backends.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::*;

/// `[backends.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Backend {
    /// The table's name.
    pub name: Arc<str>,
    /// What answers.
    pub target: BackendTarget,
    /// `weight`, 0 to 1000: its share among the backends of a pipeline without `when`; 0: none.
    /// `None`: 1 where another backend names one; where none does, the upstreams of all share.
    pub weight: Option<u32>,
    /// `when`: it takes the requests that fit, and no others.
    pub when: Option<When>,
}

/// `when`: what a request that a backend takes has. It decides where a request goes, and never
/// whether it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct When {
    /// Where the value stands.
    pub location: WhenLocation,
    /// `value`: as it is, to the letter.
    pub value: String,
}

/// Where `when` looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhenLocation {
    /// `header`: never one that the edge takes away or fills itself.
    Header(HeaderName),
    /// `cookie`.
    Cookie(String),
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            WhenLocation::Header(name) => write!(f, "{name}: {}", self.value),
            WhenLocation::Cookie(name) => write!(f, "cookie {name}={}", self.value),
        }
    }
}

impl Backend {
    /// Whether it takes requests that no `when` fits.
    pub fn shares(&self) -> bool {
        self.when.is_none() && self.weight != Some(0)
    }

    /// What it says of how the load is shared.
    pub fn balance(&self) -> Option<&Balance> {
        match &self.target {
            BackendTarget::Http(http) => http.balance.as_ref(),
            BackendTarget::Echo => None,
        }
    }
}

/// What answers a request that passed its pipeline's steps.
#[derive(Debug, Clone, PartialEq)]
pub enum BackendTarget {
    /// `service = "echo"`.
    Echo,
    /// `service = "http"`.
    Http(Box<HttpBackend>),
}

/// A backend with `service = "http"`, its target merged in.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpBackend {
    /// `upstreams`, in their order, or the one of `base_url`. At least one.
    pub upstreams: Vec<UpstreamUrl>,
    /// `balance` and `consistent_by`; `None`: as the other backends of the pipeline have it, else
    /// [`Balance::RoundRobin`].
    pub balance: Option<Balance>,
    /// `health_check`. Default: none; what becomes of requests tells.
    pub health_check: Option<HealthCheck>,
    /// `eject_after` and `eject_secs`.
    pub ejection: Ejection,
    /// `ca_cert_path`: trust these roots instead of the system's.
    pub ca_cert_path: Option<PathBuf>,
    /// `host = "upstream"`: send the upstream's own `Host` instead of the client's.
    pub send_upstream_host: bool,
    /// `connect_timeout_secs`. Default 5 s.
    pub connect_timeout: Duration,
    /// `timeout_secs`: from the end of the request to the response head. Default 30 s.
    pub head_timeout: Duration,
    /// `read_timeout_secs`: without a word from either side. Default 60 s.
    pub read_timeout: Duration,
    /// `total_timeout_secs`: the whole exchange; `None` for 0. Default none.
    pub total_timeout: Option<Duration>,
    /// `max_retries`: how often an idempotent request is tried again. Default 1.
    pub max_retries: u32,
    /// `max_connections`: to its upstreams at a time, idle ones included. `None`: three quarters of
    /// [`Config::max_upstream_connections`].
    pub max_connections: Option<usize>,
    /// `send_proxy_protocol`: each connection begins with a PROXY header, which names its client.
    pub send_proxy_protocol: Option<ProxyProtocol>,
    /// `authentication = "authentications.NAME"`: the credential that the upstream gets.
    pub credential: Option<OutboundCredential>,
}

/// A version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// `"v1"`: a line of text.
    V1,
    /// `"v2"`: binary.
    V2,
}

/// The credential that an upstream gets, ready for the `Authorization` header.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboundCredential(pub Secret);
