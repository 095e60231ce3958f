//! The typed configuration: what the program uses.
//!
//! A value that is wrong cannot be built: everything here has been checked by the loader, and
//! nothing is validated again later. Values are in their final units (`Duration`, bytes,
//! `SocketAddr`); references between tables are resolved, so a [`Pipeline`] holds its steps and
//! backends rather than their names.

mod backend;
mod balance;
mod binding;
mod boundary;
mod cloud;
mod cors;
mod error;
mod expression;
mod header_rules;
mod introspection;
mod jwt;
mod key_path;
mod limit;
mod network;
mod pattern;
mod pipeline;
mod policy;
mod reach;
mod receiver;
mod revocation;
mod runbeam;
mod secret;
mod shared;
mod step;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

pub use backend::*;
pub use balance::*;
pub use binding::*;
pub use boundary::PrefixBoundary;
pub(crate) use cloud::change_name;
pub use cloud::{Cloud, SetAside};
pub use cors::*;
pub use error::{Error, ErrorKind, Errors, LoadError};
pub use expression::*;
pub use header_rules::*;
pub use introspection::*;
pub use jose::Algorithm as JwtAlgorithm;
pub use jwt::*;
pub(crate) use key_path::is_bare;
pub use key_path::{KeyPath, Segment};
pub use limit::*;
pub use network::*;
pub use pattern::*;
pub use pipeline::*;
pub use policy::*;
pub use reach::{Reach, Unreachable};
pub use receiver::{BackchannelLogout, SecurityEvents};
pub use revocation::RevocationLimits;
pub use runbeam::*;
pub use secret::Secret;
pub use shared::*;
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
    /// `proxy.forwarded`: `Forwarded` (RFC 7239) is read from them, and written. Default false.
    pub forwarded: bool,
    /// `proxy.resolve_secs`: after what time names of upstreams are looked up again. `None`: as
    /// long as DNS lets an answer be kept, 5 s to 5 min; 30 s for what is not from DNS.
    pub resolve_interval: Option<Duration>,
    /// `proxy.grace_secs`: at most this long for what is in flight when stopping. Default 15 s.
    pub grace: Duration,
    /// `proxy.shutdown_delay_secs`: how long it goes on accepting connections once it was told to
    /// stop, and is no longer ready. Default 0.
    pub shutdown_delay: Duration,
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
    /// `[audit] path`: a file of its own for the audit log. `None`: it is part of the log.
    pub audit_path: Option<PathBuf>,
    /// `[revocations]`.
    pub revocations: RevocationLimits,
    /// `[tracing]`; `None`: no spans are exported.
    pub tracing: Option<Tracing>,
    /// `[shared]`: the store that several nodes count in together.
    pub shared: Option<SharedStore>,
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

    /// Where the Management API answers; `None`: it is off.
    pub fn management_address(&self) -> Option<ManagementAddress> {
        let management = self.management.as_ref()?;
        let mut networks = self.networks.iter();
        let network = networks.find(|network| network.name == management.network)?;
        Some(ManagementAddress {
            base_path: management.base_path.clone(),
            network: network.clone(),
        })
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

/// Where the Management API answers.
#[derive(Debug, Clone, PartialEq)]
pub struct ManagementAddress {
    /// As in [`Management`].
    pub base_path: String,
    /// Its network.
    pub network: Network,
}

/// `[tracing]`: spans of requests go to a receiver of OTLP over HTTP.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracing {
    /// `endpoint`, with `/v1/traces` behind it.
    pub url: String,
    /// `sample_ratio`: the share of requests that get a span, 0 to 1, unless a trusted peer has
    /// decided. Default 1.
    pub sample_ratio: f64,
    /// `service_name`. Default `harmony-edge`.
    pub service_name: String,
    /// `include_subject`: whether a span says who authenticated. Default false.
    pub include_subject: bool,
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
