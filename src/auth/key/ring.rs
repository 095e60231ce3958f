//! The keys of one key set, by key id.

use std::sync::Arc;

use super::PublicKey;
use crate::auth::outcome::Reason;
use crate::config::JwtAlgorithm;

/// A key and its id.
pub(crate) type NamedKey = (Option<String>, Arc<PublicKey>);

/// The usable keys of a key set, of any family. No two have the same `kid`.
#[derive(Debug, PartialEq)]
pub(crate) struct KeyRing(Box<[NamedKey]>);

impl KeyRing {
    /// Takes the keys, of which no two have the same `kid`.
    pub(crate) fn new(mut keys: Vec<NamedKey>) -> Self {
        keys.sort_by(|(a, x), (b, y)| (a, x.material()).cmp(&(b, y.material())));
        Self(keys.into())
    }

    /// The one key for a token under an algorithm: the one of that `kid`, if it serves the
    /// algorithm; without a `kid`, the only one of the set that does.
    pub(crate) fn select(
        &self,
        kid: Option<&str>,
        algorithm: JwtAlgorithm,
    ) -> Result<&Arc<PublicKey>, Reason> {
        let Some(kid) = kid else {
            let mut fitting = self.iter().filter(|(_, key)| key.serves(algorithm));
            return match (fitting.next(), fitting.next()) {
                (Some((_, only)), None) => Ok(only),
                _ => Err(Reason::NoKid),
            };
        };
        let index = self
            .0
            .binary_search_by(|(known, _)| known.as_deref().cmp(&Some(kid)))
            .map_err(|_| Reason::UnknownKid)?;
        let (_, key) = &self.0[index];
        if key.serves(algorithm) {
            Ok(key)
        } else {
            Err(Reason::KeyDoesNotFit)
        }
    }

    /// Whether any of the keys serves an algorithm.
    pub(crate) fn serves(&self, algorithm: JwtAlgorithm) -> bool {
        self.iter().any(|(_, key)| key.serves(algorithm))
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
