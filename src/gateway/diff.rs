//! What one configuration changes about another, and what of it a running process cannot change.

use std::collections::BTreeMap;
use std::fmt;

use crate::config::{self, Config};

/// What a reload changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Names of pipelines that were not there before.
    pub added: Vec<String>,
    /// Names of pipelines that are no longer there.
    pub removed: Vec<String>,
    /// Names of pipelines that have other settings.
    pub changed: Vec<String>,
    /// What else changed: a table, or `files` for the content of files that the configuration
    /// names.
    pub others: Vec<&'static str>,
}

impl Diff {
    pub(super) fn between(before: &Config, after: &Config, other_files: bool) -> Self {
        let by_name = |config: &Config| -> BTreeMap<String, config::Pipeline> {
            let named = |pipeline: &config::Pipeline| (pipeline.name.to_string(), pipeline.clone());
            config.pipelines.iter().map(named).collect()
        };
        let mut diff = Self::default();
        let proxy = before.trusted_proxies != after.trusted_proxies
            || before.token_cache_bytes != after.token_cache_bytes
            || before.watch_files != after.watch_files
            || before.max_upstream_connections != after.max_upstream_connections
            || before.resolve_interval != after.resolve_interval
            || before.forwarded != after.forwarded;
        let others = [
            ("proxy", proxy),
            ("revocations", before.revocations != after.revocations),
            ("network", before.networks != after.networks),
            ("logging", before.logging != after.logging),
            (
                "runbeam",
                before.runbeam != after.runbeam || before.cloud_rights != after.cloud_rights,
            ),
            (
                "what is set aside",
                before.cloud.set_aside != after.cloud.set_aside,
            ),
        ];
        let others = others.into_iter().filter(|(_, changed)| *changed);
        diff.others = others.map(|(table, _)| table).collect();
        let (before, after) = (by_name(before), by_name(after));
        for (name, pipeline) in &after {
            match before.get(name) {
                None => diff.added.push(name.clone()),
                Some(other) if other != pipeline => diff.changed.push(name.clone()),
                Some(_) => {}
            }
        }
        let gone = |name: &String| !after.contains_key(name);
        diff.removed = before.into_keys().filter(gone).collect();
        if other_files && diff == Self::default() {
            diff.others.push("files");
        }
        diff
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pipelines = [
            ("added", &self.added),
            ("removed", &self.removed),
            ("changed", &self.changed),
        ];
        let mut parts: Vec<String> = pipelines
            .iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("pipelines {what} {names:?}"))
            .collect();
        if !self.others.is_empty() {
            parts.push(format!("changed {}", self.others.join(", ")));
        }
        f.write_str(&parts.join(", "))
    }
}

/// What differs and is fixed when the process starts.
pub(super) fn fixed_changes(before: &Config, after: &Config) -> Vec<String> {
    let mut changes: Vec<String> = [
        ("proxy.id", before.id != after.id),
        ("proxy.threads", before.threads != after.threads),
        ("proxy.grace_secs", before.grace != after.grace),
        (
            "proxy.shutdown_delay_secs",
            before.shutdown_delay != after.shutdown_delay,
        ),
        ("proxy.state_dir", before.state_dir != after.state_dir),
        ("management", before.management != after.management),
        (
            "logging",
            (before.logging.format, &before.logging.file)
                != (after.logging.format, &after.logging.file),
        ),
        ("audit", before.audit_path != after.audit_path),
        ("shared", before.shared != after.shared),
        ("tracing", before.tracing != after.tracing),
    ]
    .into_iter()
    .filter(|(_, changed)| *changed)
    .map(|(key, _)| key.to_owned())
    .collect();
    for network in &after.networks {
        let same = |other: &config::Network| is_same_listener(before, other, network);
        if !before.networks.iter().any(same) {
            changes.push(format!("network.{}", network.name));
        }
    }
    for network in &before.networks {
        let there = |other: &config::Network| other.name == network.name;
        if !after.networks.iter().any(there) {
            changes.push(format!("network.{}", network.name));
        }
    }
    changes
}

/// Whether a listener can go on as it is. Its certificates, and whom it redirects, are read anew
/// for each connection; whether it speaks TLS is not, since kept connections would go on in the
/// other way, nor whether the management network asks for certificates.
fn is_same_listener(config: &Config, before: &config::Network, after: &config::Network) -> bool {
    let asks = |network: &config::Network| {
        let of_management = config
            .management
            .as_ref()
            .is_some_and(|management| management.network == network.name);
        let tls = network.tls.as_ref();
        of_management && tls.is_some_and(|tls| tls.client_ca_path.is_some())
    };
    before.name == after.name
        && before.bind == after.bind
        && before.tls.is_some() == after.tls.is_some()
        && asks(before) == asks(after)
}
