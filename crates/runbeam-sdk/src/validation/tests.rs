//! Documents and schemas, good and bad.

mod conditions;
mod dsl;
mod hostile;
mod rules;
mod tables;
mod texts;

use super::condition::Condition;
use super::*;

use ValidationError as E;

/// A schema with these tables.
fn schema(tables: &str) -> String {
    format!("[schema]\nversion = '1'\ndescription = 'for a test'\n{tables}")
}

/// A schema with a table `app` that has one field.
fn field(rules: &str) -> String {
    schema(&format!(
        "[[table]]\nname = 'app'\n[[table.field]]\n{rules}"
    ))
}

#[track_caller]
fn errors(document: &str, schema: &str) -> Vec<E> {
    match validate_toml(document, schema) {
        Ok(()) => Vec::new(),
        Err(E::Multiple(errors)) => {
            assert!(errors.len() > 1);
            errors
        }
        Err(error) => vec![error],
    }
}

#[track_caller]
fn only(result: Result<(), E>) -> E {
    let error = result.unwrap_err();
    assert!(!matches!(error, E::Multiple(_)), "{error}");
    error
}

fn missing(path: &str) -> E {
    E::MissingRequiredField {
        field_path: path.into(),
    }
}

fn wrong_type(path: &str, expected: &str, found: &str) -> E {
    E::InvalidType {
        field_path: path.into(),
        expected: expected.into(),
        found: found.into(),
    }
}

fn mismatch(path: &str, pattern: &str) -> E {
    E::PatternMismatch {
        field_path: path.into(),
        pattern: pattern.into(),
    }
}

fn condition(text: &str) -> Option<Condition> {
    Condition::try_from(text.to_owned()).ok()
}

const APP: &str = "
    [[table]]
    name = 'app'
    required = true

    [[table.field]]
    name = 'name'
    type = 'string'
    required = true

    [[table.field]]
    name = 'port'
    type = 'integer'
    min = 1
    max = 65535

    [[table.field]]
    name = 'enabled'
    type = 'boolean'

    [[table.field]]
    name = 'log_level'
    type = 'string'
    default = 'info'
    enum = ['debug', 'info', 'warn', 'error']

    [[table.field]]
    name = 'tags'
    type = 'array'
    array_item_type = 'string'
    min_items = 1
    max_items = 3
";

const NETWORKS: &str = "
    [[table]]
    name = 'network.*'
    pattern = true
    pattern_constraint = '^[a-z0-9_-]+$'
    required = true

    [[table.field]]
    name = 'tcp.address'
    type = 'string'
    required = true
";
