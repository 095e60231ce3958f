//! A table of the cloud's over the local one of that name, key by key.

use crate::config::reader::{Node, Table, Value};

/// What becomes of two values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Overlay {
    /// It is compared with the local one: a table that is local stays so.
    Compared,
    /// The same, and what only the local one has stays.
    United,
    /// It takes the place of the local one, and is the cloud's.
    InPlace,
}

/// The cloud's value, in which everything that the local one has at the same place is the local
/// one: its references are filled in, and its files may be named.
pub(super) fn overlaid(local: &Node, cloud: &Node, overlay: Overlay) -> Node {
    if local.value.is_same(&cloud.value) {
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
                span: cloud.span.clone(),
                value: value.clone(),
            };
        }
    };
    let span = match overlay {
        Overlay::InPlace => &cloud.span,
        Overlay::Compared | Overlay::United => &local.span,
    };
    Node {
        span: span.clone(),
        value,
    }
}

/// The cloud's table in the place of a local one. Where it leads elsewhere than the local one, it
/// gets nothing of what only the local files may hold: that could be a secret on its way out.
pub(super) fn in_place_of(local: &Node, cloud: &Node) -> Node {
    match leads_elsewhere(Some(&local.value), &cloud.value) {
        true => cloud.clone(),
        false => overlaid(local, cloud, Overlay::InPlace),
    }
}

/// Whether a key says where something leads, over what, or whose certificate
/// shows that it is there.
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
                true => !local.is_some_and(|local| local.is_same(&node.value)),
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
