//! A schema of Runbeam's DSL, as `mod.rs` describes it.

use std::ops::Deref;

use regex::Regex;
use serde::Deserialize;
use toml::Value;

use super::condition::Condition;

#[derive(Deserialize)]
pub(super) struct Schema {
    #[serde(rename = "schema")]
    _header: Header,
    #[serde(rename = "table")]
    pub(super) tables: Vec<TableRules>,
}

/// Nothing is decided by it, but what lacks it is no schema.
#[derive(Deserialize)]
struct Header {
    #[serde(rename = "version")]
    _version: String,
    #[serde(rename = "description")]
    _description: String,
}

#[derive(Deserialize)]
pub(super) struct TableRules {
    /// With dots.
    pub(super) name: String,
    /// Whether `*` in the name is a wildcard.
    #[serde(default)]
    pub(super) pattern: bool,
    pub(super) pattern_constraint: Option<Pattern>,
    #[serde(default)]
    pub(super) required: bool,
    #[serde(default, rename = "field")]
    pub(super) fields: Vec<FieldRules>,
}

#[derive(Deserialize)]
pub(super) struct FieldRules {
    /// With dots.
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) value_type: ValueType,
    #[serde(default)]
    pub(super) required: bool,
    /// In place of `required`.
    pub(super) required_if: Option<Condition>,
    #[serde(rename = "enum")]
    pub(super) allowed: Option<Vec<String>>,
    pub(super) min: Option<i64>,
    pub(super) max: Option<i64>,
    pub(super) min_items: Option<usize>,
    pub(super) max_items: Option<usize>,
    pub(super) array_item_type: Option<ValueType>,
    pub(super) pattern_constraint: Option<Pattern>,
}

impl Schema {
    /// The rules of the table at a path of the document.
    pub(super) fn rules(&self, path: &[&str]) -> Option<&TableRules> {
        self.tables
            .iter()
            .filter(|table| table.keys_below(path) == Some(0))
            // The last one of the largest.
            .max_by_key(|table| !table.pattern)
    }

    /// Whether tables of the schema lie below a path of the document.
    pub(super) fn leads_on(&self, path: &[&str]) -> bool {
        self.tables
            .iter()
            .any(|table| table.keys_below(path) > Some(0))
    }
}

impl TableRules {
    /// How many keys the name has beyond a path; `None` if the path leads elsewhere.
    fn keys_below(&self, path: &[&str]) -> Option<usize> {
        let mut name = self.name.split('.');
        for key in path {
            let expected = name.next()?;
            let fits = match expected.split_once('*').filter(|_| self.pattern) {
                Some((start, end)) => {
                    key.len() >= start.len() + end.len()
                        && key.starts_with(start)
                        && key.ends_with(end)
                }
                None => *key == expected,
            };
            if !fits {
                return None;
            }
        }
        Some(name.count())
    }

    /// The keys of a path that stand in the place of a `*`.
    pub(super) fn wildcards<'a>(&self, path: &[&'a str]) -> impl Iterator<Item = &'a str> {
        self.name
            .split('.')
            .zip(path)
            .filter(|(expected, _)| self.pattern && expected.contains('*'))
            .map(|(_, key)| *key)
    }
}

/// A type by its name in the DSL, which is also the one in errors.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct ValueType(String);

impl ValueType {
    pub(super) fn admits(&self, value: &Value) -> bool {
        value.type_str() == self.0 || self.0 == "float" && value.is_integer()
    }
}

impl Deref for ValueType {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ValueType {
    type Error = SchemaError;

    fn try_from(name: String) -> Result<Self, SchemaError> {
        match name.as_str() {
            "string" | "integer" | "boolean" | "float" | "array" | "table" => Ok(Self(name)),
            _ => Err(SchemaError::UnknownType(name)),
        }
    }
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Pattern(Regex);

impl Deref for Pattern {
    type Target = Regex;

    fn deref(&self) -> &Regex {
        &self.0
    }
}

impl TryFrom<String> for Pattern {
    type Error = SchemaError;

    fn try_from(pattern: String) -> Result<Self, SchemaError> {
        Regex::new(&pattern)
            .map(Self)
            .map_err(|cause| SchemaError::Pattern { pattern, cause })
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum SchemaError {
    #[error("unknown type {0:?}: expected string, integer, boolean, float, array or table")]
    UnknownType(String),
    #[error("the pattern {pattern:?} is refused: {cause}")]
    Pattern {
        pattern: String,
        cause: regex::Error,
    },
}
