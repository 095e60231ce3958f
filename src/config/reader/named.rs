//! The tables of a group by name, such as `[backends.*]`, so that others can refer to them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::{Entry, Reader, Text};

/// What stands under each name; `None` for a table that is wrong, which was reported where it
/// stands.
pub(crate) struct Named<T> {
    what: &'static str,
    items: BTreeMap<String, Option<T>>,
    used: RefCell<BTreeSet<String>>,
}

impl<T> Named<T> {
    /// An empty group of `what`.
    pub(crate) fn new(what: &'static str) -> Self {
        Self {
            what,
            items: BTreeMap::new(),
            used: RefCell::default(),
        }
    }

    /// Adds what a table means; `None`: it is wrong.
    pub(crate) fn insert(&mut self, name: &str, entry: &Entry<'_>, item: Option<T>) {
        entry.note_if_left_out(&item);
        self.items.insert(name.to_owned(), item);
    }

    /// Adds what is known without a table.
    pub(crate) fn define(&mut self, name: &str, item: T) {
        self.items.insert(name.to_owned(), Some(item));
    }

    /// Whether a name is taken.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.items.contains_key(name)
    }

    /// Every name.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.items.keys().map(String::as_str).collect()
    }

    /// Every name and what stands there, as far as it is right.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        let items = self.items.iter();
        items.filter_map(|(name, item)| Some((name.as_str(), item.as_ref()?)))
    }

    /// The names that [`Named::resolve`] was never asked for.
    pub(crate) fn unused(&self) -> Vec<&str> {
        let used = self.used.borrow();
        let names = self.items.keys().map(String::as_str);
        names.filter(|name| !used.contains(*name)).collect()
    }

    /// Warns of the tables of a group that nothing uses: a check that is defined and used nowhere
    /// is a check that somebody believes in.
    pub(crate) fn warn_unused(&self, root: &Reader<'_>, group: &'static str, what: &str) {
        let unused = self.unused();
        let tables = root.group(group).into_iter();
        for (_, entry) in tables.filter(|(name, _)| unused.contains(name)) {
            entry.warning(what);
        }
    }

    /// What `name` means where it is used; an unknown one is reported there.
    pub(crate) fn resolve(&self, name: &Text, written: &Entry<'_>) -> Option<&T> {
        self.used.borrow_mut().insert(name.to_string());
        self.look_up(name, written)
    }

    /// The same for a place that has no effect.
    pub(crate) fn look_up(&self, name: &Text, written: &Entry<'_>) -> Option<&T> {
        match self.items.get(&**name) {
            Some(item) => item.as_ref(),
            None => {
                written.unknown(self.what, name, &self.names());
                None
            }
        }
    }
}
