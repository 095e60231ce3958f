//! A document against a schema: every table and field, one after the other.

use toml::{Table, Value};

use super::error::ValidationError;
use super::path::{KeyPath, lookup, shorten};
use super::schema::{FieldRules, Schema, TableRules};

/// A hostile document has as many errors as bytes, each of them larger than a byte.
const MAX_ERRORS: usize = 1000;

/// Everything in the document that the schema does not allow, at most [`MAX_ERRORS`].
pub(super) fn check(document: &Table, schema: &Schema) -> Vec<ValidationError> {
    let mut checker = Checker {
        schema,
        errors: Vec::new(),
    };
    checker.check_tables(document, &mut Vec::new());
    for TableRules { name, .. } in schema.tables.iter().filter(|t| t.required && !t.pattern) {
        if lookup(document, name).is_none() {
            checker.report(|| ValidationError::MissingRequiredField {
                field_path: name.clone(),
            });
        }
    }
    checker.errors
}

struct Checker<'a> {
    schema: &'a Schema,
    errors: Vec<ValidationError>,
}

impl<'a> Checker<'a> {
    fn report(&mut self, error: impl FnOnce() -> ValidationError) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(error());
        }
    }

    /// Goes no deeper than the names of the schema's tables do.
    fn check_tables(&mut self, parent: &'a Table, path: &mut Vec<&'a str>) {
        for (key, value) in parent {
            path.push(key);
            let rules = self.schema.rules(path);
            let leads_on = self.schema.leads_on(path);
            match value {
                Value::Table(table) => {
                    if let Some(rules) = rules {
                        self.check_table(table, rules, path);
                    }
                    if leads_on {
                        self.check_tables(table, path);
                    }
                }
                other if rules.is_some() || leads_on => {
                    let path = KeyPath::of_table(path);
                    self.report(|| invalid_type(path, "table", other));
                }
                _ => {}
            }
            path.pop();
        }
    }

    fn check_table(&mut self, table: &Table, rules: &TableRules, path: &[&str]) {
        if let Some(pattern) = &rules.pattern_constraint
            && !rules.wildcards(path).all(|key| pattern.is_match(key))
        {
            let path = KeyPath::of_table(path);
            self.report(|| pattern_mismatch(path, pattern.as_str()));
        }
        for field in &rules.fields {
            let path = KeyPath {
                field: Some(&field.name),
                ..KeyPath::of_table(path)
            };
            match (lookup(table, &field.name), &field.required_if) {
                (Some(value), _) => self.check_field(value, field, path),
                (None, Some(condition)) if condition.holds(table) => {
                    self.report(|| ValidationError::ConditionalRequirementFailed {
                        field_path: path.to_string(),
                        condition: condition.text.clone(),
                    });
                }
                (None, None) if field.required => {
                    self.report(|| ValidationError::MissingRequiredField {
                        field_path: path.to_string(),
                    });
                }
                (None, _) => {}
            }
        }
    }

    fn check_field(&mut self, value: &Value, field: &FieldRules, path: KeyPath<'_>) {
        if !field.value_type.admits(value) {
            return self.report(|| invalid_type(path, &field.value_type, value));
        }
        let Value::Array(items) = value else {
            return self.check_value(value, field, path);
        };
        let length = items.len();
        if field.min_items.is_some_and(|min| length < min)
            || field.max_items.is_some_and(|max| length > max)
        {
            self.report(|| ValidationError::InvalidArrayLength {
                field_path: path.to_string(),
                length,
                min: field.min_items,
                max: field.max_items,
            });
        }
        for (position, item) in items.iter().enumerate() {
            let path = KeyPath {
                item: Some(position),
                ..path
            };
            match &field.array_item_type {
                Some(item_type) if !item_type.admits(item) => {
                    self.report(|| invalid_type(path, item_type, item));
                }
                _ => self.check_value(item, field, path),
            }
        }
    }

    /// The rules for one string or number, of a field or in its array.
    fn check_value(&mut self, value: &Value, field: &FieldRules, path: KeyPath<'_>) {
        let out_of_range = match value {
            Value::Integer(number) => {
                field.min.is_some_and(|min| *number < min)
                    || field.max.is_some_and(|max| *number > max)
            }
            // NaN is in no range.
            Value::Float(number) => {
                field
                    .min
                    .is_some_and(|min| number.is_nan() || *number < min as f64)
                    || field
                        .max
                        .is_some_and(|max| number.is_nan() || *number > max as f64)
            }
            _ => false,
        };
        if out_of_range {
            self.report(|| ValidationError::OutOfRange {
                field_path: path.to_string(),
                value: value.to_string(),
                min: field.min.map(|min| min.to_string()),
                max: field.max.map(|max| max.to_string()),
            });
        }
        let Value::String(text) = value else { return };
        if let Some(allowed) = &field.allowed
            && !allowed.contains(text)
        {
            self.report(|| ValidationError::InvalidEnumValue {
                field_path: path.to_string(),
                value: shorten(text),
                allowed: allowed.clone(),
            });
        }
        if let Some(pattern) = &field.pattern_constraint
            && !pattern.is_match(text)
        {
            self.report(|| pattern_mismatch(path, pattern.as_str()));
        }
    }
}

fn invalid_type(path: KeyPath<'_>, expected: &str, value: &Value) -> ValidationError {
    ValidationError::InvalidType {
        field_path: path.to_string(),
        expected: expected.to_owned(),
        found: value.type_str().to_owned(),
    }
}

fn pattern_mismatch(path: KeyPath<'_>, pattern: &str) -> ValidationError {
    ValidationError::PatternMismatch {
        field_path: path.to_string(),
        pattern: pattern.to_owned(),
    }
}
