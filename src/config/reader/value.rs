//! Values as written, each with its place. References in strings are not filled in yet.

use zeroize::Zeroizing;

use super::Span;

/// A value and where it stands: for one with a key, where the key stands.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) value: Value,
}

/// A value as written: references in strings are not filled in yet.
#[derive(Clone)]
pub(crate) enum Value {
    String(Zeroizing<String>),
    /// What does not fit is held as the nearest number that does.
    Integer(i64),
    Float(f64),
    Boolean(bool),
    /// As RFC 3339 writes it.
    Datetime(String),
    Array(Vec<Node>),
    Table(Table),
}

/// Keys and values, in the order of the file.
#[derive(Clone, Default)]
pub(crate) struct Table {
    pub(crate) entries: Vec<(String, Node)>,
}

impl Value {
    /// The type's name, with its article.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Boolean(_) => "a boolean",
            Self::Datetime(_) => "a date",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
        }
    }

    /// Whether two values are written the same, in whatever order their keys stand.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::String(one), Self::String(other)) => one == other,
            (Self::Integer(one), Self::Integer(other)) => one == other,
            (Self::Float(one), Self::Float(other)) => one.to_bits() == other.to_bits(),
            (Self::Boolean(one), Self::Boolean(other)) => one == other,
            (Self::Datetime(one), Self::Datetime(other)) => one == other,
            (Self::Array(one), Self::Array(other)) => {
                let mut pairs = one.iter().zip(other);
                one.len() == other.len()
                    && pairs.all(|(one, other)| one.value.is_same(&other.value))
            }
            (Self::Table(one), Self::Table(other)) => one.is_same_but(other, &[]),
            _ => false,
        }
    }

    /// Hands out every string in it.
    pub(crate) fn each_string<'v>(&'v self, take: &mut impl FnMut(&'v str)) {
        match self {
            Self::String(text) => take(text),
            Self::Array(items) => items.iter().for_each(|item| item.value.each_string(take)),
            Self::Table(table) => {
                let nodes = table.entries.iter().map(|(_, node)| node);
                nodes.for_each(|node| node.value.each_string(take));
            }
            _ => {}
        }
    }
}

impl Table {
    /// Whether two tables are written the same but for some of their own keys.
    pub(crate) fn is_same_but(&self, other: &Self, ignored: &[&str]) -> bool {
        let counts = |(key, _): &&(String, Node)| !ignored.contains(&key.as_str());
        let found = |(key, node): &(String, Node)| {
            let other = other.get(key);
            other.is_some_and(|other| node.value.is_same(&other.value))
        };
        let mut ones = self.entries.iter().filter(counts);
        ones.clone().count() == other.entries.iter().filter(counts).count() && ones.all(found)
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entries
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, node)| node)
    }

    /// The same, to be changed.
    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.entries
            .iter_mut()
            .find(|(name, _)| name == key)
            .map(|(_, node)| node)
    }
}
