//! Reading a table key by key: what is asked for is known, what nobody asked for is an unknown key.
//!
//! A [`Reader`] may stand on several tables at once, since settings may be written directly in a
//! table or in its `options` or `config`. Every getter reports what is wrong and answers `None`, so
//! that reading goes on; the caller falls back to a default that is never used.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::near::known_keys;
use super::{Document, Entry, Loading, Span, Table, Text, Value};
use crate::config::model::{ErrorKind, KeyPath, Owner};

/// A table, or several that count as one, and which of their keys were asked for.
pub(crate) struct Reader<'a> {
    loading: &'a Loading<'a>,
    layers: Vec<Layer<'a>>,
    /// Keys that have a meaning here.
    known: RefCell<Vec<&'static str>>,
    /// Keys that may be there and that no error proposes.
    passed_over: RefCell<Vec<&'static str>>,
}

struct Layer<'a> {
    path: KeyPath,
    span: Span,
    table: &'a Table,
}

impl<'a> Reader<'a> {
    /// The top of a document.
    pub(crate) fn root(document: &'a Document, loading: &'a Loading<'a>) -> Self {
        Self::over(
            KeyPath::default(),
            loading.main_file(),
            &document.root,
            loading,
        )
    }

    /// A table at a path.
    pub(crate) fn over(
        path: KeyPath,
        span: Span,
        table: &'a Table,
        loading: &'a Loading<'a>,
    ) -> Self {
        Self {
            loading,
            layers: vec![Layer { path, span, table }],
            known: RefCell::default(),
            passed_over: RefCell::default(),
        }
    }

    /// Takes a sub-table in: its keys count as standing here.
    pub(crate) fn flatten(&mut self, key: &'static str) {
        let Some(entry) = self.get(key) else { return };
        if let Some(inner) = entry.table() {
            self.layers.extend(inner.layers);
        }
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &'static str) -> Option<Entry<'a>> {
        self.known.borrow_mut().push(key);
        self.find(key)
    }

    fn find(&self, key: &'static str) -> Option<Entry<'a>> {
        let mut found = self.layers.iter().filter_map(|layer| {
            let node = layer.table.get(key)?;
            Some(Entry::new(layer.path.key(key), node, self.loading))
        });
        let first = found.next()?;
        for again in found {
            again.error(ErrorKind::DefinedTwice {
                what: format!("`{key}`"),
                other: first.span().to_string(),
            });
        }
        Some(first)
    }

    /// The value of a key that has several names; two of them at once are an error.
    pub(crate) fn any(&self, keys: &[&'static str]) -> Option<Entry<'a>> {
        let mut found = keys.iter().filter_map(|key| self.get(key));
        let first = found.next()?;
        for again in found {
            again.error_help(
                ErrorKind::DefinedTwice {
                    what: format!("`{}`", keys[0]),
                    other: first.span().to_string(),
                },
                "they are two names of one setting: keep one",
            );
        }
        Some(first)
    }

    /// Whether a key is there, right or wrong.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.layers
            .iter()
            .any(|layer| layer.table.get(key).is_some())
    }

    /// The tables of a group, such as `[network.*]`, in the order of the files.
    pub(crate) fn group(&self, key: &'static str) -> Vec<(&'a str, Entry<'a>)> {
        let group = self.get(key).and_then(|entry| entry.table());
        group.map(|table| table.entries()).unwrap_or_default()
    }

    /// Every key and value, as one whose keys the user chooses.
    pub(crate) fn entries(&self) -> Vec<(&'a str, Entry<'a>)> {
        let entries = self.layers.iter().flat_map(|layer| {
            let entry = |node, name| Entry::new(layer.path.key(name), node, self.loading);
            let named = layer.table.entries.iter();
            named.map(move |(name, node)| (name.as_str(), entry(node, name)))
        });
        entries.collect()
    }

    pub(crate) fn text(&self, key: &'static str) -> Option<Text> {
        self.get(key)?.text()
    }

    /// A string that has to be there.
    pub(crate) fn required_text(&self, key: &'static str, help: &str) -> Option<Text> {
        if !self.has(key) {
            self.missing(key, help);
        }
        self.text(key)
    }

    /// The same, where an empty string means nothing.
    pub(crate) fn required_name(&self, key: &'static str, help: &str) -> Option<Text> {
        let text = self.required_text(key, help)?;
        if text.is_empty()
            && let Some(entry) = self.get(key)
        {
            entry.error_help("is empty", help);
            return None;
        }
        Some(text)
    }

    /// The meaning of a table that may be absent; one that means nothing has to have an error.
    pub(crate) fn optional_table<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(Self) -> Option<T>,
    ) -> Option<T> {
        let entry = self.get(key)?;
        let meaning = entry.table().and_then(read);
        entry.note_if_left_out(&meaning);
        meaning
    }

    /// A string as it is kept, or empty.
    pub(crate) fn description(&self) -> String {
        self.text("description")
            .map(|text| text.to_string())
            .unwrap_or_default()
    }

    /// A boolean, or its default.
    pub(crate) fn flag(&self, key: &'static str, default: bool) -> bool {
        self.get(key)
            .and_then(|entry| entry.boolean())
            .unwrap_or(default)
    }

    /// An integer in a range, or its default.
    pub(crate) fn number(
        &self,
        key: &'static str,
        range: RangeInclusive<i64>,
        default: u64,
    ) -> u64 {
        self.get(key)
            .and_then(|entry| entry.integer(range))
            .map_or(default, i64::unsigned_abs)
    }

    /// How many connections there may be at a time.
    pub(crate) fn connections(&self, key: &'static str) -> Option<usize> {
        let limit = self.get(key)?.integer(1..=1_000_000)?;
        usize::try_from(limit).ok()
    }

    /// A number of seconds in a range, or its default.
    pub(crate) fn seconds(
        &self,
        key: &'static str,
        range: RangeInclusive<i64>,
        default: u64,
    ) -> Duration {
        Duration::from_secs(self.number(key, range, default))
    }

    /// Keys that are read and have no effect.
    pub(crate) fn ignore(&self, keys: &[&'static str]) {
        self.know(keys);
        for entry in keys.iter().filter_map(|key| self.find(key)) {
            entry.ignored();
        }
    }

    /// Keys that may be there and are of no interest to anyone.
    pub(crate) fn know(&self, keys: &[&'static str]) {
        self.passed_over.borrow_mut().extend(keys);
    }

    /// The value of a key that some other program reads.
    pub(crate) fn get_of_others(&self, key: &'static str) -> Option<Entry<'a>> {
        self.know(&[key]);
        self.find(key)
    }

    /// Reports an error about the table itself.
    pub(crate) fn error(&self, kind: impl Into<ErrorKind>, help: &str) {
        let layer = self.first();
        self.loading
            .error_help(&layer.span, &layer.path, kind, help);
    }

    /// Reports that a key is missing.
    pub(crate) fn missing(&self, key: &str, help: &str) {
        let layer = self.first();
        self.loading
            .error_help(&layer.span, &layer.path.key(key), ErrorKind::Missing, help);
    }

    /// Warns about the table itself.
    pub(crate) fn warning(&self, sentence: &str) {
        let layer = self.first();
        self.loading.warning(&layer.span, &layer.path, sentence);
    }

    /// Who wrote the table.
    pub(crate) fn owner(&self) -> Owner {
        self.span().owner()
    }

    /// Where the table stands.
    pub(crate) fn span(&self) -> &Span {
        &self.first().span
    }

    /// The run that this belongs to.
    pub(crate) fn loading(&self) -> &'a Loading<'a> {
        self.loading
    }

    /// Reports every key that nobody asked for.
    pub(crate) fn finish(self) {
        self.finish_with(None);
    }

    /// The same, with what to do about such a key instead of the nearest known one.
    pub(crate) fn finish_with(self, help: Option<&str>) {
        let mut known = self.known.take();
        known.sort_unstable();
        known.dedup();
        let passed_over = self.passed_over.take();
        for layer in &self.layers {
            for (key, node) in layer
                .table
                .entries
                .iter()
                .filter(|(key, _)| !known.contains(&key.as_str()))
                .filter(|(key, _)| !passed_over.contains(&key.as_str()))
            {
                let kind = ErrorKind::UnknownKey(key.clone());
                let path = layer.path.key(key);
                match help.map(str::to_owned).or_else(|| known_keys(key, &known)) {
                    Some(help) => self.loading.error_help(&node.span, &path, kind, help),
                    None => self.loading.error(&node.span, &path, kind),
                }
            }
        }
    }

    fn first(&self) -> &Layer<'a> {
        &self.layers[0] // `over` makes it, and nothing removes it
    }
}

impl<'a> Entry<'a> {
    /// A table.
    pub(crate) fn table(&self) -> Option<Reader<'a>> {
        match &self.node.value {
            Value::Table(table) => Some(Reader::over(
                self.path.clone(),
                self.node.span.clone(),
                table,
                self.loading,
            )),
            _ => self.wrong_type("a table"),
        }
    }
}
