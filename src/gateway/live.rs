//! The gateway that serves now, and the only way in for another one.
//!
//! SIGHUP, a change of the files, the Management API and a change from the cloud build a whole gateway beside the old one and swap one pointer. On any error the
//! old one stays, untouched, and the error is kept for whoever asks.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::diff::{Diff, fixed_changes};
use super::fingerprint::{Fingerprint, Watched};
use super::layer::{Layer, LayerChange};
use super::{Gateway, Names};
use crate::auth::{KeySets, Shared};
use crate::config::{self, Config, Error, Errors, Failed, Local, SetAside, Source, Upload};
use crate::policy::Limiters;

/// The gateway that serves now, and what it shares with the one before and the one after.
#[derive(Debug)]
pub struct Live {
    gateway: ArcSwap<Gateway>,
    shared: Shared,
    names: Names,
    limiters: Limiters,
    /// Held from the first look at the files to the swap: it keeps changes apart.
    parts: Mutex<Parts>,
    /// Held for a moment only.
    applied: Mutex<Applied>,
    generation: watch::Sender<u64>,
}

/// What a configuration is made of.
#[derive(Debug)]
struct Parts {
    source: Source,
    /// The local texts that serve.
    local: Local,
    layer: Layer,
    /// Why what was kept of the cloud's could not be used, while its file is still there.
    broken: Option<SetAside>,
}

/// What serves, and how the last try to change it ended.
#[derive(Debug)]
struct Applied {
    config: Arc<Config>,
    fingerprint: Fingerprint,
    status: Status,
    broken: Option<SetAside>,
    /// What the last try named that failed.
    tried: Watched,
}

/// How the configuration stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Grows with every configuration that was put in service; the first is 1.
    pub generation: u64,
    /// Where the configuration that serves came from: `file`, or `file+cloud`.
    pub source: &'static str,
    /// When the configuration that serves was put in service.
    pub applied_at: SystemTime,
    /// Why the last change was refused; `None` after one that was not.
    pub last_error: Option<String>,
    /// The same, one sentence for each thing that was wrong.
    pub last_errors: Vec<String>,
}

/// How a change ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Reload {
    /// Nothing of what serves has changed.
    Unchanged,
    /// The new configuration serves.
    Reloaded(Diff),
}

/// Why a change was refused. What served before goes on serving.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] Errors),
    /// Something changed that a running process cannot change.
    #[error(
        "restart required: {} changed; nothing was applied; to change it without losing a request, start a new process with --upgrade, or send SIGUSR2 to this one",
        .0.join(", ")
    )]
    RestartRequired(Vec<String>),
    /// What the cloud sent cannot be kept, so a restart would lose it.
    #[error("{} cannot be kept: {source}", .path.display())]
    NotKept {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl ReloadError {
    /// One sentence for each thing that is wrong.
    pub fn details(&self) -> Vec<String> {
        match self {
            Self::Config(errors) => errors.iter().map(ToString::to_string).collect(),
            other => vec![other.to_string()],
        }
    }
}

impl Live {
    /// Reads the files and what was kept of the cloud's, and builds the first gateway. Whatever is wrong with the cloud's part is set aside
    /// ([`Live::set_aside`]). Writes nothing.
    ///
    /// # Errors
    ///
    /// What is wrong with the local files.
    pub fn start(source: Source, shared: Shared) -> Result<Self, Errors> {
        let names = Names::default();
        let alone = source.load()?;
        let (layer, broken) = match alone.state_dir.as_deref().map(Layer::read) {
            Some(Ok(layer)) => (layer, None),
            Some(Err(error)) => (Layer::default(), Some(broken(&error))),
            None => (Layer::default(), None),
        };
        let (config, local) = source
            .read(&layer.texts())
            .map_err(|failed| failed.errors)?;
        shared.key_sets().remember_tokens(config.token_cache_bytes);
        let (config, gateway) = match Gateway::build(&config, &shared, &names) {
            Ok(gateway) => (config, gateway),
            Err(errors) => {
                let config = without_cloud(&source, &local, &layer, errors)?;
                let gateway = Gateway::build(&config, &shared, &names)?;
                (config, gateway)
            }
        };
        for entry in config.cloud.set_aside.iter().chain(&broken) {
            log::error!("{entry}");
        }
        Ok(Self {
            gateway: ArcSwap::from_pointee(gateway),
            shared,
            names,
            limiters: Limiters::default(),
            generation: watch::Sender::new(1),
            applied: Mutex::new(Applied {
                fingerprint: Fingerprint::of(&config.files),
                status: Status {
                    generation: 1,
                    source: origin(&config),
                    applied_at: SystemTime::now(),
                    last_error: None,
                    last_errors: Vec::new(),
                },
                config: Arc::new(config),
                broken: broken.clone(),
                tried: Watched::default(),
            }),
            parts: Mutex::new(Parts {
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

    /// What of the cloud's does not serve, and why.
    pub fn set_aside(&self) -> Vec<SetAside> {
        let applied = self.applied();
        let set_aside = applied.config.cloud.set_aside.iter();
        set_aside.chain(&applied.broken).cloned().collect()
    }

    /// What a change of which is to be followed by [`Live::reload`]: what serves and what the last try named.
    pub fn watched(&self) -> Watched {
        let applied = self.applied();
        let config = &applied.config;
        watched(&config.files, config.pipelines_dir.as_ref()).and(&applied.tried)
    }

    /// SHA-256, in hexadecimal, of the files that the configuration was read from and of those that it names.
    pub fn fingerprint(&self) -> String {
        self.applied().fingerprint.hex()
    }

    /// Whether a change from the cloud was applied, before a restart or after it. The last 1024 are remembered. May wait for a change that is under way.
    pub fn has_applied(&self, change: &str) -> bool {
        self.parts().layer.has_applied(change)
    }

    /// Reads the local files again and puts them in service together with what the cloud sent. Reads files: not for a worker that serves requests.
    ///
    /// # Errors
    ///
    /// Why nothing changed.
    pub fn reload(&self) -> Result<Reload, ReloadError> {
        let mut parts = self.parts();
        let outcome = self.try_reload(&mut parts);
        self.tell("reload", outcome)
    }

    /// The same, for who has just done that: what is still wrong is not logged again.
    ///
    /// # Errors
    ///
    /// As [`Live::reload`].
    pub fn reload_again(&self) -> Result<Reload, ReloadError> {
        let mut parts = self.parts();
        match self.try_reload(&mut parts) {
            Err(error) if self.status().last_error == Some(error.to_string()) => Err(error),
            outcome => self.tell("reload", outcome),
        }
    }

    /// Puts a change from the cloud in service beside the local texts that serve, and keeps it for the next start. `id` is remembered as applied in the
    /// same write. A change that was applied before is `Unchanged`. Without a state directory it serves until the process ends.
    ///
    /// # Errors
    ///
    /// Why nothing changed, on disk neither.
    pub fn apply_change(&self, id: &str, change: LayerChange) -> Result<Reload, ReloadError> {
        let mut parts = self.parts();
        let outcome = self.try_change(&mut parts, id, change);
        self.tell(&config::change_name(id), outcome)
    }

    /// Takes everything that the cloud sent out of service and forgets it, but for which changes were applied.
    ///
    /// # Errors
    ///
    /// Why nothing changed.
    pub fn discard_layer(&self) -> Result<Reload, ReloadError> {
        let mut parts = self.parts();
        let layer = parts.layer.without_texts();
        let outcome = if parts.layer.is_empty() && parts.broken.is_none() {
            Ok(Reload::Unchanged)
        } else {
            self.put_layer(&mut parts, layer, None)
        };
        self.tell("discard of what the cloud sent", outcome)
    }

    /// The local configuration that serves, as a text for the cloud: references as they are written.
    ///
    /// # Errors
    ///
    /// The key path of every secret that stands in the files as it is.
    pub fn upload(&self) -> Result<Upload, Errors> {
        let parts = self.parts();
        parts.source.upload(&parts.local)
    }

    fn try_reload(&self, parts: &mut Parts) -> Result<Reload, ReloadError> {
        let read = parts.source.read(&parts.layer.texts());
        let (config, local) = read.map_err(|failed| self.failed(failed))?;
        self.applied().tried = watched(&config.files, config.pipelines_dir.as_ref());
        let before = self.config();
        let fixed = fixed_changes(&before, &config);
        if !fixed.is_empty() {
            return Err(ReloadError::RestartRequired(fixed));
        }
        let fingerprint = Fingerprint::of(&config.files);
        let other_files = fingerprint != self.applied().fingerprint;
        if config == *before && !other_files {
            parts.local = local;
            return Ok(Reload::Unchanged);
        }
        let (config, gateway) = match self.build(&config) {
            Ok(gateway) => (config, gateway),
            Err(errors) => {
                let config = without_cloud(&parts.source, &local, &parts.layer, errors)?;
                let gateway = self.build(&config)?;
                (config, gateway)
            }
        };
        parts.local = local;
        let diff = Diff::between(&before, &config, other_files);
        self.swap(config, gateway, fingerprint);
        Ok(Reload::Reloaded(diff))
    }

    fn try_change(
        &self,
        parts: &mut Parts,
        id: &str,
        change: LayerChange,
    ) -> Result<Reload, ReloadError> {
        if parts.layer.has_applied(id) {
            return Ok(Reload::Unchanged);
        }
        let layer = parts.layer.with(id, change).map_err(|unfit| {
            Errors::from(Error::new("", unfit.to_string()).at(config::change_name(id), None))
        })?;
        self.put_layer(parts, layer, Some(id))
    }

    /// Builds with another layer, keeps it and puts it in service. Nothing that `id` brought may be set aside, nor anything because of it.
    fn put_layer(
        &self,
        parts: &mut Parts,
        layer: Layer,
        id: Option<&str>,
    ) -> Result<Reload, ReloadError> {
        let read = parts.source.read_again(&parts.local, &layer.texts());
        let config = read.map_err(|failed| failed.errors)?;
        let before = self.config();
        if let Some(id) = id {
            refuse_set_aside(id, &before, &config)?;
        }
        let gateway = self.build(&config)?;
        match &config.state_dir {
            Some(state_dir) => keep(&layer, state_dir, parts.broken.is_some())?,
            None => log::warn!(
                "there is no state directory: what the cloud sent is lost when this process ends"
            ),
        }
        parts.layer = layer;
        parts.broken = None;
        self.applied().broken = None;
        if config == *before {
            return Ok(Reload::Unchanged);
        }
        let diff = Diff::between(&before, &config, false);
        let fingerprint = Fingerprint::of(&config.files);
        self.swap(config, gateway, fingerprint);
        Ok(Reload::Reloaded(diff))
    }

    fn build(&self, config: &Config) -> Result<Gateway, Errors> {
        // Chains take the cache of tokens along that is set when they are built.
        self.key_sets().remember_tokens(config.token_cache_bytes);
        Gateway::build(config, &self.shared, &self.names).inspect_err(|_| {
            let before = self.config().token_cache_bytes;
            self.key_sets().remember_tokens(before);
        })
    }

    fn swap(&self, config: Config, gateway: Gateway, fingerprint: Fingerprint) {
        let generation = {
            let mut applied = self.applied();
            for entry in &config.cloud.set_aside {
                if !applied.config.cloud.set_aside.contains(entry) {
                    log::error!("{entry}");
                }
            }
            for note in config.notes.iter().filter(|note| note.warning) {
                if !applied.config.notes.contains(note) {
                    log::warn!("{}", note.text);
                }
            }
            self.gateway.store(Arc::new(gateway));
            applied.status.source = origin(&config);
            applied.status.generation += 1;
            applied.status.applied_at = SystemTime::now();
            applied.config = Arc::new(config);
            applied.fingerprint = fingerprint;
            applied.status.generation
        };
        self.generation.send_replace(generation);
    }

    fn failed(&self, failed: Failed) -> ReloadError {
        self.applied().tried = watched(&failed.files, failed.pipelines_dir.as_ref());
        failed.errors.into()
    }

    /// Logs and remembers how a change ended.
    fn tell(
        &self,
        what: &str,
        outcome: Result<Reload, ReloadError>,
    ) -> Result<Reload, ReloadError> {
        let mut applied = self.applied();
        match &outcome {
            Ok(Reload::Unchanged) => log::debug!("{what}: nothing has changed"),
            Ok(Reload::Reloaded(diff)) => log::info!(
                "{what}: generation {} serves: {diff}",
                applied.status.generation
            ),
            Err(error) => {
                log::error!("{what} refused, the configuration before goes on serving: {error}")
            }
        }
        applied.status.last_error = outcome.as_ref().err().map(ToString::to_string);
        applied.status.last_errors = outcome
            .as_ref()
            .err()
            .map(ReloadError::details)
            .unwrap_or_default();
        outcome
    }

    fn applied(&self) -> MutexGuard<'_, Applied> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads from somewhere else from now on.
    #[cfg(test)]
    pub(crate) fn reload_from(&self, source: Source) -> Result<Reload, ReloadError> {
        self.parts().source = source;
        self.reload()
    }
}

fn origin(config: &Config) -> &'static str {
    if config.cloud.pipelines.is_empty() {
        "file"
    } else {
        "file+cloud"
    }
}

fn watched(files: &[PathBuf], directory: Option<&PathBuf>) -> Watched {
    Watched {
        files: files.to_vec(),
        directories: directory.into_iter().cloned().collect(),
    }
    .and(&Watched::default())
}

/// The local files alone, with every text of the cloud's set aside for these reasons.
fn without_cloud(
    source: &Source,
    local: &Local,
    layer: &Layer,
    errors: Errors,
) -> Result<Config, Errors> {
    if layer.is_empty() {
        return Err(errors);
    }
    let alone = source.read_again(local, &[]);
    let mut config = alone.map_err(|failed| failed.errors)?;
    let texts = layer.texts();
    let set_aside = texts
        .iter()
        .map(|text| SetAside::whole(text.change, errors.clone()));
    config.cloud.set_aside = set_aside.collect();
    Ok(config)
}

/// Refuses a change that would not serve as a whole, or at the cost of another one.
fn refuse_set_aside(id: &str, before: &Config, after: &Config) -> Result<(), Errors> {
    let known = |entry: &SetAside| {
        let mut before = before.cloud.set_aside.iter();
        before.any(|other| (&other.change, &other.entry) == (&entry.change, &entry.entry))
    };
    let set_aside = after.cloud.set_aside.iter();
    let found: Vec<&SetAside> = set_aside
        .filter(|entry| entry.change == id || !known(entry))
        .collect();
    let wrong: Vec<&SetAside> = found
        .iter()
        .copied()
        .filter(|entry| !entry.follows)
        .collect();
    let entries = if wrong.is_empty() { found } else { wrong };
    let errors = entries.into_iter().flat_map(|entry| entry.errors.clone());
    let mut errors: Vec<Error> = errors.collect();
    errors.sort_by_key(|error| (error.file().map(PathBuf::from), error.line()));
    errors.into_iter().collect::<Errors>().into_result(())
}

fn keep(layer: &Layer, state_dir: &std::path::Path, broken: bool) -> Result<(), ReloadError> {
    let moved = if broken {
        Layer::move_away(state_dir).map(|path| {
            log::warn!(
                "what was kept of the cloud's and could not be used is now {}",
                path.display()
            );
        })
    } else {
        Ok(())
    };
    let kept = moved.and_then(|()| layer.write(state_dir));
    kept.map_err(|source| ReloadError::NotKept {
        path: state_dir.to_owned(),
        source,
    })
}

fn broken(error: &std::io::Error) -> SetAside {
    let error = Error::new(
        "",
        format!("what was kept of the cloud's cannot be used: {error}"),
    );
    SetAside::whole("all", error.into())
}

#[cfg(test)]
mod tests;
