//! Secrets that stand in the files as they are: where, and who else can read them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::config::model::KeyPath;
use crate::config::reader::{Document, Loading, Node, Span, Table, Value};

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

/// Who may read a file besides its owner and its group.
const OTHERS_READ: u32 = 0o004;

/// Warns of each secret that stands in a local file as it is, and of the files with such secrets
/// that everybody on this machine can read.
pub(crate) fn warn(document: &Document, loading: &Loading<'_>) {
    let mut files = BTreeSet::new();
    let mut found = |node: &Node, path: &KeyPath| {
        // with a word of its own, and a better one: what to write in its place is a hash
        let told = path.key_at(0) == Some("middleware")
            && path.last_key().is_some_and(|key| key.ends_with("password"));
        if node.span.cloud {
            return;
        }
        if !told {
            loading.warning(
                &node.span,
                path,
                "the secret stands in the file as it is; write \"${NAME}\", \"${file:/path}\" or \
                 \"${credential:NAME}\" in its place",
            );
        }
        files.insert(node.span.file.clone());
    };
    each(&document.root, &KeyPath::default(), &mut found);
    if let Some(chain) = &document.chain {
        each_in(
            chain,
            &KeyPath::from(["middleware"]),
            false,
            false,
            &mut found,
        );
    }
    for file in files {
        let mode = fs::metadata(&file).map(|metadata| metadata.permissions().mode());
        if mode.is_ok_and(|mode| mode & OTHERS_READ != 0) {
            let span = Span::of_file(&file);
            loading.warning(
                &span,
                &KeyPath::default(),
                "it holds secrets, and every user of this machine can read it; take that away \
                 with `chmod o-r`",
            );
        }
    }
}

/// Hands out every secret of a table that stands there as it is, with its key path.
pub(crate) fn each(table: &Table, path: &KeyPath, found: &mut dyn FnMut(&Node, &KeyPath)) {
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
        each_in(node, &path.key(key), secret, chosen, found);
    }
}

fn each_in(
    node: &Node,
    path: &KeyPath,
    secret: bool,
    chosen: bool,
    found: &mut dyn FnMut(&Node, &KeyPath),
) {
    match &node.value {
        Value::String(text) => {
            let marked = MARKS.iter().any(|mark| text.contains(mark));
            if (secret || marked) && !text.is_empty() && !is_reference(text) {
                found(node, path);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                each_in(item, &path.index(index), secret, chosen, found);
            }
        }
        Value::Table(_) if chosen => {}
        Value::Table(table) => each(table, path, found),
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
