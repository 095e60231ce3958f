//! The gateway that serves now, and the only way in for another one.
//!
//! SIGHUP, a change of the files, the Management API and a change from the cloud build a whole
//! gateway beside the old one and swap one pointer. On any error the old one stays, untouched, and
//! the error is kept for whoever asks.

mod apply;
mod candidate;
mod outcome;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::cloud_layer::{CloudLayer, LayerChange};
use super::fingerprint::{Fingerprint, WatchedFiles};
use super::{Backend, BackendStatus, Gateway, Resolver, Tickets, Upstreams};
use crate::auth::{Shared, SharedFailures};
use crate::config::{self, Config, Errors, Local, SetAside, Source, Upload};
use crate::policy::Limiters;
use crate::shared_store::SharedStore;
use crate::telemetry::Metrics;
use candidate::{log_new_warnings, origin, unusable_layer, watched, without_cloud};

pub use outcome::{ConfigStatus, Reload, ReloadError, Reloads};

/// The gateway that serves now, and what it shares with the one before and the one after.
#[derive(Debug)]
pub struct Live {
    gateway: ArcSwap<Gateway>,
    shared: Shared,
    upstreams: Upstreams,
    tickets: Tickets,
    limiters: Limiters,
    store: Option<SharedStore>,
    metrics: Metrics,
    /// Held from the first look at the files to the swap: it keeps changes apart.
    inputs: Mutex<Inputs>,
    /// Held for a moment only.
    applied: Mutex<Applied>,
    generation: watch::Sender<u64>,
}

/// What a configuration is made of.
#[derive(Debug)]
struct Inputs {
    source: Source,
    /// The local texts that serve.
    local: Local,
    layer: CloudLayer,
    /// Why what was kept of the cloud's could not be used, while its file is still there.
    broken: Option<SetAside>,
}

/// What serves, and how the last try to change it ended.
#[derive(Debug)]
struct Applied {
    config: Arc<Config>,
    fingerprint: Fingerprint,
    status: ConfigStatus,
    broken: Option<SetAside>,
    /// What the last try named that failed.
    tried: WatchedFiles,
}

impl Live {
    /// Reads the files and what was kept of the cloud's, and builds the first gateway. Whatever is
    /// wrong with the cloud's part is set aside ([`Live::set_aside`]). Writes nothing.
    ///
    /// # Errors
    ///
    /// What is wrong with the local files.
    pub fn start(source: Source, shared: Shared) -> Result<Self, Errors> {
        let upstreams = Upstreams::default();
        let alone = source.load()?;
        let (layer, broken) = match alone.state_dir.as_deref().map(CloudLayer::read) {
            Some(Ok(layer)) => (layer, None),
            Some(Err(error)) => (CloudLayer::default(), Some(unusable_layer(&error))),
            None => (CloudLayer::default(), None),
        };
        let (config, local) = source
            .read(&layer.texts())
            .map_err(|failed| failed.errors)?;
        shared.remember_tokens(config.token_cache_bytes);
        shared.revocations().set_limits(config.revocations);
        let store = config.shared.as_ref().map(SharedStore::new).transpose();
        let store = store.map_err(|error| Errors::from(config::Error::new(["shared"], error)))?;
        let limiters = Limiters::default();
        if let Some(store) = &store {
            limiters.share(Arc::new(store.clone()));
            let failures: Arc<dyn SharedFailures> = Arc::new(store.clone());
            shared.share(&failures);
            shared.share_proofs(Some(Arc::new(store.clone())));
        }
        let (tickets, metrics) = (Tickets::default(), Metrics::default());
        let build =
            |config: &Config| Gateway::build(config, &shared, &upstreams, &tickets, &metrics);
        // Before the files are read: one that changes meanwhile has another fingerprint then.
        let fingerprint = |config: &Config| Fingerprint::of(&config.files, &local);
        let first = fingerprint(&config);
        let (config, fingerprint, gateway) = match build(&config) {
            Ok(gateway) => (config, first, gateway),
            Err(errors) => {
                let config = without_cloud(&source, &local, &layer, errors)?;
                let fingerprint = fingerprint(&config);
                let gateway = build(&config)?;
                (config, fingerprint, gateway)
            }
        };
        log_new_warnings(&gateway, None);
        upstreams.resolver().set_interval(config.resolve_interval);
        for entry in config.cloud.set_aside.iter().chain(&broken) {
            log::error!("{entry}");
        }
        let now = SystemTime::now();
        Ok(Self {
            gateway: ArcSwap::from_pointee(gateway),
            shared,
            upstreams,
            tickets,
            limiters,
            store,
            metrics,
            generation: watch::Sender::new(1),
            applied: Mutex::new(Applied {
                fingerprint,
                status: ConfigStatus {
                    generation: 1,
                    source: origin(&config),
                    applied_at: now,
                    tried_at: now,
                    last_error: None,
                    last_errors: Vec::new(),
                    reloads: Reloads::default(),
                },
                config: Arc::new(config),
                broken: broken.clone(),
                tried: WatchedFiles::default(),
            }),
            inputs: Mutex::new(Inputs {
                source,
                local,
                layer,
                broken,
            }),
        })
    }

    /// The gateway for one request. Keep it; a second call may return another one.
    pub fn gateway(&self) -> Arc<Gateway> {
        self.gateway.load_full()
    }

    /// The configuration that serves.
    pub fn config(&self) -> Arc<Config> {
        self.applied().config.clone()
    }

    /// `[runbeam]` as it is now; `None` when it is off. [`Live::changes`] tells when to look again.
    pub fn runbeam(&self) -> Option<config::Runbeam> {
        self.applied().config.runbeam.clone()
    }

    /// The generation of the configuration that serves, whenever it changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// What authentication keeps from one configuration to the next.
    pub fn auth(&self) -> &Shared {
        &self.shared
    }

    /// Resolves the names of upstreams.
    pub fn resolver(&self) -> &Resolver {
        self.upstreams.resolver()
    }

    /// How the backends of the configuration that serves stand, in its order.
    pub fn backends(&self) -> Vec<BackendStatus> {
        BackendStatus::of(&self.gateway())
    }

    /// Gives an upstream no new requests from now on, or some again: the one of this backend that
    /// is named by its URL, or by host and port. How many requests are in progress there; `None`:
    /// there is no such upstream.
    pub fn drain(&self, backend: &str, upstream: &str, drained: bool) -> Option<usize> {
        let gateway = self.gateway();
        let pipelines = gateway.pipelines().iter();
        let backends = pipelines.flat_map(|pipeline| pipeline.backends());
        let mut found = None;
        for one in backends
            .filter(|one| *one.name == *backend)
            .filter_map(Backend::upstream)
        {
            let url = &one.url;
            let names = [url.origin(), url.whole(), url.shown(), url.server()];
            if names
                .iter()
                .any(|name| name == upstream.trim_end_matches('/'))
            {
                one.drain(drained);
                found = Some(one.health.status().in_flight);
            }
        }
        found
    }

    /// The drained upstreams: backend and origin of each.
    pub fn drained(&self) -> Vec<(String, String)> {
        let gateway = self.gateway();
        let pipelines = gateway.pipelines().iter();
        let backends = pipelines.flat_map(|pipeline| pipeline.backends());
        let upstreams = backends.filter_map(|one| Some((one, one.upstream()?)));
        let drained = upstreams.filter(|(_, upstream)| upstream.is_drained());
        let drained = drained.map(|(one, upstream)| (one.name.to_string(), upstream.url.origin()));
        drained.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Drains those that another process has drained.
    pub fn take_over_drained(&self, drained: &[(String, String)]) {
        for (backend, upstream) in drained {
            if self.drain(backend, upstream, true).is_some() {
                log::info!("backend {backend}: upstream {upstream} stays drained");
            }
        }
    }

    /// Whether every key set and every name of an upstream has been tried once.
    pub fn is_warm(&self) -> bool {
        self.resolver().all_tried() && self.shared.key_sets().all_tried()
    }

    /// Counts of requests, which every configuration shares.
    pub fn limiters(&self) -> &Limiters {
        &self.limiters
    }

    /// The store that the node shares counts by, if there is one.
    pub fn shared_store(&self) -> Option<&SharedStore> {
        self.store.as_ref()
    }

    /// What is counted of requests.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// How the configuration stands.
    pub fn status(&self) -> ConfigStatus {
        self.applied().status.clone()
    }

    /// What of the cloud's does not serve, and why.
    pub fn set_aside(&self) -> Vec<SetAside> {
        let applied = self.applied();
        let set_aside = applied.config.cloud.set_aside.iter();
        set_aside.chain(&applied.broken).cloned().collect()
    }

    /// What a change of which is to be followed by [`Live::reload`]: what serves and what the last
    /// try named.
    pub fn watched(&self) -> WatchedFiles {
        let applied = self.applied();
        let config = &applied.config;
        watched(&config.files, config.pipelines_dir.as_ref()).and(&applied.tried)
    }

    /// SHA-256, in hexadecimal, of the files that the configuration was read from and of those that
    /// it names.
    pub fn fingerprint(&self) -> String {
        self.applied().fingerprint.hex()
    }

    /// Whether a change from the cloud was applied, before a restart or after it. The last 1024 are
    /// remembered. May wait for a change that is under way.
    pub fn has_applied(&self, change: &str) -> bool {
        self.inputs().layer.has_applied(change)
    }

    /// Reads the local files again and puts them in service together with what the cloud sent.
    /// Reads files: not for a worker that serves requests.
    ///
    /// # Errors
    ///
    /// Why nothing changed.
    pub fn reload(&self) -> Result<Reload, ReloadError> {
        let mut inputs = self.inputs();
        let outcome = self.try_reload(&mut inputs);
        self.report("reload", outcome)
    }

    /// The same, for who has just done that, or read the files at the start: what is still wrong is
    /// not logged again, nor that nothing has changed.
    ///
    /// # Errors
    ///
    /// As [`Live::reload`].
    pub fn reload_again(&self) -> Result<Reload, ReloadError> {
        let mut inputs = self.inputs();
        match self.try_reload(&mut inputs) {
            Err(error) if self.status().last_error == Some(error.to_string()) => Err(error),
            Ok(Reload::Unchanged) if self.status().last_error.is_none() => Ok(Reload::Unchanged),
            outcome => self.report("reload", outcome),
        }
    }

    /// Puts a change from the cloud in service beside the local texts that serve, and keeps it for
    /// the next start. `id` is remembered as applied in the same write. A change that was applied
    /// before is `Unchanged`. Without a state directory it serves until the process ends.
    ///
    /// # Errors
    ///
    /// Why nothing changed, on disk neither.
    pub fn apply_change(&self, id: &str, change: LayerChange) -> Result<Reload, ReloadError> {
        let mut inputs = self.inputs();
        let outcome = self.try_apply_change(&mut inputs, id, change);
        self.report(&config::change_name(id), outcome)
    }

    /// Takes everything that the cloud sent out of service and forgets it, but for which changes
    /// were applied.
    ///
    /// # Errors
    ///
    /// Why nothing changed.
    pub fn discard_layer(&self) -> Result<Reload, ReloadError> {
        let mut inputs = self.inputs();
        let layer = inputs.layer.without_texts();
        let outcome = if inputs.layer.is_empty() && inputs.broken.is_none() {
            Ok(Reload::Unchanged)
        } else {
            self.apply_layer(&mut inputs, layer, None)
        };
        self.report("discarding the cloud's configuration", outcome)
    }

    /// The local configuration that serves, as a text for the cloud: references as they are
    /// written.
    ///
    /// # Errors
    ///
    /// The key path of every secret that stands in the files as it is.
    pub fn upload(&self) -> Result<Upload, Errors> {
        let inputs = self.inputs();
        inputs.source.upload(&inputs.local)
    }

    /// Remembers which pipelines an upload carried: with `runbeam.cloud_owns_uploaded`, the cloud
    /// may change them.
    pub fn note_upload(&self, pipelines: Vec<String>) {
        let mut inputs = self.inputs();
        let layer = inputs.layer.with_uploaded(pipelines);
        self.save_uploaded(&mut inputs, layer);
    }

    fn applied(&self) -> MutexGuard<'_, Applied> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inputs(&self) -> MutexGuard<'_, Inputs> {
        self.inputs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads from somewhere else from now on.
    #[cfg(test)]
    pub(crate) fn reload_from(&self, source: Source) -> Result<Reload, ReloadError> {
        self.inputs().source = source;
        self.reload()
    }
}

#[cfg(test)]
mod tests;
