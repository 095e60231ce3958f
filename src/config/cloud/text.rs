//! The texts from the cloud as TOML, and the tables of them.

use std::path::{Path, PathBuf};

use crate::config::model::{Errors, change_name};
use crate::config::reader::{Environment, Loading, Local, Node, Table, parse_text};

/// Groups that a text may hold.
pub(super) const GROUPS: &[&str] = &[
    "pipelines",
    "endpoints",
    "backends",
    "targets",
    "middleware",
    "authentications",
    "policies",
    "rules",
];

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

/// A text that is TOML, under the name that errors give it.
pub(super) struct Parsed<'t> {
    pub(super) label: PathBuf,
    pub(super) change: &'t str,
    pub(super) whole: bool,
    pub(super) table: Table,
}

/// A table that joins the local ones.
pub(super) struct Kept<'p> {
    pub(super) text: &'p Parsed<'p>,
    pub(super) group: &'p str,
    pub(super) name: &'p str,
    pub(super) node: &'p Node,
}

/// Parses the texts; those that are no TOML come back by their change, with what is wrong.
pub(super) fn parse<'t>(
    texts: &[CloudText<'t>],
    path: &Path,
    env: &dyn Environment,
) -> (Vec<Parsed<'t>>, Vec<(&'t str, Errors)>) {
    let mut parsed: Vec<Parsed<'t>> = Vec::new();
    let mut broken = Vec::new();
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
            None => broken.push((text.change, loading.into_errors())),
        }
    }
    (parsed, broken)
}

/// What stands for the file's name in errors, each once.
fn label(change: &str, others: &[Parsed<'_>]) -> PathBuf {
    let name = change_name(change);
    let taken = |name: &str| others.iter().any(|other| other.label == Path::new(name));
    match taken(&name) {
        true => format!("{name} ({})", others.len() + 1).into(),
        false => name.into(),
    }
}
