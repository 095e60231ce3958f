//! What of the cloud's texts was set aside, and what goes with it.
//!
//! A table that is set aside takes along what refers to its name: the name may mean something else
//! in the local files or in another text, and a pipeline must not get another check than it was
//! sent with.

use std::collections::{BTreeMap, HashMap};

use super::text::{Kept, Parsed};
use crate::config::model::{Error, Errors, KeyPath, SetAside};

/// A text, a group and a name in it. An empty group is the whole text, an empty name the whole
/// group.
type Key = (String, String, String);

#[derive(Default)]
pub(super) struct Quarantine {
    entries: BTreeMap<Key, (Vec<Error>, bool)>,
}

impl Quarantine {
    /// Whether a table, its group or its text was set aside.
    pub(super) fn has(&self, change: &str, group: &str, name: &str) -> bool {
        [("", ""), (group, ""), (group, name)]
            .iter()
            .any(|(group, name)| self.entries.contains_key(&key(change, group, name)))
    }

    /// Sets aside what errors were found in, and what refers to it; whether that is anything new.
    pub(super) fn add(&mut self, errors: Errors, parsed: &[Parsed<'_>], kept: &[Kept<'_>]) -> bool {
        let before = self.entries.len();
        for error in errors {
            let text = parsed
                .iter()
                .find(|text| error.file() == Some(text.label.as_path()));
            // an error in the local files that only the cloud can have caused
            let Some(text) = text else { return false };
            let [group, name] = [0, 1].map(|depth| error.key().key_at(depth).unwrap_or_default());
            let key = key(text.change, group, name);
            self.entries.entry(key).or_default().0.push(error);
        }
        self.follow(kept);
        self.entries.len() > before
    }

    /// Sets a whole text aside.
    pub(super) fn add_text(&mut self, change: &str, errors: Errors) {
        let entry = self.entries.entry(key(change, "", "")).or_default();
        entry.0.extend(errors);
    }

    /// Sets every text aside.
    pub(super) fn add_rest(&mut self, parsed: &[Parsed<'_>]) {
        for text in parsed {
            let error = Error::new(
                [],
                "does not go together with the local files or with other changes",
            );
            let error = error.at(&text.label, None);
            self.add_text(text.change, error.into());
        }
    }

    pub(super) fn into_set_aside(self) -> Vec<SetAside> {
        let entries = self.entries.into_iter();
        entries
            .map(|((change, group, name), (errors, follows))| SetAside {
                change,
                entry: [group, name]
                    .into_iter()
                    .filter(|key| !key.is_empty())
                    .collect(),
                errors,
                follows,
            })
            .collect()
    }

    /// Sets aside what refers to something that is, until nothing more does. Each string is looked
    /// at once, however long the chains are.
    fn follow(&mut self, kept: &[Kept<'_>]) {
        let mut mentioned_by: HashMap<&str, Vec<usize>> = HashMap::new();
        // How many texts have a table of a name that still stands.
        let mut standing: HashMap<(&str, &str), usize> = HashMap::new();
        for (index, entry) in kept.iter().enumerate() {
            entry.node.value.each_string(&mut |text| {
                let mentioning = mentioned_by.entry(text).or_default();
                if mentioning.last() != Some(&index) {
                    mentioning.push(index);
                }
            });
            if !self.has(entry.text.change, entry.group, entry.name) {
                *standing.entry((entry.group, entry.name)).or_default() += 1;
            }
        }
        let quarantined = |entry: &&Kept<'_>| self.has(entry.text.change, entry.group, entry.name);
        let mut gone: Vec<Key> = kept
            .iter()
            .filter(quarantined)
            .map(|entry| key(entry.text.change, entry.group, entry.name))
            .chain(self.entries.keys().cloned())
            .collect();
        while let Some((change, group, name)) = gone.pop() {
            if group == "pipelines" || name.is_empty() {
                continue;
            }
            // Another text may have a table of that name, which what is not of the same text means
            // as well.
            let stands = standing
                .get(&(group.as_str(), name.as_str()))
                .is_some_and(|count| *count > 0);
            let long = format!("{group}.{name}");
            let mentioning = [name.as_str(), &long].map(|text| mentioned_by.get(text));
            for entry in mentioning
                .into_iter()
                .flatten()
                .flatten()
                .map(|index| &kept[*index])
            {
                let means = entry.text.change == change || !stands;
                if !means || self.has(entry.text.change, entry.group, entry.name) {
                    continue;
                }
                let path = KeyPath::from([entry.group, entry.name]);
                let kind = format!(
                    "refers to {}, which is set aside",
                    KeyPath::from([group.as_str(), &name])
                );
                let error = Error::new(path, kind);
                let error = error.at(&entry.text.label, entry.node.span.line);
                let key = key(entry.text.change, entry.group, entry.name);
                self.entries.insert(key.clone(), (vec![error], true));
                if let Some(count) = standing.get_mut(&(entry.group, entry.name)) {
                    *count = count.saturating_sub(1);
                }
                gone.push(key);
            }
        }
    }
}

fn key(change: &str, group: &str, name: &str) -> Key {
    (change.to_owned(), group.to_owned(), name.to_owned())
}
