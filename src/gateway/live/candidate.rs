//! What one configuration is judged by before it replaces another: what of the cloud's fits, what
//! is lost, what must be saved first.

use std::path::{Path, PathBuf};

use super::outcome::ReloadError;
use crate::config::{Config, Error, Errors, Local, Pipeline, SetAside, Source};
use crate::gateway::Gateway;
use crate::gateway::cloud_layer::CloudLayer;
use crate::gateway::fingerprint::WatchedFiles;

/// The pipelines that authenticated before and no longer do, as after a line was deleted by
/// mistake.
pub(super) fn lost_authentication<'a>(
    before: &'a Config,
    after: &'a Config,
) -> impl Iterator<Item = &'a str> {
    let authenticates = |pipeline: &Pipeline| {
        let mut steps = pipeline.steps.iter();
        steps.any(|step| step.authenticates())
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

/// The configuration of the local files alone; every text of the cloud is set aside for `errors`.
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

/// Rejects a change of which something is set aside, or that causes something else to be.
pub(super) fn refuse_set_aside(id: &str, before: &Config, after: &Config) -> Result<(), Errors> {
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

pub(super) fn save(layer: &CloudLayer, state_dir: &Path, broken: bool) -> Result<(), ReloadError> {
    let moved = if broken {
        CloudLayer::move_away(state_dir).map(|path| {
            log::warn!(
                "the unusable file with the cloud's configuration is now {}",
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

pub(super) fn unusable_layer(error: &std::io::Error) -> SetAside {
    let error = Error::new(
        [],
        format!("the saved configuration from the cloud cannot be used: {error}"),
    );
    SetAside::whole("all", error.into())
}

/// Logs the warnings that `before` does not have.
pub(super) fn log_new_warnings(gateway: &Gateway, before: Option<&Gateway>) {
    for warning in gateway.warnings() {
        if !before.is_some_and(|before| before.warnings().any(|known| known == warning)) {
            log::warn!("{warning}");
        }
    }
}
