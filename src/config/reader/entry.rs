//! One value as written, read as the type that it should have.
//!
//! Every getter reports what is wrong at the value's own line and answers `None`. Not here: which
//! keys a table has (`reader`).

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Loading, Node, Span, Text, Value, hint};
use crate::config::model::{ErrorKind, KeyPath, Owner, Reach};

/// A value, the path of its key and where it stands.
#[derive(Clone)]
pub(crate) struct Entry<'a> {
    pub(super) loading: &'a Loading<'a>,
    pub(super) path: KeyPath,
    pub(super) node: &'a Node,
}

impl<'a> Entry<'a> {
    /// A node that stands at a path of its own, such as an item of `[[middleware]]`.
    pub(crate) fn new(path: KeyPath, node: &'a Node, loading: &'a Loading<'a>) -> Self {
        Self {
            loading,
            path,
            node,
        }
    }

    /// Whether it is a table.
    pub(crate) fn is_table(&self) -> bool {
        matches!(self.node.value, Value::Table(_))
    }

    /// Whether it is anything but an empty array, which is reported.
    pub(crate) fn is_not_empty(&self) -> bool {
        let empty = matches!(&self.node.value, Value::Array(items) if items.is_empty());
        if empty {
            self.error_help("is empty", "name at least one");
        }
        !empty
    }

    pub(crate) fn is_integer(&self) -> bool {
        matches!(self.node.value, Value::Integer(_))
    }

    pub(crate) fn is_array(&self) -> bool {
        matches!(self.node.value, Value::Array(_))
    }

    /// A string with its references filled in.
    pub(crate) fn text(&self) -> Option<Text> {
        match &self.node.value {
            Value::String(written) => self.loading.fill(&self.node.span, &self.path, written),
            _ => self.wrong_type("a string"),
        }
    }

    /// The path of a file that will be appended to, and made where it does not exist.
    pub(crate) fn log_file(&self) -> Option<PathBuf> {
        let path = self.path()?;
        if path.is_dir() {
            self.error_help("is a directory", "name a file in it");
            return None;
        }
        Some(path)
    }

    /// Whether it is a string with a reference in it.
    pub(crate) fn is_filled(&self) -> bool {
        matches!(&self.node.value, Value::String(written) if written.contains("${"))
    }

    /// A boolean, or a reference to one.
    pub(crate) fn boolean(&self) -> Option<bool> {
        match &self.node.value {
            Value::Boolean(value) => Some(*value),
            _ if self.is_filled() => self.filled("a boolean"),
            _ => self.wrong_type("a boolean"),
        }
    }

    /// An integer in a range, or a reference to one.
    pub(crate) fn integer(&self, range: RangeInclusive<i64>) -> Option<i64> {
        let value = match &self.node.value {
            Value::Integer(value) => *value,
            _ if self.is_filled() => self.filled("an integer")?,
            _ => return self.wrong_type("an integer"),
        };
        if range.contains(&value) {
            return Some(value);
        }
        self.error(ErrorKind::OutOfRange {
            min: *range.start(),
            max: *range.end(),
        });
        None
    }

    /// A share of a whole: a number from 0 to 1, or a reference to one.
    pub(crate) fn share(&self) -> Option<f64> {
        let value = match &self.node.value {
            Value::Float(value) => *value,
            Value::Integer(value @ 0..=1) => f64::from(u8::from(*value == 1)),
            Value::Integer(_) => f64::NAN,
            _ if self.is_filled() => self.filled("a number")?,
            _ => return self.wrong_type("a number"),
        };
        let found = (0.0..=1.0).contains(&value).then_some(value);
        if found.is_none() {
            self.error("must be from 0 to 1");
        }
        found
    }

    /// The items of an array. A string has the array's own path: an error shows what it says.
    pub(crate) fn items(&self) -> Vec<Entry<'a>> {
        let Value::Array(items) = &self.node.value else {
            return self.wrong_type("an array").unwrap_or_default();
        };
        let path = |index, node: &Node| match &node.value {
            Value::String(_) => self.path.clone(),
            _ => self.path.index(index),
        };
        let items = items.iter().enumerate();
        items
            .map(|(index, node)| Entry::new(path(index, node), node, self.loading))
            .collect()
    }

    /// The strings of an array, each with its entry.
    pub(crate) fn texts(&self) -> Vec<(Text, Entry<'a>)> {
        self.items()
            .into_iter()
            .filter_map(|item| Some((item.text()?, item)))
            .collect()
    }

    /// One string or an array of strings, none of them empty and at least one.
    pub(crate) fn one_or_more(&self) -> Vec<(Text, Entry<'a>)> {
        let texts = match &self.node.value {
            Value::Array(_) if !self.is_not_empty() => Vec::new(),
            Value::Array(_) => self.texts(),
            _ => self
                .text()
                .into_iter()
                .map(|text| (text, self.clone()))
                .collect(),
        };
        for (_, entry) in texts.iter().filter(|(text, _)| text.is_empty()) {
            entry.error("an empty string means nothing here");
        }
        texts
    }

    /// The same without their entries.
    pub(crate) fn strings(&self) -> Vec<String> {
        let texts = self.one_or_more().into_iter();
        texts.map(|(text, _)| text.to_string()).collect()
    }

    /// A path, relative to the file that names it.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        if self.node.span.cloud {
            self.error_help(
                "names a file, which only the local files may do",
                "put this table into the local files",
            );
            return None;
        }
        let text = self.text()?;
        if text.is_empty() {
            self.error("is empty");
            return None;
        }
        let base = self
            .node
            .span
            .file
            .parent()
            .map(PathBuf::from)
            .unwrap_or_default();
        Some(base.join(&*text))
    }

    /// A file that is there and can be read; the watcher hears of it.
    pub(crate) fn readable_file(&self) -> Option<PathBuf> {
        let path = self.path()?;
        self.loading.file(path.clone());
        let opened = std::fs::File::open(&path).and_then(|file| file.metadata());
        let why = match opened {
            Ok(metadata) if metadata.is_file() => return Some(path),
            Ok(_) => "it is not a file".to_owned(),
            Err(error) => error.to_string(),
        };
        let filled = self.text().is_some_and(|text| text.filled);
        let what = if filled {
            "the file".to_owned()
        } else {
            path.display().to_string()
        };
        self.error(ErrorKind::Unreadable { what, why });
        None
    }

    /// A date as text: one that TOML knows, or a string. `None`, without a word: it is neither.
    pub(crate) fn date(&self) -> Option<String> {
        match &self.node.value {
            Value::Datetime(text) => Some(text.clone()),
            Value::String(_) => self.text().map(|text| text.to_string()),
            _ => None,
        }
    }

    /// The value as JSON, for what is compared with a claim: a string, a number or a boolean.
    fn json_scalar(&self) -> Option<serde_json::Value> {
        match &self.node.value {
            Value::String(_) => Some(serde_json::Value::from(&*self.text()?)),
            Value::Integer(value) => Some(serde_json::Value::from(*value)),
            Value::Float(value) if value.is_finite() => Some(serde_json::Value::from(*value)),
            Value::Boolean(value) => Some(serde_json::Value::from(*value)),
            _ => self.wrong_type("a string, a number or a boolean"),
        }
    }

    /// One of these, or an array of at least one.
    pub(crate) fn json_scalars(&self) -> Vec<serde_json::Value> {
        if !self.is_array() {
            return self.json_scalar().into_iter().collect();
        }
        self.is_not_empty();
        self.items().iter().filter_map(Entry::json_scalar).collect()
    }

    /// Reports an error here.
    pub(crate) fn error(&self, kind: impl Into<ErrorKind>) {
        self.loading.error(&self.node.span, &self.path, kind);
    }

    /// Takes note of a table that means nothing, for which there has to be an error.
    pub(crate) fn note_if_left_out<T>(&self, meaning: &Option<T>) {
        if meaning.is_none() {
            self.loading.left_out(&self.node.span, &self.path);
        }
    }

    /// Reports an error here, with what to do about it.
    pub(crate) fn error_help(&self, kind: impl Into<ErrorKind>, help: impl Into<String>) {
        self.loading
            .error_help(&self.node.span, &self.path, kind, help);
    }

    /// Reports that a name here is borne by nothing.
    pub(crate) fn unknown(&self, what: &'static str, name: &Text, known: &[&str]) {
        self.loading
            .unknown_name(&self.node.span, &self.path, what, name, known);
    }

    /// Reports that this names something that another program does, and what to use instead.
    pub(crate) fn foreign(&self, what: &str, name: &str, instead: &str) {
        self.error_help(ErrorKind::Foreign(format!("{what} {name:?}")), instead);
    }

    /// Warns about this.
    pub(crate) fn warning(&self, sentence: &str) {
        self.loading.warning(&self.node.span, &self.path, sentence);
    }

    /// Tells about this.
    pub(crate) fn info(&self, sentence: &str) {
        self.loading.info(&self.node.span, &self.path, sentence);
    }

    /// Takes note that this has no effect.
    pub(crate) fn ignored(self) {
        self.loading.ignored(self.path);
    }

    /// What may be connected to for the sake of this value; `None`, if it stands in a local file:
    /// anything.
    pub(crate) fn reach(&self) -> Option<Arc<Reach>> {
        self.node.span.cloud.then(|| self.loading.reach())
    }

    /// Who wrote it.
    pub(crate) fn owner(&self) -> Owner {
        self.node.span.owner()
    }

    /// Where it stands.
    pub(crate) fn span(&self) -> &Span {
        &self.node.span
    }

    /// Reports another type than this has.
    pub(crate) fn wrong_type<T>(&self, expected: &'static str) -> Option<T> {
        let found = self.node.value.kind();
        let kind = ErrorKind::WrongType { expected, found };
        match hint::for_type(expected, &self.path, &self.node.value) {
            Some(hint) => self.error_help(kind, hint),
            None => self.error(kind),
        }
        None
    }

    fn filled<T: std::str::FromStr>(&self, expected: &'static str) -> Option<T> {
        let text = self.text()?;
        let value = text.trim().parse().ok();
        if value.is_none() {
            self.error(ErrorKind::WrongType {
                expected,
                found: "something else where the reference was filled in",
            });
        }
        value
    }
}
