//! The tables of a group by name, such as `[backends.*]`, so that others can refer to them.

use std::collections::BTreeMap;

use super::entry::Entry;
use super::fill::Text;

/// What stands under each name; `None` for a table that is wrong, which was reported where it
/// stands.
pub(super) struct Named<T> {
    what: &'static str,
    items: BTreeMap<String, Option<T>>,
}

impl<T> Named<T> {
    /// An empty group of `what`.
    pub(super) fn new(what: &'static str) -> Self {
        Self {
            what,
            items: BTreeMap::new(),
        }
    }

    /// Adds a name.
    pub(super) fn insert(&mut self, name: &str, item: Option<T>) {
        self.items.insert(name.to_owned(), item);
    }

    /// Whether a name is taken.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.items.contains_key(name)
    }

    /// Every name.
    pub(super) fn names(&self) -> Vec<&str> {
        self.items.keys().map(String::as_str).collect()
    }

    /// What `name` means where it is written; an unknown one is reported there.
    pub(super) fn resolve(&self, name: &Text, written: &Entry<'_>) -> Option<&T> {
        match self.items.get(&**name) {
            Some(item) => item.as_ref(),
            None => {
                written.unknown(self.what, name, &self.names());
                None
            }
        }
    }
}
