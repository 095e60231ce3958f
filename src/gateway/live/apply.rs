//! Building another configuration beside the one that serves, and putting it in its place, whole or
//! not at all.

use std::sync::Arc;
use std::time::SystemTime;

use super::candidate::{
    log_new_warnings, lost_authentication, origin, refuse_set_aside, save, watched, without_cloud,
};
use super::outcome::{Reload, ReloadError};
use super::{Inputs, Live};
use crate::config::{self, Config, Error, Errors, LoadError};
use crate::gateway::Gateway;
use crate::gateway::cloud_layer::{CloudLayer, LayerChange};
use crate::gateway::diff::{Diff, fixed_changes};
use crate::gateway::fingerprint::Fingerprint;
use crate::telemetry::{audit, configure_level};

impl Live {
    pub(super) fn try_reload(&self, inputs: &mut Inputs) -> Result<Reload, ReloadError> {
        let read = inputs.source.read(&inputs.layer.texts());
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
            inputs.local = local;
            return Ok(Reload::Unchanged);
        }
        let (config, gateway) = match self.build(&config) {
            Ok(gateway) => (config, gateway),
            Err(errors) => {
                let config = without_cloud(&inputs.source, &local, &inputs.layer, errors)?;
                let gateway = self.build(&config)?;
                (config, gateway)
            }
        };
        inputs.local = local;
        let diff = Diff::between(&before, &config, other_files);
        self.swap(config, gateway, fingerprint);
        Ok(Reload::Reloaded(diff))
    }

    pub(super) fn try_apply_change(
        &self,
        inputs: &mut Inputs,
        id: &str,
        change: LayerChange,
    ) -> Result<Reload, ReloadError> {
        if inputs.layer.has_applied(id) {
            return Ok(Reload::Unchanged);
        }
        let layer = inputs.layer.with(id, change).map_err(|unfit| {
            Errors::from(Error::new([], unfit.to_string()).at(config::change_name(id), None))
        })?;
        self.apply_layer(inputs, layer, Some(id))
    }

    /// Builds with another layer, keeps it and puts it in service. Nothing that `id` brought may be
    /// set aside, nor anything because of it.
    pub(super) fn apply_layer(
        &self,
        inputs: &mut Inputs,
        layer: CloudLayer,
        id: Option<&str>,
    ) -> Result<Reload, ReloadError> {
        let read = inputs.source.read_again(&inputs.local, &layer.texts());
        let config = read.map_err(|failed| failed.errors)?;
        let before = self.config();
        if let Some(id) = id {
            refuse_set_aside(id, &before, &config)?;
        }
        // Before the files are read: one that changes meanwhile has another fingerprint then.
        let fingerprint = Fingerprint::of(&config.files, &inputs.local);
        let gateway = self.build(&config)?;
        match &config.state_dir {
            Some(state_dir) => save(&layer, state_dir, inputs.broken.is_some())?,
            None => log::warn!(
                "there is no state directory: the cloud's configuration is lost when this process \
                 ends"
            ),
        }
        inputs.layer = layer;
        inputs.broken = None;
        self.applied().broken = None;
        if config == *before {
            return Ok(Reload::Unchanged);
        }
        let diff = Diff::between(&before, &config, false);
        self.swap(config, gateway, fingerprint);
        Ok(Reload::Reloaded(diff))
    }

    /// Keeps a layer that differs in what was uploaded alone.
    pub(super) fn save_uploaded(&self, inputs: &mut Inputs, layer: CloudLayer) {
        if layer == inputs.layer || inputs.broken.is_some() {
            return;
        }
        let state_dir = self.config().state_dir.clone();
        if let Some(Err(error)) = state_dir.map(|state_dir| save(&layer, &state_dir, false)) {
            log::warn!(
                "the list of uploaded pipelines cannot be saved and is lost at a restart: {error}"
            );
        }
        inputs.layer = layer;
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
            for name in lost_authentication(&applied.config, &config) {
                log::warn!("pipeline {name} no longer authenticates: it is open to everyone");
            }
            let before = self.gateway.load();
            log_new_warnings(&gateway, Some(&before));
            for certificate in gateway.certificates() {
                if !before.certificates().any(|known| known == certificate) {
                    let action = format!("network {}", certificate.network);
                    let outcome = format!(
                        "{} is in service, until {}",
                        certificate.name,
                        jiff::Timestamp::from_second(certificate.not_after).unwrap_or_default()
                    );
                    audit::note("certificate", &action, &outcome);
                }
            }
            drop(before);
            self.upstreams
                .resolver()
                .set_interval(config.resolve_interval);
            self.shared.revocations().set_limits(config.revocations);
            if config.logging.level != applied.config.logging.level {
                configure_level(&config.logging.level);
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

    fn failed(&self, failed: LoadError) -> ReloadError {
        self.applied().tried = watched(&failed.files, failed.pipelines_dir.as_ref());
        failed.errors.into()
    }

    /// Logs and remembers how a change ended.
    pub(super) fn report(
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
                "{what}: the earlier error is gone; generation {} stays in service",
                status.generation
            ),
            Ok(Reload::Unchanged) => log::info!(
                "{what}: nothing has changed; generation {} stays in service",
                status.generation
            ),
            Ok(Reload::Reloaded(diff)) => log::info!(
                "{what}: generation {} is in service: {diff}",
                applied.status.generation
            ),
            Err(error) => {
                log::error!("{what} rejected; the previous configuration stays in service: {error}")
            }
        }
        match &outcome {
            Ok(Reload::Unchanged) => {}
            Ok(Reload::Reloaded(diff)) => audit::note("configuration", what, diff),
            Err(error) => audit::note("configuration", what, &format_args!("rejected: {error}")),
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
