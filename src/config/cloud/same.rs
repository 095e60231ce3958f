//! Whether what the cloud sends back says what the local files say: after an upload it comes with
//! ids, names, tags and defaults added, which change nothing.
//!
//! Two tables that differ are the same if the whole configuration is, with the one in the place of
//! the other.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::overlay::{Overlay, overlaid};
use crate::config::model::Config;
use crate::config::reader::{Document, Environment, Loading, Local, Node, Table, Value};
use crate::config::tables::{self, OwnedPipelines};

/// How many tables are tried at most: each costs about as much as a reload.
const MOST: usize = 256;

/// Keys of a table in a group that are read and have no effect, for tables that nothing uses.
const IGNORED: &[(&str, &[&str])] = &[
    ("pipelines", &["id", "name", "tags"]),
    (
        "endpoints",
        &[
            "id",
            "name",
            "tags",
            "description",
            "peer_ref",
            "connection",
        ],
    ),
    ("backends", &["id", "name", "tags", "description"]),
    ("targets", &["id", "name", "tags", "description"]),
    ("middleware", &["id", "name", "tags", "description"]),
    ("authentications", &["id", "name", "tags", "description"]),
    ("policies", &["id", "name", "tags", "description"]),
    ("rules", &["id", "name", "tags", "description"]),
];

/// What is asked about one local configuration, and what was found.
pub(super) struct Comparison<'a> {
    path: &'a Path,
    env: &'a dyn Environment,
    local: &'a Local,
    config: &'a Config,
    found: RefCell<HashMap<(PathBuf, String, String), bool>>,
}

impl<'a> Comparison<'a> {
    /// With the local files, which mean `config`.
    pub(super) fn new(
        path: &'a Path,
        env: &'a dyn Environment,
        local: &'a Local,
        config: &'a Config,
    ) -> Self {
        Self {
            path,
            env,
            local,
            config,
            found: RefCell::default(),
        }
    }

    /// Whether a table of a group, `node`, says what the local one, `present`, says.
    pub(super) fn is_same(
        &self,
        document: &Document,
        group: &str,
        name: &str,
        present: &Node,
        node: &Node,
    ) -> bool {
        if let (Value::Table(one), Value::Table(other)) = (&present.value, &node.value)
            && one.is_same_but(other, ignored_of(group))
        {
            return true;
        }
        self.once(node, group, name, || {
            let put =
                |node: Option<Node>| self.means(document, group, |table| set(table, name, node));
            // A table that nothing uses means nothing here, but may to a pipeline of the cloud's.
            put(Some(overlaid(present, node, Overlay::Compared))) && !put(None)
        })
    }

    /// Whether a group of the operator's alone says nothing that the local files do not say.
    pub(super) fn adds_nothing(&self, document: &Document, group: &str, node: &Node) -> bool {
        self.once(node, group, "", || {
            let Value::Table(_) = &node.value else {
                return false;
            };
            let mut changed = copy(document);
            match changed.root.get_mut(group) {
                Some(present) => *present = overlaid(present, node, Overlay::United),
                None => changed.root.entries.push((group.to_owned(), node.clone())),
            }
            self.is_unchanged(&changed)
        })
    }

    fn once(&self, node: &Node, group: &str, name: &str, find: impl FnOnce() -> bool) -> bool {
        let key = (
            node.span.file.to_path_buf(),
            group.to_owned(),
            name.to_owned(),
        );
        let known = self.found.borrow().get(&key).copied();
        known.unwrap_or_else(|| {
            let found = self.found.borrow().len() < MOST && find();
            self.found.borrow_mut().insert(key, found);
            found
        })
    }

    fn means(&self, document: &Document, group: &str, change: impl FnOnce(&mut Table)) -> bool {
        let mut changed = copy(document);
        match changed.root.get_mut(group).map(|node| &mut node.value) {
            Some(Value::Table(table)) => change(table),
            _ => return false,
        }
        self.is_unchanged(&changed)
    }

    fn is_unchanged(&self, document: &Document) -> bool {
        let loading = Loading::new(self.path, self.env, self.local.clone());
        let Some(config) = tables::build(document, &OwnedPipelines::default(), &loading)
            .filter(|_| loading.is_clean())
        else {
            return false;
        };
        let Config {
            notes,
            files,
            pipelines_dir,
            ..
        } = self.config.clone();
        let config = Config {
            notes,
            files,
            pipelines_dir,
            ..config
        };
        config == *self.config
    }
}

fn copy(document: &Document) -> Document {
    Document {
        root: document.root.clone(),
        chain: document.chain.clone(),
    }
}

/// Puts a table in the place of the one of that name, or takes that one away.
fn set(table: &mut Table, name: &str, node: Option<Node>) {
    let entries = &mut table.entries;
    let Some(at) = entries.iter().position(|(known, _)| known == name) else {
        return;
    };
    match node {
        Some(node) => entries[at].1 = node,
        None => drop(entries.remove(at)),
    }
}

fn ignored_of(group: &str) -> &'static [&'static str] {
    let found = IGNORED.iter().find(|(known, _)| *known == group);
    found.map_or(&[], |(_, keys)| keys)
}
