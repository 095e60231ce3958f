//! What the cloud may change of the local files: with `runbeam.cloud_owns_uploaded`, pipelines that
//! an upload carried, and the tables that no other pipeline uses.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::text::GROUPS;
use crate::config::model::Config;
use crate::config::reader::{Document, Table, Value};
use crate::config::tables::OwnedPipelines;

/// A group and a name in it.
type Key<'t> = (&'t str, &'t str);

/// Those of the uploaded pipelines that there are.
pub(super) fn of(config: &Config, uploaded: &[String]) -> OwnedPipelines {
    if !config.cloud_rights.owns_uploaded {
        return OwnedPipelines::default();
    }
    let owned = config.pipelines.iter();
    let owned = owned.filter(|pipeline| uploaded.iter().any(|name| **name == *pipeline.name));
    let backends = owned.map(|pipeline| {
        let backends = pipeline.backends.iter().map(|it| it.name.clone());
        (pipeline.name.clone(), backends.collect())
    });
    OwnedPipelines {
        backends: backends.collect(),
        changed: BTreeSet::new(),
    }
}

/// The same after the cloud has changed these tables.
pub(super) fn with_changed(
    owned: &OwnedPipelines,
    document: &Document,
    changed: &[Key<'_>],
) -> OwnedPipelines {
    let touched = |name: &&Arc<str>| {
        let used = used_by(document, name);
        changed.iter().any(|table| used.contains(table))
    };
    let touched: BTreeSet<_> = match changed {
        [] => BTreeSet::new(),
        _ => owned.backends.keys().filter(touched).cloned().collect(),
    };
    OwnedPipelines {
        backends: owned.backends.clone(),
        changed: touched,
    }
}

/// Whether the cloud may change a table of the local files. Credentials for upstreams never, nor
/// where a local backend that has one leads: they would go where the cloud says.
pub(super) fn may_change(
    owned: &OwnedPipelines,
    document: &Document,
    group: &str,
    name: &str,
) -> bool {
    match group {
        _ if owned.backends.is_empty() => false,
        "authentications" | "targets" => false,
        "pipelines" => owned.contains(name),
        _ => {
            let others = tables(document).filter(|(group, _, _)| *group == "pipelines");
            let mut others = others.filter(|(_, name, _)| !owned.contains(name));
            others.all(|(_, other, _)| !used_by(document, other).contains(&(group, name)))
        }
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
        chain.value.each_string(&mut |text| {
            open.extend(called(text).filter(|(key, _)| key.0 != "pipelines"));
        });
    }
    while let Some((key, value)) = open.pop() {
        if used.insert(key) {
            value.each_string(&mut |text| {
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
