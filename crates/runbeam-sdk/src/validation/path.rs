//! Key paths: what lies at one, and how an error shows one.

use std::fmt::{Display, Formatter, Result};

use toml::{Table, Value};

/// How much of a key or value an error shows, in characters.
const SHOWN: usize = 100;

/// What lies at a path with dots. Arrays are not entered.
pub(super) fn lookup<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    let mut keys = path.split('.');
    let first = table.get(keys.next()?)?;
    keys.try_fold(first, |value, key| value.as_table()?.get(key))
}

/// A table, a field of one, or an item of a field.
#[derive(Clone, Copy)]
pub(super) struct KeyPath<'a> {
    pub(super) table: &'a [&'a str],
    /// With dots, as the schema has it.
    pub(super) field: Option<&'a str>,
    pub(super) item: Option<usize>,
}

impl<'a> KeyPath<'a> {
    pub(super) fn of_table(table: &'a [&'a str]) -> Self {
        Self {
            table,
            field: None,
            item: None,
        }
    }
}

impl Display for KeyPath<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        for (position, key) in self.table.iter().enumerate() {
            if position > 0 {
                f.write_str(".")?;
            }
            let shown = shorten(key);
            if !key.is_empty() && key.bytes().all(is_bare) {
                f.write_str(&shown)?;
            } else {
                write!(f, "{shown:?}")?;
            }
        }
        if let Some(field) = self.field {
            write!(f, ".{field}")?;
        }
        match self.item {
            Some(item) => write!(f, "[{item}]"),
            None => Ok(()),
        }
    }
}

/// The beginning of a text that may be long.
pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Whether a TOML key may have it without quotes.
pub(super) fn is_bare(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}
