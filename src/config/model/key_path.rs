//! Where in a configuration a value stands, by the names of its tables and keys.

use std::fmt;

/// The path of a key, from the top of the file. Empty for a file as a whole.
///
/// Shown as TOML writes it (`pipelines.api.networks`, `keys[0].hash`); a key that is not bare is
/// quoted.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPath(Vec<Segment>);

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// Into a table.
    Key(String),
    /// Into an array, from 0.
    Index(usize),
}

impl KeyPath {
    /// The path of a key of the table that stands here.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.with(Segment::Key(key.to_owned()))
    }

    /// The path of an item of the array that stands here.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Segment::Index(index))
    }

    fn with(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }

    /// Its steps, from the top.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// Whether it is that of a file as a whole.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key at a depth; `None` for an item of an array, and behind the end.
    pub(crate) fn key_at(&self, depth: usize) -> Option<&str> {
        self.0.get(depth)?.as_key()
    }

    /// The last key; `None` if it ends in an item of an array.
    pub(crate) fn last_key(&self) -> Option<&str> {
        self.0.last()?.as_key()
    }

    /// Whether it leads to something inside of `table`.
    pub(crate) fn is_below(&self, table: &Self) -> bool {
        self.0.len() > table.0.len() && self.0.starts_with(&table.0)
    }
}

impl Segment {
    fn as_key(&self) -> Option<&str> {
        match self {
            Self::Key(key) => Some(key),
            Self::Index(_) => None,
        }
    }
}

/// Whether a key needs no quotes.
pub(crate) fn is_bare(key: &str) -> bool {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !key.is_empty() && key.chars().all(bare)
}

impl<const N: usize> From<[&str; N]> for KeyPath {
    fn from(keys: [&str; N]) -> Self {
        keys.into_iter().map(str::to_owned).collect()
    }
}

impl FromIterator<String> for KeyPath {
    fn from_iter<I: IntoIterator<Item = String>>(keys: I) -> Self {
        Self(keys.into_iter().map(Segment::Key).collect())
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) => {
                    if depth > 0 {
                        f.write_str(".")?;
                    }
                    if is_bare(key) {
                        f.write_str(key)?;
                    } else {
                        write!(f, "{key:?}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_as_toml_writes_it() {
        let api = KeyPath::from(["pipelines", "api"]);
        for (path, shown) in [
            (KeyPath::default(), ""),
            (api.key("networks"), "pipelines.api.networks"),
            (
                KeyPath::from(["pipelines", "a.b\"c"]),
                "pipelines.\"a.b\\\"c\"",
            ),
            (KeyPath::from([""]), "\"\""),
            (KeyPath::from(["keys"]).index(0).key("hash"), "keys[0].hash"),
        ] {
            assert_eq!(path.to_string(), shown);
        }
        assert_eq!((api.key_at(1), api.index(2).key_at(2)), (Some("api"), None));
        assert!(api.key("x").is_below(&api) && !api.is_below(&api));
    }
}
