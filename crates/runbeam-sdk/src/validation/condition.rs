//! `required_if`: the condition on one field of a table under which another is required.

use serde::Deserialize;
use toml::{Table, Value};

use super::path::{is_bare, lookup};

/// `name exists`, `name`, `name == value` or `name != value`; a value is in quotes of either kind,
/// or one word.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Condition {
    /// As the schema has it.
    pub(super) text: String,
    field: String,
    test: Test,
}

enum Test {
    Exists,
    Equals(String),
    Differs(String),
}

#[derive(Debug, thiserror::Error)]
#[error(
    "required_if = {0:?} is no condition: expected `name exists`, `name == value` or \
     `name != value`"
)]
pub(super) struct InvalidCondition(String);

impl TryFrom<String> for Condition {
    type Error = InvalidCondition;

    fn try_from(text: String) -> Result<Self, InvalidCondition> {
        match parse(text.trim()) {
            Some((field, test)) => Ok(Self { field, test, text }),
            None => Err(InvalidCondition(text)),
        }
    }
}

impl Condition {
    /// Whether it holds in a table. A field that is absent, or neither string, integer nor boolean,
    /// equals nothing.
    pub(super) fn holds(&self, table: &Table) -> bool {
        let field = lookup(table, &self.field);
        match &self.test {
            Test::Exists => field.is_some(),
            Test::Equals(text) => field.is_some_and(|value| equals(value, text)),
            Test::Differs(text) => !field.is_some_and(|value| equals(value, text)),
        }
    }
}

fn parse(text: &str) -> Option<(String, Test)> {
    let end = text.find(|c: char| !(c == '.' || u8::try_from(c).is_ok_and(is_bare)));
    let (field, test) = text.split_at(end.unwrap_or(text.len()));
    let test = match test.trim_start() {
        "" | "exists" => Test::Exists,
        test => match (test.strip_prefix("=="), test.strip_prefix("!=")) {
            (Some(value), _) => Test::Equals(unquote(value.trim())?),
            (_, Some(value)) => Test::Differs(unquote(value.trim())?),
            _ => return None,
        },
    };
    (!field.is_empty()).then(|| (field.to_owned(), test))
}

fn unquote(value: &str) -> Option<String> {
    let quoted = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    let text = quoted('"').or_else(|| quoted('\'')).unwrap_or(value);
    let has = |excluded: &[char]| text.contains(excluded);
    let plain = if text.len() < value.len() {
        !has(&['"', '\''])
    } else {
        !text.is_empty() && !has(&['"', '\'', ' ', '\t', '=', '&', '|'])
    };
    plain.then(|| text.to_owned())
}

fn equals(value: &Value, text: &str) -> bool {
    match value {
        Value::String(string) => string == text,
        Value::Boolean(boolean) => text == if *boolean { "true" } else { "false" },
        Value::Integer(integer) => text.parse() == Ok(*integer),
        _ => false,
    }
}
