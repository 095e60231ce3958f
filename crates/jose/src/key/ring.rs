//! The keys of one key set, by key id.

use std::sync::Arc;

use super::PublicKey;
use crate::{Algorithm, TokenError};

/// A key and its id.
pub(crate) type NamedKey = (Option<String>, Arc<PublicKey>);

/// The usable keys of a key set, of any family. No two of the same `kid` serve one algorithm.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct KeyRing(Box<[NamedKey]>);

impl KeyRing {
    /// Takes the keys, of which no two of the same `kid` serve one algorithm.
    pub(crate) fn new(mut keys: Vec<NamedKey>) -> Self {
        keys.sort_by(|(a, x), (b, y)| (a, x.material()).cmp(&(b, y.material())));
        Self(keys.into())
    }

    /// The one key for a token under an algorithm: the one of that `kid` that serves the
    /// algorithm; without a `kid`, the only one of the set that does, under whatever ids.
    pub(crate) fn select(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<&Arc<PublicKey>, TokenError> {
        let Some(kid) = kid else {
            let mut fitting = self.iter().filter(|(_, key)| key.serves(algorithm));
            let (_, first) = fitting.next().ok_or(TokenError::NoKid)?;
            let is_only = fitting.all(|(_, other)| other.material() == first.material());
            return if is_only {
                Ok(first)
            } else {
                Err(TokenError::NoKid)
            };
        };
        let id = |known: &NamedKey| known.0.as_deref().cmp(&Some(kid));
        let from = self.0.partition_point(|known| id(known).is_lt());
        let mut named = self.0[from..]
            .iter()
            .take_while(|known| id(known).is_eq())
            .peekable();
        if named.peek().is_none() {
            return Err(TokenError::UnknownKid);
        }
        named
            .map(|(_, key)| key)
            .find(|key| key.serves(algorithm))
            .ok_or(TokenError::KeyDoesNotFit)
    }

    /// Whether any of the keys serves an algorithm.
    pub fn serves(&self, algorithm: Algorithm) -> bool {
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
