//! What the cloud may change of the local files: with `runbeam.cloud_owns_uploaded`, pipelines that
//! an upload carried, and the tables that no other pipeline uses.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::quarantine::each_string;
use super::validate::GROUPS;
use crate::config::model::Config;
use crate::config::reader::{Document, Table, Value};

/// A group and a name in it.
type Key<'t> = (&'t str, &'t str);

/// Local pipelines that are the cloud's to change.
#[derive(Default)]
pub(crate) struct Owned {
    /// Each with the backends that the local files give it.
    pipelines: BTreeMap<Arc<str>, Vec<Arc<str>>>,
    /// Those that the cloud has changed, in tables that they use.
    changed: BTreeSet<String>,
}

impl Owned {
    /// Those of the uploaded pipelines that there are.
    pub(super) fn of(config: &Config, uploaded: &[String]) -> Self {
        if !config.cloud_rights.owns_uploaded {
            return Self::default();
        }
        let owned = config.pipelines.iter();
        let owned = owned.filter(|pipeline| uploaded.iter().any(|name| **name == *pipeline.name));
        Self {
            pipelines: owned
                .map(|pipeline| {
                    let backends = pipeline.backends.iter().map(|it| it.name.clone());
                    (pipeline.name.clone(), backends.collect())
                })
                .collect(),
            changed: BTreeSet::new(),
        }
    }

    /// The same after the cloud has changed these tables.
    pub(super) fn with_changed(&self, document: &Document, changed: &[Key<'_>]) -> Self {
        let touched = |name: &&Arc<str>| {
            let used = used_by(document, name);
            changed.iter().any(|table| used.contains(table))
        };
        let touched = match changed {
            [] => BTreeSet::new(),
            _ => self
                .pipelines
                .keys()
                .filter(touched)
                .map(ToString::to_string)
                .collect(),
        };
        Self {
            pipelines: self.pipelines.clone(),
            changed: touched,
        }
    }

    /// Whether the cloud may change a table of the local files. Credentials for upstreams never,
    /// nor where a local backend that has one leads: they would go where the cloud says.
    pub(super) fn may_change(&self, document: &Document, group: &str, name: &str) -> bool {
        match group {
            _ if self.pipelines.is_empty() => false,
            "authentications" | "targets" => false,
            "pipelines" => self.contains(name),
            _ => {
                let others = tables(document).filter(|(group, _, _)| *group == "pipelines");
                let mut others = others.filter(|(_, name, _)| !self.contains(name));
                others.all(|(_, other, _)| !used_by(document, other).contains(&(group, name)))
            }
        }
    }

    /// Whether a local pipeline is the cloud's to change.
    pub(crate) fn contains(&self, pipeline: &str) -> bool {
        self.pipelines.contains_key(pipeline)
    }

    /// Whether the cloud has changed something that a local pipeline uses.
    pub(crate) fn is_changed(&self, pipeline: &str) -> bool {
        self.changed.contains(pipeline)
    }

    /// Names of pipelines that are the cloud's, since it has changed what they use.
    pub(super) fn changed(&self) -> impl Iterator<Item = Arc<str>> {
        self.changed.iter().map(|name| name.as_str().into())
    }

    /// Whether the local files give a pipeline this backend.
    pub(crate) fn has(&self, pipeline: &str, backend: &str) -> bool {
        let found = self.pipelines.get(pipeline);
        found.is_some_and(|backends| backends.iter().any(|known| &**known == backend))
    }
}

/// Every table that a pipeline uses, itself among them: those whose name it mentions, and so on.
/// One that it only seems to use is no harm: the cloud may change less then.
fn used_by<'d>(document: &'d Document, pipeline: &str) -> BTreeSet<Key<'d>> {
    let mut named: HashMap<String, Vec<(Key<'d>, &'d Value)>> = HashMap::new();
    for (group, name, value) in tables(document) {
        for spelling in [name.to_owned(), format!("{group}.{name}")] {
            named
                .entry(spelling)
                .or_default()
                .push(((group, name), value));
        }
    }
    let mut used = BTreeSet::new();
    let called = |name: &str| named.get(name).into_iter().flatten().copied();
    let mut open: Vec<_> = called(pipeline)
        .filter(|(key, _)| key.0 == "pipelines")
        .collect();
    // Any pipeline may have the main file's chain, or name a step of it.
    if let Some(chain) = &document.chain {
        each_string(&chain.value, &mut |text| {
            open.extend(called(text).filter(|(key, _)| key.0 != "pipelines"));
        });
    }
    while let Some((key, value)) = open.pop() {
        if used.insert(key) {
            each_string(value, &mut |text| {
                open.extend(called(text).filter(|(key, _)| key.0 != "pipelines"));
            });
        }
    }
    used
}

fn tables(document: &Document) -> impl Iterator<Item = (&str, &str, &Value)> {
    let groups = document.root.entries.iter();
    let groups = groups.filter(|(group, _)| GROUPS.contains(&group.as_str()));
    let tables = groups.filter_map(|(group, node)| match &node.value {
        Value::Table(table) => Some((group.as_str(), table)),
        _ => None,
    });
    tables.flat_map(|(group, Table { entries })| {
        let named = entries.iter();
        named.map(move |(name, node)| (group, name.as_str(), &node.value))
    })
}
