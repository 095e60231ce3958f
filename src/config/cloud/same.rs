//! Whether what the cloud sends back says what the local files say: after an upload it comes with
//! ids, names, tags and defaults added, which change nothing.
//!
//! Two tables that differ are the same if the whole configuration is, with the one in the place of
//! the other.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::config::model::Config;
use crate::config::reader::{Document, Loading, Node, Table, Value, local::Local};
use crate::config::{Environment, assemble};

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

    /// Whether a table of a group says what the local one says.
    pub(super) fn is_same(
        &self,
        document: &Document,
        group: &str,
        name: &str,
        (present, node): (&Node, &Node),
    ) -> bool {
        if same_but(&present.value, &node.value, ignored_of(group)) {
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
            node.place.file.to_path_buf(),
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
        let Some(config) = assemble(document, &loading).filter(|_| loading.is_clean()) else {
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

/// What becomes of two values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Overlay {
    /// It is compared with the local one: a table that is local stays so.
    Compared,
    /// The same, and what only the local one has stays.
    United,
    /// It takes the place of the local one, and is the cloud's.
    InPlace,
}

/// The cloud's value, in which everything that the local one has at the same place is the local
/// one: its references are filled in, and its files may be named.
fn overlaid(local: &Node, cloud: &Node, overlay: Overlay) -> Node {
    if same(&local.value, &cloud.value) {
        return local.clone();
    }
    let value = match (&local.value, &cloud.value) {
        (Value::Table(local), Value::Table(cloud)) => {
            // In the order of the local files, which listeners and pipelines keep.
            let known = local.entries.iter().filter_map(|(key, node)| {
                let node = match cloud.get(key) {
                    Some(cloud) => overlaid(node, cloud, overlay),
                    None if overlay == Overlay::United => node.clone(),
                    None => return None,
                };
                Some((key.clone(), node))
            });
            let new = cloud.entries.iter();
            let new = new.filter(|(key, _)| local.get(key).is_none()).cloned();
            let entries = known.chain(new).collect();
            Value::Table(Table { entries })
        }
        (Value::Array(local), Value::Array(cloud)) => {
            let item = |(index, node): (usize, &Node)| match local.get(index) {
                Some(local) => overlaid(local, node, overlay),
                None => node.clone(),
            };
            Value::Array(cloud.iter().enumerate().map(item).collect())
        }
        (_, value) => {
            return Node {
                place: cloud.place.clone(),
                value: value.clone(),
            };
        }
    };
    let place = match overlay {
        Overlay::InPlace => &cloud.place,
        Overlay::Compared | Overlay::United => &local.place,
    };
    Node {
        place: place.clone(),
        value,
    }
}

/// Whether two values are written the same, in whatever order their keys stand.
pub(super) fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::String(one), Value::String(other)) => one == other,
        (Value::Integer(one), Value::Integer(other)) => one == other,
        (Value::Float(one), Value::Float(other)) => one.to_bits() == other.to_bits(),
        (Value::Boolean(one), Value::Boolean(other)) => one == other,
        (Value::Datetime(one), Value::Datetime(other)) => one == other,
        (Value::Array(one), Value::Array(other)) => {
            let mut pairs = one.iter().zip(other);
            one.len() == other.len() && pairs.all(|(one, other)| same(&one.value, &other.value))
        }
        (Value::Table(_), Value::Table(_)) => same_but(one, other, &[]),
        _ => false,
    }
}

/// The same but for some keys of the table itself.
fn same_but(one: &Value, other: &Value, ignored: &[&str]) -> bool {
    let (Value::Table(one), Value::Table(other)) = (one, other) else {
        return same(one, other);
    };
    let counts = |(key, _): &&(String, Node)| !ignored.contains(&key.as_str());
    let found = |(key, node): &(String, Node)| {
        let other = other.get(key);
        other.is_some_and(|other| same(&node.value, &other.value))
    };
    let (mut ones, others) = (
        one.entries.iter().filter(counts),
        other.entries.iter().filter(counts),
    );
    ones.clone().count() == others.count() && ones.all(found)
}

/// The cloud's table in the place of a local one. Where it leads elsewhere than the local one, it
/// gets nothing of what only the local files may hold: that could be a secret on its way out.
pub(super) fn in_place_of(local: &Node, cloud: &Node) -> Node {
    match leads_elsewhere(Some(&local.value), &cloud.value) {
        true => cloud.clone(),
        false => overlaid(local, cloud, Overlay::InPlace),
    }
}

/// Whether a key says where something leads, over what, or whose certificate shows that it is
/// there.
fn is_place(key: &str) -> bool {
    key.ends_with("url")
        || key.ends_with("uri")
        || matches!(
            key,
            "issuer"
                | "issuers"
                | "upstreams"
                | "connection"
                | "target_ref"
                | "protocol"
                | "type"
                | "ca_cert_path"
        )
}

fn leads_elsewhere(local: Option<&Value>, cloud: &Value) -> bool {
    match cloud {
        // What is left out has its default, which may lead elsewhere, too.
        Value::Table(table)
            if matches!(local, Some(Value::Table(local)) if local
                .entries
                .iter()
                .any(|(key, _)| is_place(key) && table.get(key).is_none())) =>
        {
            true
        }
        Value::Table(table) => table.entries.iter().any(|(key, node)| {
            let local = match local {
                Some(Value::Table(local)) => local.get(key).map(|node| &node.value),
                _ => None,
            };
            match is_place(key) {
                true => !local.is_some_and(|local| same(local, &node.value)),
                false => leads_elsewhere(local, &node.value),
            }
        }),
        Value::Array(items) => items.iter().enumerate().any(|(index, node)| {
            let local = match local {
                Some(Value::Array(local)) => local.get(index).map(|node| &node.value),
                _ => None,
            };
            leads_elsewhere(local, &node.value)
        }),
        _ => false,
    }
}
