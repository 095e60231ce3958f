//! What a document or a schema got wrong. The variants and their fields are those of the published
//! `runbeam-sdk`.

use std::fmt::Display;

/// Why a document does not pass. A `field_path` is the path of a key in the document, like
/// `network.default.tcp_config.bind_port` or `proxy.required_env_vars[0]`, with keys in quotes that
/// TOML wants in quotes, and keys of more than 100 characters cut off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValidationError {
    /// A table or field that is always required is absent.
    #[error("missing required field {field_path}")]
    MissingRequiredField {
        /// Where it should stand.
        field_path: String,
    },
    /// A value of another type.
    #[error("invalid type of {field_path}: expected {expected}, found {found}")]
    InvalidType {
        /// Where it stands.
        field_path: String,
        /// The type in the schema: `string`, `integer`, `boolean`, `float`, `array` or `table`.
        expected: String,
        /// The type in the document: one of these, or `datetime`.
        found: String,
    },
    /// A string that is none of those in `enum`.
    #[error("invalid value {value:?} of {field_path}: must be one of {}", .allowed.join(", "))]
    InvalidEnumValue {
        /// Where it stands.
        field_path: String,
        /// The string, in at most 100 characters.
        value: String,
        /// What the schema allows.
        allowed: Vec<String>,
    },
    /// A number outside `min` and `max`.
    #[error("{field_path} = {value} is out of range: must be {}", range(min, max))]
    OutOfRange {
        /// Where it stands.
        field_path: String,
        /// The number.
        value: String,
        /// The smallest that is allowed.
        min: Option<String>,
        /// The largest that is allowed.
        max: Option<String>,
    },
    /// An array with too few or too many items.
    #[error("{field_path} has {length} items: must be {}", range(min, max))]
    InvalidArrayLength {
        /// Where it stands.
        field_path: String,
        /// How many there are.
        length: usize,
        /// How many there have to be at least.
        min: Option<usize>,
        /// How many there may be at most.
        max: Option<usize>,
    },
    /// A string, or the name of a table, that a `pattern_constraint` does not allow.
    #[error("{field_path} does not match the pattern {pattern}")]
    PatternMismatch {
        /// Where it stands, or the path of the table.
        field_path: String,
        /// The regular expression.
        pattern: String,
    },
    /// A field that `required_if` asks for is absent.
    #[error("missing field {field_path}: it is required while {condition}")]
    ConditionalRequirementFailed {
        /// Where it should stand.
        field_path: String,
        /// The condition in the schema, which holds.
        condition: String,
    },
    /// The schema is no TOML, or no schema: says where and why.
    #[error("the schema cannot be read: {0}")]
    SchemaParseError(String),
    /// The document is no TOML: says where and why.
    #[error("the document is not valid TOML: {0}")]
    TomlParseError(String),
    /// Several of the above, at most 1000: more are left out.
    #[error("multiple validation errors:{}", numbered(.0))]
    Multiple(Vec<ValidationError>),
    /// Never reported, here or by the published releases: the schemas allow what they do not
    /// mention. It is here for programs that match on it.
    #[error("unexpected table {table_path}")]
    UnexpectedTable {
        /// The table.
        table_path: String,
    },
    /// As [`UnexpectedTable`](Self::UnexpectedTable): never reported.
    #[error("unexpected field {field_path}")]
    UnexpectedField {
        /// The field.
        field_path: String,
    },
}

fn range<T: Display>(min: &Option<T>, max: &Option<T>) -> String {
    match (min, max) {
        (Some(min), Some(max)) => format!("between {min} and {max}"),
        (Some(min), None) => format!("at least {min}"),
        (None, Some(max)) => format!("at most {max}"),
        (None, None) => "within the range".to_owned(),
    }
}

fn numbered(errors: &[ValidationError]) -> String {
    (1..)
        .zip(errors)
        .map(|(number, error)| format!("\n  {number}. {error}"))
        .collect()
}
