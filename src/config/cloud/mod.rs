//! What Runbeam Cloud adds to the local files: pipelines and what belongs to them, as texts that
//! are merged into the local document.
//!
//! The local files win. What cannot serve beside them is set aside with its reasons, together with
//! what refers to it, and the rest serves. `vet` says what a text may hold, `reach` what its
//! pipelines may get at. Not here: keeping the texts (the gateway room).

mod owned;
mod quarantine;
mod same;
pub(crate) mod upload;
mod validate;

use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use crate::config::model::{Config, Error, Errors};
use crate::config::reader::{
    Loading, Table,
    local::{Failed, Local},
    parse_text,
};
use crate::config::{Environment, assemble, local_document};
use quarantine::Dropped;
use same::Comparison;

pub(crate) use owned::Owned;

/// How often what is left is tried after something was set aside. In practice it takes two rounds.
const ROUNDS: usize = 32;

/// One text from the cloud.
#[derive(Debug, Clone, Copy)]
pub struct CloudText<'a> {
    /// The change that brought it; errors name it.
    pub change: &'a str,
    /// Whether it is a whole gateway. What single pipelines bring replaces what bears the same name
    /// there.
    pub whole: bool,
    /// The text.
    pub toml: &'a str,
    /// Names of the pipelines that the last upload carried, the same for every text.
    pub uploaded: &'a [String],
}

/// What the cloud added to a configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cloud {
    /// Names of pipelines that came from the cloud and serve.
    pub pipelines: Vec<Arc<str>>,
    /// What does not serve.
    pub set_aside: Vec<SetAside>,
}

/// A part of a change that does not serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// The change that brought it.
    pub change: String,
    /// The key path: `pipelines.api`; empty for the whole text.
    pub entry: String,
    /// Why.
    pub errors: Vec<Error>,
    /// Whether nothing is wrong with it but that it refers to something that was set aside.
    pub follows: bool,
}

/// A text that is TOML, under the name that errors give it.
struct Parsed<'t> {
    label: PathBuf,
    change: &'t str,
    whole: bool,
    table: Table,
}

/// Loads the local files and adds the texts. Later texts come after earlier ones.
pub(crate) fn load(
    path: &Path,
    env: &dyn Environment,
    local: Local,
    texts: &[CloudText<'_>],
) -> Result<(Config, Local), Failed> {
    let loading = Loading::new(path, env, local);
    let config = local_document(path, &loading).and_then(|document| assemble(&document, &loading));
    let config = match config {
        Some(config) if loading.is_clean() => config,
        // what was named is in the one or in the other
        config => {
            let (files, pipelines_dir) = config
                .map(|config| (config.files, config.pipelines_dir))
                .unwrap_or_else(|| (loading.take_files(), loading.take_pipelines()));
            return Err(Failed {
                files,
                pipelines_dir,
                errors: loading.into_errors(),
            });
        }
    };
    let local = loading.take_local();
    if texts.is_empty() {
        return Ok((config, local));
    }
    let mut dropped = Dropped::default();
    let parsed = parse(texts, path, env, &mut dropped);
    let comparison = Comparison::new(path, env, &local, &config);
    let owned = Owned::of(&config, texts.first().map_or(&[], |text| text.uploaded));
    for _ in 0..ROUNDS {
        let loading = Loading::new(path, env, local.clone());
        let Some(mut document) = local_document(path, &loading) else {
            break;
        };
        let rights = (&comparison, &owned);
        let kept = validate::validate(&parsed, &dropped, &document, rights, &loading);
        let (mut pipelines, changed) = validate::merge(&kept, &mut document);
        let owned = Rc::new(owned.with_changed(&document, &changed));
        pipelines.extend(owned.changed());
        pipelines.sort_unstable();
        pipelines.dedup();
        loading.set_owned(&owned);
        let whole = assemble(&document, &loading);
        if let (Some(mut config), true) = (whole, loading.is_clean()) {
            config.cloud = Cloud {
                pipelines,
                set_aside: dropped.into_set_aside(),
            };
            return Ok((config, local));
        }
        if !dropped.add(loading.into_errors(), &parsed, &kept) {
            break;
        }
    }
    dropped.add_rest(&parsed);
    let mut config = config.clone();
    config.cloud.set_aside = dropped.into_set_aside();
    Ok((config, local))
}

fn parse<'t>(
    texts: &[CloudText<'t>],
    path: &Path,
    env: &dyn Environment,
    dropped: &mut Dropped,
) -> Vec<Parsed<'t>> {
    let mut parsed: Vec<Parsed<'t>> = Vec::new();
    for text in texts {
        let label = label(text.change, &parsed);
        let loading = Loading::new(path, env, Local::default());
        match parse_text(&label, text.toml, true, &loading) {
            Some(table) => parsed.push(Parsed {
                label,
                change: text.change,
                whole: text.whole,
                table,
            }),
            None => dropped.add_text(text.change, loading.into_errors()),
        }
    }
    parsed
}

/// What stands for the file's name in errors. An id is the cloud's word, and ends up in logs.
pub(crate) fn change_name(id: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "-_.:".contains(c) {
            c
        } else {
            '?'
        }
    };
    let id: String = id.chars().take(64).map(plain).collect();
    format!("cloud change {id}")
}

/// The same, each once.
fn label(change: &str, others: &[Parsed<'_>]) -> PathBuf {
    let name = change_name(change);
    let taken = |name: &str| others.iter().any(|other| other.label == Path::new(name));
    match taken(&name) {
        true => format!("{name} ({})", others.len() + 1).into(),
        false => name.into(),
    }
}

impl SetAside {
    pub(crate) fn whole(change: &str, errors: Errors) -> Self {
        Self {
            change: change.to_owned(),
            entry: String::new(),
            errors: errors.into_iter().collect(),
            follows: false,
        }
    }
}

impl fmt::Display for SetAside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&change_name(&self.change))?;
        if !self.entry.is_empty() {
            write!(f, ", {}", self.entry)?;
        }
        f.write_str(": set aside")?;
        for error in &self.errors {
            write!(f, "; {error}")?;
        }
        Ok(())
    }
}
