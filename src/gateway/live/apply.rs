//! Building another configuration beside the one that serves, and putting it in its place, whole or
//! not at all.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::{Live, Parts, Reload, ReloadError};
use crate::config::{self, Config, Error, Errors, Failed, Local, Pipeline, SetAside, Source};
use crate::gateway::Gateway;
use crate::gateway::cloud_layer::{CloudLayer, LayerChange};
use crate::gateway::diff::{Diff, fixed_changes};
use crate::gateway::fingerprint::{Fingerprint, WatchedFiles};

impl Live {
    pub(super) fn try_reload(&self, parts: &mut Parts) -> Result<Reload, ReloadError> {
        let read = parts.source.read(&parts.layer.texts());
        let (config, local) = read.map_err(|failed| self.failed(failed))?;
        self.applied().tried = watched(&config.files, config.pipelines_dir.as_ref());
        let before = self.config();
        let fixed = fixed_changes(&before, &config);
        if !fixed.is_empty() {
            return Err(ReloadError::RestartRequired(fixed));
        }
        let fingerprint = Fingerprint::of(&config.files, &local);
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

    pub(super) fn try_change(
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

    /// Builds with another layer, keeps it and puts it in service. Nothing that `id` brought may be
    /// set aside, nor anything because of it.
    pub(super) fn put_layer(
        &self,
        parts: &mut Parts,
        layer: CloudLayer,
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
        let fingerprint = Fingerprint::of(&config.files, &parts.local);
        self.swap(config, gateway, fingerprint);
        Ok(Reload::Reloaded(diff))
    }

    /// Keeps a layer that differs in what was uploaded alone.
    pub(super) fn put_uploaded(&self, parts: &mut Parts, layer: CloudLayer) {
        if layer == parts.layer || parts.broken.is_some() {
            return;
        }
        let state_dir = self.config().state_dir.clone();
        if let Some(Err(error)) = state_dir.map(|state_dir| keep(&layer, &state_dir, false)) {
            log::warn!("which pipelines were uploaded is forgotten at a restart: {error}");
        }
        parts.layer = layer;
    }

    fn build(&self, config: &Config) -> Result<Gateway, Errors> {
        // Chains take the cache of tokens along that is set when they are built.
        self.shared.remember_tokens(config.token_cache_bytes);
        let Self {
            shared,
            upstreams,
            tickets,
            metrics,
            ..
        } = self;
        Gateway::build(config, shared, upstreams, tickets, metrics).inspect_err(|_| {
            let before = self.config().token_cache_bytes;
            self.shared.remember_tokens(before);
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
            for name in opened(&applied.config, &config) {
                log::warn!("pipeline {name} is open now: it has no authentication any more");
            }
            warn(&gateway);
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
    pub(super) fn tell(
        &self,
        what: &str,
        outcome: Result<Reload, ReloadError>,
    ) -> Result<Reload, ReloadError> {
        let mut applied = self.applied();
        let status = &mut applied.status;
        let count = match &outcome {
            Ok(Reload::Unchanged) => &mut status.reloads.unchanged,
            Ok(Reload::Reloaded(_)) => &mut status.reloads.reloaded,
            Err(_) => &mut status.reloads.refused,
        };
        *count += 1;
        status.tried_at = SystemTime::now();
        match &outcome {
            Ok(Reload::Unchanged) if status.last_error.is_some() => log::info!(
                "{what}: nothing has changed any more, generation {} goes on serving",
                status.generation
            ),
            Ok(Reload::Unchanged) => log::info!(
                "{what}: nothing has changed, generation {} goes on serving",
                status.generation
            ),
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
}

/// The pipelines that authenticated before and do not any more: what a line that was lost would do.
fn opened<'a>(before: &'a Config, after: &'a Config) -> impl Iterator<Item = &'a str> {
    let authenticates = |pipeline: &Pipeline| {
        let mut steps = pipeline.steps.iter();
        steps.any(|step| step.kind.authenticates())
    };
    after.pipelines.iter().filter_map(move |pipeline| {
        let mut known = before.pipelines.iter();
        let known = known.find(|known| known.name == pipeline.name)?;
        (authenticates(known) && !authenticates(pipeline)).then_some(&*pipeline.name)
    })
}

pub(super) fn origin(config: &Config) -> &'static str {
    if config.cloud.pipelines.is_empty() {
        "file"
    } else {
        "file+cloud"
    }
}

pub(super) fn watched(files: &[PathBuf], directory: Option<&PathBuf>) -> WatchedFiles {
    WatchedFiles {
        files: files.to_vec(),
        directories: directory.into_iter().cloned().collect(),
    }
    .and(&WatchedFiles::default())
}

/// The local files alone, with every text of the cloud's set aside for these reasons.
pub(super) fn without_cloud(
    source: &Source,
    local: &Local,
    layer: &CloudLayer,
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

fn keep(layer: &CloudLayer, state_dir: &Path, broken: bool) -> Result<(), ReloadError> {
    let moved = if broken {
        CloudLayer::move_away(state_dir).map(|path| {
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

pub(super) fn broken(error: &std::io::Error) -> SetAside {
    let error = Error::new(
        "",
        format!("what was kept of the cloud's cannot be used: {error}"),
    );
    SetAside::whole("all", error.into())
}

pub(super) fn warn(gateway: &Gateway) {
    for warning in gateway.warnings() {
        log::warn!("{warning}");
    }
}
