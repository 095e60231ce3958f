//! The typed configuration: what the program uses.
//!
//! A value that is wrong cannot be built: everything here has been checked by the loader, and
//! nothing is validated again later. Values are in their final units (`Duration`, bytes,
//! `SocketAddr`); references between tables are resolved, so a [`Pipeline`] holds its steps and
//! backends rather than their names.

mod balance;
mod boundary;
mod cloud;
mod error;
mod key_path;
mod pattern;
mod policy;
mod reach;
mod step;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use ipnet::IpNet;
use zeroize::Zeroizing;

pub use balance::*;
pub use boundary::PrefixBoundary;
pub(crate) use cloud::change_name;
pub use cloud::{Cloud, SetAside};
pub use error::{Error, ErrorKind, Errors, LoadError};
pub use jose::Algorithm as JwtAlgorithm;
pub(crate) use key_path::is_bare;
pub use key_path::{KeyPath, Segment};
pub use pattern::*;
pub use policy::*;
pub use reach::{Reach, Unreachable};
pub use step::*;

/// A whole, valid configuration: the local files and what the cloud adds to them, typed.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `proxy.id` (or `proxy.name`): letters, digits, `-` and `_`.
    pub id: String,
    /// `proxy.threads`: worker threads of the proxy service. Never 0: the default, one per core, is
    /// resolved.
    pub threads: usize,
    /// `proxy.trusted_proxies`: peers whose `X-Forwarded-*` is believed. Default: none.
    pub trusted_proxies: Vec<IpNet>,
    /// `proxy.grace_secs`: at most this long for what is in flight when stopping. Default 15 s.
    pub grace: Duration,
    /// `proxy.max_upstream_connections`: to all upstreams at a time, idle ones included. `None`: as
    /// many as the limit of open files has room for beside the clients, 15,000 at most.
    pub max_upstream_connections: Option<usize>,
    /// `proxy.token_cache_mb`, in bytes. Default 64 MiB.
    pub token_cache_bytes: u64,
    /// `proxy.state_dir`, else `$STATE_DIRECTORY`, else `$HOME/.runbeam/<id>`; `None` when none of
    /// them is to be had.
    pub state_dir: Option<PathBuf>,
    /// `proxy.watch_files`: reload when a file changes. Default true.
    pub watch_files: bool,
    /// `[network.*]`, in the order of the file. At least one.
    pub networks: Vec<Network>,
    /// `[management]`; `None` when absent or `enabled = false`.
    pub management: Option<Management>,
    /// `[runbeam]` (or `[provider.runbeam]`); `None` when absent or `enabled = false`.
    pub runbeam: Option<Runbeam>,
    /// What of `[runbeam]` holds whether the cloud is on or not: what it sent serves meanwhile.
    pub cloud_rights: CloudRights,
    /// What pipelines from the cloud may connect to.
    pub reach: Arc<Reach>,
    /// `[logging]`.
    pub logging: Logging,
    /// `[pipelines.*]`, in the order of the file and then of the pipelines directory.
    pub pipelines: Vec<Pipeline>,
    /// What is allowed but deserves a word: insecure choices, ignored tables. Logged once at start.
    pub notes: Vec<Note>,
    /// Every file that was read or that the configuration names, for the watcher.
    pub files: Vec<PathBuf>,
    /// The pipelines directory, or where it would be; `None` where the main file holds the
    /// pipelines.
    pub pipelines_dir: Option<PathBuf>,
    /// What the cloud added.
    pub cloud: Cloud,
}

impl Config {
    /// Who a pipeline is from.
    pub fn owner(&self, pipeline: &Pipeline) -> Owner {
        match self.cloud.pipelines.contains(&pipeline.name) {
            true => Owner::Cloud,
            false => Owner::Local,
        }
    }
}

/// Something the operator should know about a configuration that loads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Whether it is logged as a warning (an insecure choice) or as information.
    pub warning: bool,
    /// The whole sentence, with file, line and key path where it has them.
    pub text: String,
}

/// `[network.NAME.http]`: one listener.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// The table's name.
    pub name: Arc<str>,
    /// `bind_address` and `bind_port`.
    pub bind: Bind,
    /// TLS; `None`: plain.
    pub tls: Option<ListenerTls>,
    /// `max_connections`: of clients, at a time. `None`: 10,000, on the management network 1,000.
    pub max_connections: Option<usize>,
    /// `max_connections_per_address`: of one client address (IPv6: /64) at a time; over HTTP/2 and
    /// behind `trusted_proxies`, requests of one client. 0: no limit. Default 5,000.
    pub max_connections_per_address: usize,
    /// `min_body_rate`: bytes a second that the body of a request must come at, after a grace of
    /// 5 s. 0: no minimum. Default 240.
    pub min_body_rate: u64,
    /// `force_https`: everything is redirected to https at this port. Never beside `tls`.
    pub https_port: Option<u16>,
}

/// TLS on a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// `cert_path` with `key_path`, then `certificates`: at least one. The first is shown to who
    /// asks for no name, or for one that none is for.
    pub certificates: Vec<CertificateFiles>,
    /// `client_ca_path`: clients may show a certificate of one of these authorities; on the
    /// management network they must.
    pub client_ca_path: Option<PathBuf>,
}

/// The files of one certificate. They can be read; what is in them has not been looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// `cert_path`: the certificate and those between it and its authority, PEM.
    pub cert_path: PathBuf,
    /// `key_path`: its key, PEM: PKCS#8, PKCS#1 or SEC1.
    pub key_path: PathBuf,
}

/// Where a listener binds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    /// An address and a port.
    Tcp(SocketAddr),
    /// `bind_address = "unix:/path"`: management only.
    Unix(PathBuf),
}

impl Bind {
    /// The port, if it has one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `[management]`, enabled.
#[derive(Debug, Clone, PartialEq)]
pub struct Management {
    /// `base_path` with one leading and no trailing slash: `/admin`.
    pub base_path: String,
    /// `network`: its name; it is one of [`Config::networks`] and serves no pipeline.
    pub network: Arc<str>,
    /// `hosts`: names accepted in `Host` besides IP literals and `localhost`, in lower case.
    pub hosts: Vec<String>,
    /// `allow_from`: peers outside loopback that may call it.
    pub allow_from: Vec<IpNet>,
    /// `token_hash`: the SHA-256 of the management token.
    pub token_hash: Option<[u8; 32]>,
}

/// `[runbeam]`, enabled.
#[derive(Debug, Clone, PartialEq)]
pub struct Runbeam {
    /// `cloud_api_base_url`: https, or http to loopback; no trailing slash. Default
    /// `https://api.runbeam.cloud`.
    pub cloud_api_base_url: String,
    /// `api_base_urls`: further bases that count as the same cloud; same form.
    pub api_base_urls: Vec<String>,
    /// `poll_interval_secs`: `None` for 0 (no polling), else 5 s to 1 h. Default 30 s.
    pub poll_interval: Option<Duration>,
    /// `token_store`. Default [`TokenStore::Auto`].
    pub token_store: TokenStore,
    /// `renew_before_days`. Default 5 days.
    pub renew_before: Duration,
    /// `report_status`. Default true.
    pub report_status: bool,
    /// `apply_changes`. Default true.
    pub apply_changes: bool,
}

/// What of `[runbeam]` says what the cloud may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CloudRights {
    /// `backend_allow`: the networks that its pipelines may connect to. `None`: not narrowed.
    pub backend_allow: Option<Vec<IpNet>>,
    /// `cloud_owns_uploaded`: it may change pipelines that an upload carried. Default false.
    pub owns_uploaded: bool,
}

/// Who wrote something. What the two count and strip is kept apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The operator, in the local files.
    #[default]
    Local,
    /// Runbeam Cloud.
    Cloud,
}

/// `runbeam.token_store`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenStore {
    /// The keyring where one answers, else the encrypted file.
    Auto,
    /// The operating system's keyring.
    Keyring,
    /// The age-encrypted file.
    File,
    /// Nothing is kept across a restart.
    Memory,
}

/// As the file names it.
impl fmt::Display for TokenStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Keyring => "keyring",
            Self::File => "file",
            Self::Memory => "memory",
        })
    }
}

/// `[logging]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Logging {
    /// `log_level`, a filter as in `RUST_LOG` (which wins). Default `info`.
    pub level: String,
    /// `format`. Default [`LogFormat::Text`].
    pub format: LogFormat,
    /// `log_file_path` when `log_to_file`; else `None` (standard error).
    pub file: Option<PathBuf>,
}

/// `logging.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One line of text a record.
    Text,
    /// One JSON object a record.
    Json,
}

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

/// `[backends.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Backend {
    /// The table's name.
    pub name: Arc<str>,
    /// What answers.
    pub target: BackendTarget,
}

impl Backend {
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
    /// `authentication = "authentications.NAME"`: the credential that the upstream gets.
    pub credential: Option<OutboundCredential>,
}

/// The credential that an upstream gets, ready for the `Authorization` header.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboundCredential(pub Secret);

/// A secret: zeroed when dropped, never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a secret over.
    pub fn new(value: String) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The secret itself. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
