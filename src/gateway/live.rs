//! The gateway that serves now, and the only way in for another one.
//!
//! A reload builds a whole gateway beside the old one and swaps one pointer. On any error the old one stays, untouched, and the error is kept for whoever asks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use ring::digest::{Context, Digest, SHA256};

use super::{Gateway, Names, Tickets};
use crate::auth::{KeySets, Shared};
use crate::config::{self, Config};
use crate::policy::Limiters;

/// Reads the configuration anew, from wherever it came.
pub type Loader = Arc<dyn Fn() -> Result<Config, config::Errors> + Send + Sync>;

/// The gateway that serves now, and what it shares with the one before and the one after.
#[derive(Debug)]
pub struct Live {
    gateway: ArcSwap<Gateway>,
    shared: Shared,
    names: Names,
    tickets: Tickets,
    limiters: Limiters,
    applied: Mutex<Applied>,
}

/// What was applied last, and how the last try ended. Its lock also keeps reloads apart.
#[derive(Debug)]
struct Applied {
    config: Config,
    fingerprint: Fingerprint,
    status: Status,
}

/// How the configuration stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Grows with every configuration that was put in service; the first is 1.
    pub generation: u64,
    /// When the configuration that serves was put in service.
    pub applied_at: SystemTime,
    /// Why the last reload was refused; `None` after one that was not.
    pub last_error: Option<String>,
}

/// How a reload ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Reload {
    /// Neither the configuration nor a file that it names has changed.
    Unchanged,
    /// The new configuration serves.
    Reloaded(Diff),
}

/// What a reload changed: names of pipelines.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Were not there before.
    pub added: Vec<String>,
    /// Are no longer there.
    pub removed: Vec<String>,
    /// Have other settings.
    pub changed: Vec<String>,
}

/// Why a reload was refused. What served before goes on serving.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] config::Errors),
    /// Something changed that a running process cannot change.
    #[error(
        "restart required: {} changed; nothing was applied; to change it without losing a request, start a new process with --upgrade, or send SIGUSR2 to this one",
        .0.join(", ")
    )]
    RestartRequired(Vec<String>),
}

impl Live {
    /// Builds the first gateway.
    pub fn start(config: Config, shared: Shared) -> Result<Self, config::Errors> {
        let names = Names::default();
        shared.key_sets().remember_tokens(config.token_cache_bytes);
        let tickets = Tickets::default();
        let gateway = Gateway::build(&config, &shared, &names, &tickets)?;
        warn(&gateway);
        Ok(Self {
            gateway: ArcSwap::from_pointee(gateway),
            shared,
            names,
            tickets,
            limiters: Limiters::default(),
            applied: Mutex::new(Applied {
                fingerprint: Fingerprint::of(&config.files),
                config,
                status: Status {
                    generation: 1,
                    applied_at: SystemTime::now(),
                    last_error: None,
                },
            }),
        })
    }

    /// The gateway for one request. Keep it; a second call may return another one.
    pub fn gateway(&self) -> Arc<Gateway> {
        self.gateway.load_full()
    }

    /// Key sets of the process.
    pub fn key_sets(&self) -> &KeySets {
        self.shared.key_sets()
    }

    /// Names of upstreams.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Whether every key set and every name of an upstream has been tried once.
    pub fn is_warm(&self) -> bool {
        self.names.all_tried() && self.key_sets().all_tried()
    }

    /// Counts of requests, which every configuration shares.
    pub fn limiters(&self) -> &Limiters {
        &self.limiters
    }

    /// How the configuration stands.
    pub fn status(&self) -> Status {
        self.applied().status.clone()
    }

    /// SHA-256, in hexadecimal, of the files that the configuration was read from and of those that it names.
    pub fn fingerprint(&self) -> String {
        let bytes = self.applied().fingerprint.0;
        bytes
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Puts a configuration in service, or says why not. Reads files: not for a worker that serves requests.
    pub fn apply(
        &self,
        load: impl FnOnce() -> Result<Config, config::Errors>,
    ) -> Result<Reload, ReloadError> {
        let mut applied = self.applied();
        let outcome = self.try_apply(&mut applied, load);
        match &outcome {
            Ok(Reload::Unchanged) => log::info!("reload: nothing has changed"),
            Ok(Reload::Reloaded(diff)) => log::info!(
                "reload: generation {} serves: {diff}",
                applied.status.generation
            ),
            Err(error) => {
                log::error!("reload refused, the configuration before goes on serving: {error}")
            }
        }
        applied.status.last_error = outcome.as_ref().err().map(ToString::to_string);
        outcome
    }

    fn try_apply(
        &self,
        applied: &mut Applied,
        load: impl FnOnce() -> Result<Config, config::Errors>,
    ) -> Result<Reload, ReloadError> {
        let config = load()?;
        let fingerprint = Fingerprint::of(&config.files);
        if config == applied.config && fingerprint == applied.fingerprint {
            return Ok(Reload::Unchanged);
        }
        let fixed = fixed_changes(&applied.config, &config);
        if !fixed.is_empty() {
            return Err(ReloadError::RestartRequired(fixed));
        }
        self.key_sets().remember_tokens(config.token_cache_bytes);
        let gateway = Gateway::build(&config, &self.shared, &self.names, &self.tickets)?;
        warn(&gateway);
        let diff = Diff::between(&applied.config, &config);
        self.gateway.store(Arc::new(gateway));
        applied.config = config;
        applied.fingerprint = fingerprint;
        applied.status.generation += 1;
        applied.status.applied_at = SystemTime::now();
        Ok(Reload::Reloaded(diff))
    }

    fn applied(&self) -> MutexGuard<'_, Applied> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What differs and is fixed when the process starts.
fn fixed_changes(before: &Config, after: &Config) -> Vec<String> {
    let mut changes: Vec<String> = [
        ("proxy.id", before.id != after.id),
        ("proxy.threads", before.threads != after.threads),
        ("proxy.grace_secs", before.grace != after.grace),
        ("proxy.state_dir", before.state_dir != after.state_dir),
        ("management", before.management != after.management),
        ("logging", before.logging != after.logging),
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
        if !after
            .networks
            .iter()
            .any(|other| other.name == network.name)
        {
            changes.push(format!("network.{}", network.name));
        }
    }
    changes
}

/// Whether a listener can go on as it is. Its certificates, and whom it redirects, are read anew for each connection; whether it speaks TLS is not, since kept
/// connections would go on in the other way, nor whether the management network asks for certificates.
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

fn warn(gateway: &Gateway) {
    for warning in gateway.warnings() {
        log::warn!("{warning}");
    }
}

impl Diff {
    fn between(before: &Config, after: &Config) -> Self {
        let by_name = |config: &Config| -> BTreeMap<String, config::Pipeline> {
            let named = |pipeline: &config::Pipeline| (pipeline.name.to_string(), pipeline.clone());
            config.pipelines.iter().map(named).collect()
        };
        let (before, after) = (by_name(before), by_name(after));
        let mut diff = Self::default();
        for (name, pipeline) in &after {
            match before.get(name) {
                None => diff.added.push(name.clone()),
                Some(other) if other != pipeline => diff.changed.push(name.clone()),
                Some(_) => {}
            }
        }
        diff.removed = before
            .into_keys()
            .filter(|name| !after.contains_key(name))
            .collect();
        diff
    }
}

impl std::fmt::Display for Diff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            added,
            removed,
            changed,
        } = self;
        write!(
            f,
            "pipelines added {added:?}, removed {removed:?}, changed {changed:?}"
        )
    }
}

/// The content of the files that a configuration was read from, and of those that it names.
#[derive(Debug)]
struct Fingerprint(Digest);

impl Fingerprint {
    fn of(files: &[PathBuf]) -> Self {
        let mut context = Context::new(&SHA256);
        for file in files {
            // A file that is gone counts as one that changed; whether it matters, building tells.
            let content = std::fs::read(file).unwrap_or_default();
            context.update(&content.len().to_le_bytes());
            context.update(&content);
        }
        Self(context.finish())
    }
}

impl PartialEq for Fingerprint {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_ref() == other.0.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const TEXT: &str = r#"
        [proxy]
        id = "t"
        [network.public.http]
        bind_address = "127.0.0.1"
        bind_port = 8080
        [pipelines.one]
        networks = ["public"]
        endpoints = ["one"]
        [endpoints.one]
        service = "echo"
        options = { path_prefix = "/one" }
    "#;

    fn parse(text: &str) -> Result<Config, config::Errors> {
        config::parse(
            Path::new("t.toml"),
            text,
            &BTreeMap::<String, String>::new(),
        )
    }

    fn live() -> Live {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Live::start(parse(TEXT).unwrap(), Shared::new(None).unwrap()).unwrap()
    }

    #[test]
    fn a_change_is_put_in_service_and_told_apart() {
        let live = live();
        let before = live.gateway();
        assert_eq!(live.apply(|| parse(TEXT)).unwrap(), Reload::Unchanged);
        assert!(Arc::ptr_eq(&before, &live.gateway()));
        let text = TEXT.replace("/one", "/other")
            + "[pipelines.two]\nnetworks = [\"public\"]\nendpoints = [\"two\"]\n[endpoints.two]\nservice = \"echo\"\n";
        let Reload::Reloaded(diff) = live.apply(|| parse(&text)).unwrap() else {
            panic!("unchanged");
        };
        assert_eq!(
            (diff.added, diff.changed),
            (vec!["two".to_owned()], vec!["one".to_owned()])
        );
        assert_eq!(live.status().generation, 2);
        assert!(!Arc::ptr_eq(&before, &live.gateway()));
    }

    #[test]
    fn an_error_changes_nothing_and_is_kept() {
        let live = live();
        let before = live.gateway();
        assert!(
            live.apply(|| parse(&TEXT.replace("echo", "dicom")))
                .is_err()
        );
        let status = live.status();
        assert!(
            status
                .last_error
                .is_some_and(|error| error.contains("dicom"))
        );
        assert_eq!(status.generation, 1);
        assert!(Arc::ptr_eq(&before, &live.gateway()));
        assert_eq!(live.apply(|| parse(TEXT)).unwrap(), Reload::Unchanged);
        assert_eq!(live.status().last_error, None);
    }

    #[test]
    fn the_token_cache_is_as_large_as_the_configuration_says() {
        let live = live();
        let limit = || live.key_sets().token_cache().limit;
        assert_eq!(limit(), 64 << 20);
        for (mebibytes, bytes) in [(2, 2 << 20), (0, 0)] {
            let line = format!("id = \"t\"\ntoken_cache_mb = {mebibytes}");
            let text = TEXT.replace("id = \"t\"", &line);
            live.apply(|| parse(&text)).unwrap();
            assert_eq!(limit(), bytes);
        }
    }

    #[test]
    fn a_listener_needs_a_restart() {
        let live = live();
        let text = TEXT.replace("8080", "8081").replace("/one", "/other");
        let error = live.apply(|| parse(&text)).unwrap_err().to_string();
        assert!(
            error.starts_with("restart required: network.public changed; nothing was applied; "),
            "{error}"
        );
        assert!(error.contains("--upgrade"), "{error}");
    }
}
