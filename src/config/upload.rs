//! The local files as one text for the cloud: everything that has an effect here, references as
//! they are written, and no secret.

use std::path::Path;

use toml::value::{Datetime, Table as TomlTable};

use super::document::{Node, Table, Value};
use super::error::ErrorKind;
use super::loading::Loading;
use super::local::Local;
use super::reader::join;
use super::{Environment, Errors, foreign, local_document};

/// Keys that hold a secret. Hashes of passwords and digests of keys are none: they are what the
/// files hold so that the secret need not be there.
const SECRETS: &[&str] = &["secret", "password", "token", "pepper", "private_key"];
/// Tables whose keys the user chooses.
const CHOSEN: &[&str] = &["claims_to_headers", "required_claims"];
/// What marks a secret wherever it stands.
const MARKS: &[&str] = &["PRIVATE KEY-----", "AGE-SECRET-KEY-"];
/// Words in the name of a header or a parameter whose value is a secret.
const CREDENTIALS: &[&str] = &[
    "authorization",
    "cookie",
    "key",
    "token",
    "secret",
    "password",
];

/// The local configuration, to be stored in the cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The text.
    pub toml: String,
    /// The names of its pipelines.
    pub pipelines: Vec<String>,
}

/// Makes the text.
pub(super) fn text(path: &Path, env: &dyn Environment, local: Local) -> Result<Upload, Errors> {
    let loading = Loading::new(path, env, local);
    let upload = local_document(path, &loading).and_then(|document| {
        let mut root = document.root;
        root.entries.retain(|(key, _)| !foreign::IGNORED_TABLES.contains(&key.as_str()));
        leave_token_hash_out(&mut root);
        if let Some(chain) = document.chain {
            if let Some(named) = root.get("middleware") {
                loading.error_help(
                    &named.place,
                    "middleware",
                    "one text cannot hold both [middleware.NAME] and the main file's [[middleware]]",
                    "write the entries of [[middleware]] as [middleware.NAME], and list them in `middleware` of the pipelines",
                );
                return None;
            }
            root.entries.push(("middleware".to_owned(), chain));
        }
        refuse_secrets(&root, "", &loading);
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
                loading.error(&loading.main_file(), "", ErrorKind::Other(error.to_string()));
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

fn refuse_secrets(table: &Table, path: &str, loading: &Loading<'_>) {
    let compared = match table.get("name").map(|node| &node.value) {
        Some(Value::String(name)) => {
            let name = name.to_ascii_lowercase();
            CREDENTIALS.iter().any(|word| name.contains(word))
        }
        _ => false,
    };
    for (key, node) in &table.entries {
        let lower = key.to_ascii_lowercase();
        let secret = SECRETS
            .iter()
            .any(|secret| lower == *secret || lower.ends_with(&format!("_{secret}")));
        let secret = secret || compared && key == "value";
        let chosen = CHOSEN.contains(&key.as_str());
        refuse_in(node, &join(path, key), secret, chosen, loading);
    }
}

fn refuse_in(node: &Node, path: &str, secret: bool, chosen: bool, loading: &Loading<'_>) {
    match &node.value {
        Value::String(text) => {
            let marked = MARKS.iter().any(|mark| text.contains(mark));
            if (secret || marked) && !text.is_empty() && !is_reference(text) {
                loading.error_help(
                    &node.place,
                    path,
                    "is a secret that stands in the file as it is: nothing is uploaded",
                    "write \"${NAME}\" in its place, and set it in the environment",
                );
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                refuse_in(item, &format!("{path}[{index}]"), secret, chosen, loading);
            }
        }
        Value::Table(_) if chosen => {}
        Value::Table(table) => refuse_secrets(table, path, loading),
        _ => {}
    }
}

/// Whether a text is references and nothing else, and none has a default that would be the secret.
fn is_reference(text: &str) -> bool {
    let mut rest = text;
    while let Some((reference, after)) = rest
        .strip_prefix("${")
        .and_then(|reference| reference.split_once('}'))
    {
        let file = reference.starts_with("file:") || reference.starts_with("credential:");
        let default = reference
            .split_once(":-")
            .map_or("", |(_, default)| default);
        if !file && !default.is_empty() {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
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
