//! The main file merged with its pipelines directory.
//!
//! Not here: what the values mean (`tables`).

use std::io;
use std::path::{Path, PathBuf};

use super::{Loading, Node, Span, Table, Value, parse_text};
use crate::config::model::{ErrorKind, KeyPath};

/// The main file with its pipelines directory merged in.
pub(crate) struct Document {
    /// The tables.
    pub(crate) root: Table,
    /// `[[middleware]]` of the main file.
    pub(crate) chain: Option<Node>,
}

/// Tables at the top that are read and have no effect.
pub(crate) const IGNORED_TABLES: &[&str] = &["storage", "services", "middleware_types", "peers"];
/// Tables of which there is one, in the main file.
const MAIN_FILE_ONLY: &[&str] = &[
    "proxy",
    "management",
    "runbeam",
    "logging",
    "revocations",
    "shared",
];

impl Document {
    /// Parses the main file's text. `None` (and errors) if it is not TOML.
    pub(crate) fn parse(path: &Path, text: &str, loading: &Loading<'_>) -> Option<Self> {
        let mut root = parse_text(path, text, false, loading)?;
        let chain = root
            .entries
            .iter()
            .position(|(key, node)| key == "middleware" && matches!(node.value, Value::Array(_)));
        let chain = chain.map(|index| root.entries.remove(index).1);
        Some(Self { root, chain })
    }

    /// Merges every `*.toml` of a directory, sorted by name.
    pub(crate) fn merge_directory(
        &mut self,
        directory: &Path,
        loading: &Loading<'_>,
    ) -> io::Result<()> {
        for path in loading.list(directory)? {
            self.merge_file(path, loading);
        }
        Ok(())
    }

    fn merge_file(&mut self, path: PathBuf, loading: &Loading<'_>) {
        loading.file(path.clone());
        let parsed = match loading.read(&path) {
            Ok(text) => parse_text(&path, &text, false, loading),
            Err(error) => {
                loading.error(
                    &Span::of_file(&path),
                    &KeyPath::default(),
                    ErrorKind::Unreadable {
                        what: "the file".into(),
                        why: error.to_string(),
                    },
                );
                None
            }
        };
        let Some(table) = parsed else {
            loading.incomplete();
            return;
        };
        for (key, node) in table.entries {
            self.merge_group(key, node, loading);
        }
    }

    /// Adds one top-level entry of another file: the names in it join those of the same group.
    fn merge_group(&mut self, key: String, node: Node, loading: &Loading<'_>) {
        let path = KeyPath::from([key.as_str()]);
        if MAIN_FILE_ONLY.contains(&key.as_str()) {
            return loading.error(&node.span, &path, "stands in the main file only");
        }
        if key == "middleware" && matches!(node.value, Value::Array(_)) {
            return loading.error_help(
                &node.span,
                &path,
                "[[middleware]] stands in the main file only",
                "name the steps, as [middleware.NAME], and list them in `middleware` of the \
                 pipeline",
            );
        }
        let Some(present) = self.root.get_mut(&key) else {
            self.root.entries.push((key, node));
            return;
        };
        let (Value::Table(into), Value::Table(from)) = (&mut present.value, node.value) else {
            let what = format!("`{key}`");
            return loading.error(
                &node.span,
                &path,
                ErrorKind::DefinedTwice {
                    what,
                    other: present.span.to_string(),
                },
            );
        };
        for (name, node) in from.entries {
            match into.get(&name) {
                Some(_) if IGNORED_TABLES.contains(&key.as_str()) => {}
                Some(first) => {
                    let path = path.key(&name);
                    loading.error(
                        &node.span,
                        &path,
                        ErrorKind::DefinedTwice {
                            what: path.to_string(),
                            other: first.span.to_string(),
                        },
                    );
                }
                None => into.entries.push((name, node)),
            }
        }
    }
}
