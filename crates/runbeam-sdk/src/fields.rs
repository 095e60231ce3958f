//! Reads responses: tolerant of what may vary (an id as a number, a member that is missing), exact
//! about what is needed. No error quotes a value.

use serde_json::{Map, Value};

/// The members of an object in an answer.
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// The members of an object. `None`: it is none.
    pub(super) fn of(value: Value) -> Option<Self> {
        match value {
            Value::Object(members) => Some(Self(members)),
            _ => None,
        }
    }

    /// The members of an object that has to be one.
    pub(super) fn from_object(value: Value, what: &str) -> Result<Self, String> {
        Self::of(value).ok_or_else(|| format!("has no object as {what}"))
    }

    /// The text of a member, which stays.
    pub(super) fn peek(&self, name: &str) -> Option<String> {
        text(self.0.get(name)?)
    }

    /// Takes a text; if there is none, that of another member, which stays. Empty: neither.
    pub(super) fn text_or_peek(&mut self, name: &str, other: &str) -> String {
        self.text(name)
            .or_else(|| self.peek(other))
            .unwrap_or_default()
    }

    /// Takes any member that is not null.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    /// Takes a text; a number counts as its digits.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        text(&self.0.remove(name)?)
    }

    /// Takes a text that must be there, and not be empty.
    pub(super) fn required(&mut self, name: &str) -> Result<String, String> {
        self.text(name)
            .filter(|text| !text.is_empty())
            .ok_or_else(|| format!("has no usable `{name}`"))
    }

    /// Takes a truth value; 0 and 1 count as such.
    pub(super) fn boolean(&mut self, name: &str) -> Option<bool> {
        match self.0.remove(name)? {
            Value::Bool(found) => Some(found),
            Value::Number(number) if number.as_u64() == Some(0) => Some(false),
            Value::Number(number) if number.as_u64() == Some(1) => Some(true),
            _ => None,
        }
    }

    /// Takes a number, fractions included; one in a text counts too.
    pub(super) fn number(&mut self, name: &str) -> Option<f64> {
        match self.take(name)? {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text
                .trim()
                .parse()
                .ok()
                .filter(|number: &f64| number.is_finite()),
            _ => None,
        }
    }

    /// Takes an array of texts; elements that are objects count as their `id`, and other ones not
    /// at all.
    pub(super) fn strings(&mut self, name: &str) -> Vec<String> {
        match self.take(name) {
            Some(Value::Array(elements)) => elements
                .iter()
                .filter_map(|element| text(element.get("id").unwrap_or(element)))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Takes an array of texts; one that holds anything else stays, and counts as empty.
    pub(super) fn plain_strings(&mut self, name: &str) -> Vec<String> {
        let elements = self.0.get(name).and_then(Value::as_array);
        let strings = elements.and_then(|all| {
            all.iter()
                .map(|one| one.as_str().map(str::to_owned))
                .collect()
        });
        strings
            .inspect(|_: &Vec<String>| drop(self.0.remove(name)))
            .unwrap_or_default()
    }

    /// The members that were not taken.
    pub(super) fn remaining(self) -> Map<String, Value> {
        self.0
    }
}

impl From<Map<String, Value>> for Fields {
    fn from(members: Map<String, Value>) -> Self {
        Self(members)
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
