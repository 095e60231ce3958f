//! The keys of one key set, by key id.

use std::sync::Arc;

use super::RsaKey;
use crate::auth::outcome::Reason;

/// A key and its id.
pub(crate) type NamedKey = (Option<String>, Arc<RsaKey>);

/// The usable keys of a key set. No two have the same `kid`.
#[derive(Debug, PartialEq)]
pub(crate) struct KeyRing(Box<[NamedKey]>);

impl KeyRing {
    /// Takes the keys, of which no two have the same `kid`.
    pub(crate) fn new(mut keys: Vec<NamedKey>) -> Self {
        keys.sort_by(|(a, x), (b, y)| (a, x.modulus()).cmp(&(b, y.modulus())));
        Self(keys.into())
    }

    /// The one key for a token: the one of that `kid`; without a `kid`, the only key of the set.
    pub(crate) fn select(&self, kid: Option<&str>) -> Result<&Arc<RsaKey>, Reason> {
        match (kid, &*self.0) {
            (Some(kid), keys) => keys
                .binary_search_by(|(known, _)| known.as_deref().cmp(&Some(kid)))
                .map(|index| &keys[index].1)
                .map_err(|_| Reason::UnknownKid),
            (None, [(_, only)]) => Ok(only),
            (None, _) => Err(Reason::NoKid),
        }
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The keys with their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &NamedKey> {
        self.0.iter()
    }

    /// The ids, for a log.
    pub(crate) fn kids(&self) -> Vec<&str> {
        self.0
            .iter()
            .map(|(kid, _)| kid.as_deref().unwrap_or("(no kid)"))
            .collect()
    }
}
