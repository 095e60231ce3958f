//! Checks documents in TOML against schemas in Runbeam's DSL, as Runbeam Cloud does.
//!
//! [`validate_config_toml`] and [`validate_pipeline_toml`] use the schemas that the crate
//! [`harmony_dsl`] publishes, [`validate_toml`] one of the caller's. They check tables, types,
//! ranges and names. What a schema does not mention is allowed, variables like `${NAME}` are text,
//! and references are not followed. `harmony-edge --check` is stricter, and knows keys that these
//! schemas lack: only that command says whether the edge starts with a file.
//!
//! # The DSL
//!
//! A schema is TOML: `[schema]` with `version` and `description`, and `[[table]]` for each table
//! that a document may have.
//!
//! | of a table | meaning |
//! |---|---|
//! | `name` | its path, with dots |
//! | `pattern = true` | a `*` in the name stands for one key, or for a part of one: `network.*` |
//! | `pattern_constraint` | the regular expression that each key in the place of a `*` matches |
//! | `required = true` | the document has this table; of no effect on a pattern |
//! | `[[table.field]]` | its fields, as follows |
//!
//! | of a field | meaning |
//! |---|---|
//! | `name` | its path in the table, with dots |
//! | `type` | `string`, `integer`, `boolean`, `float` (integers pass too), `array`, `table` |
//! | `required = true` | the table has this field |
//! | `required_if` | in place of `required`: the table has it while a condition holds |
//! | `min_items`, `max_items`, `array_item_type` | of an array |
//! | `enum` | the strings that are allowed |
//! | `min`, `max` | of a number, inclusive |
//! | `pattern_constraint` | the regular expression that a string matches |
//!
//! A condition is `name exists` (or just `name`), `name == value` or `name != value`; its name is
//! that of a field of the same table. `enum`, `min`, `max` and `pattern_constraint` hold for the
//! items of an array as well. `description`, `default` and other keys are ignored.
//! Regular expressions are those of the crate `regex`, with the classes of Perl (`\w`, `\d`, `\s`),
//! and without `\p`.
//!
//! If several tables of the schema fit a table of the document, one without `pattern` is taken, and
//! of several such the last one.

mod checker;
mod condition;
mod error;
mod path;
mod schema;
#[cfg(test)]
mod tests;

pub use error::ValidationError;

/// Checks a gateway's configuration (`config.toml`) against [`harmony_dsl::CONFIG_SCHEMA`].
///
/// ```
/// use runbeam_sdk::validate_config_toml;
///
/// let config = r#"
/// [proxy]
/// id = "gateway-1"
///
/// [network.default.tcp_config]
/// bind_address = "0.0.0.0"
/// bind_port = 80800
/// "#;
/// assert_eq!(
///     validate_config_toml(config).unwrap_err().to_string(),
///     "network.default.tcp_config.bind_port = 80800 is out of range: must be between 1 and 65535",
/// );
/// ```
///
/// # Errors
///
/// [`ValidationError::TomlParseError`] for a document that is no TOML; otherwise everything that
/// the schema does not allow, as [`ValidationError::Multiple`] if there is more than one thing.
pub fn validate_config_toml(content: &str) -> Result<(), ValidationError> {
    validate_toml(content, harmony_dsl::CONFIG_SCHEMA)
}

/// Checks a pipeline file (`pipelines/*.toml`) against [`harmony_dsl::PIPELINE_SCHEMA`].
///
/// ```
/// use runbeam_sdk::validate_pipeline_toml;
///
/// let pipeline = r#"
/// [pipelines.api]
/// networks = ["default"]
/// endpoints = ["http"]
/// backends = ["upstream"]
///
/// [endpoints.http]
/// service = "http"
///
/// [backends.upstream]
/// service = "http"
/// "#;
/// assert_eq!(validate_pipeline_toml(pipeline), Ok(()));
/// ```
///
/// # Errors
///
/// Those of [`validate_config_toml`].
pub fn validate_pipeline_toml(content: &str) -> Result<(), ValidationError> {
    validate_toml(content, harmony_dsl::PIPELINE_SCHEMA)
}

/// Checks a document against a schema of the caller's, in [the DSL](self#the-dsl).
///
/// ```
/// use runbeam_sdk::{ValidationError, validate_toml};
///
/// let schema = r#"
/// [schema]
/// version = "1.0"
/// description = "An application"
///
/// [[table]]
/// name = "app"
/// required = true
///
/// [[table.field]]
/// name = "name"
/// type = "string"
/// required = true
/// "#;
/// assert_eq!(validate_toml("app.name = 'shop'", schema), Ok(()));
/// assert_eq!(
///     validate_toml("app.name = 5", schema),
///     Err(ValidationError::InvalidType {
///         field_path: "app.name".into(),
///         expected: "string".into(),
///         found: "integer".into(),
///     }),
/// );
/// ```
///
/// # Errors
///
/// [`ValidationError::SchemaParseError`] for a schema that is none, before the document is read;
/// then those of [`validate_config_toml`].
pub fn validate_toml(content: &str, schema: &str) -> Result<(), ValidationError> {
    let schema = toml::from_str(schema)
        .map_err(|error| ValidationError::SchemaParseError(describe(schema, &error)))?;
    let document = toml::from_str(content)
        .map_err(|error| ValidationError::TomlParseError(describe(content, &error)))?;
    let mut errors = checker::check(&document, &schema);
    match errors.len() {
        0 => Ok(()),
        1 => Err(errors.swap_remove(0)),
        _ => Err(ValidationError::Multiple(errors)),
    }
}

/// Place and message. The error's own text shows the line, in which a secret may stand.
fn describe(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().replace('\n', ", ");
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else {
        return message;
    };
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    format!("line {line}, column {column}: {message}")
}
