//! The local files as one text for the cloud: everything that has an effect here, references as
//! they are written, and no secret.

use std::path::Path;

use toml::value::{Datetime, Table as TomlTable};

use crate::config::model::{ErrorKind, Errors, KeyPath};
use crate::config::reader::{Environment, IGNORED_TABLES, Loading, Local, Table, Value};
use crate::config::tables::{self, secrets};

/// The local configuration, to be stored in the cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The text.
    pub toml: String,
    /// The names of its pipelines.
    pub pipelines: Vec<String>,
}

/// Makes the text.
pub(crate) fn text(path: &Path, env: &dyn Environment, local: Local) -> Result<Upload, Errors> {
    let loading = Loading::new(path, env, local);
    let upload = tables::document(path, &loading).and_then(|document| {
        let mut root = document.root;
        root.entries
            .retain(|(key, _)| !IGNORED_TABLES.contains(&key.as_str()));
        leave_token_hash_out(&mut root);
        if let Some(chain) = document.chain {
            if let Some(named) = root.get("middleware") {
                loading.error_help(
                    &named.span,
                    &KeyPath::from(["middleware"]),
                    "one text cannot hold both [middleware.NAME] and the main file's \
                     [[middleware]]",
                    "write the entries of [[middleware]] as [middleware.NAME], and list them in \
                     `middleware` of the pipelines",
                );
                return None;
            }
            root.entries.push(("middleware".to_owned(), chain));
        }
        secrets::each(&root, &KeyPath::default(), &mut |node, path| {
            loading.error_help(
                &node.span,
                path,
                "is a secret that stands in the file as it is: nothing is uploaded",
                "write \"${NAME}\" in its place, and set it in the environment",
            );
        });
        let pipelines = match root.get("pipelines").map(|node| &node.value) {
            Some(Value::Table(table)) => {
                let names = table.entries.iter().map(|(name, _)| name.clone());
                names.collect()
            }
            _ => Vec::new(),
        };
        match toml::to_string(&table(root)) {
            Ok(toml) => Some(Upload { toml, pipelines }),
            Err(error) => {
                loading.error(
                    &loading.main_file(),
                    &KeyPath::default(),
                    ErrorKind::Other(error.to_string()),
                );
                None
            }
        }
    });
    match upload {
        Some(upload) if loading.is_clean() => Ok(upload),
        _ => Err(loading.into_errors()),
    }
}

/// It opens the Management API, and nothing in the cloud has a use for it.
fn leave_token_hash_out(root: &mut Table) {
    if let Some(Value::Table(management)) = root.get_mut("management").map(|node| &mut node.value) {
        management.entries.retain(|(key, _)| key != "token_hash");
    }
}

fn table(table: Table) -> TomlTable {
    let entries = table.entries.into_iter();
    entries
        .map(|(key, node)| (key, value(node.value)))
        .collect()
}

fn value(value: Value) -> toml::Value {
    match value {
        Value::String(text) => toml::Value::String(text.to_string()),
        Value::Integer(integer) => toml::Value::Integer(integer),
        Value::Float(float) => toml::Value::Float(float),
        Value::Boolean(boolean) => toml::Value::Boolean(boolean),
        Value::Datetime(text) => match text.parse::<Datetime>() {
            Ok(datetime) => toml::Value::Datetime(datetime),
            Err(_) => toml::Value::String(text),
        },
        Value::Array(items) => toml::Value::Array(
            items
                .into_iter()
                .map(|item| self::value(item.value))
                .collect(),
        ),
        Value::Table(inner) => toml::Value::Table(table(inner)),
    }
}
