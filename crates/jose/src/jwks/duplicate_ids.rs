//! Keys of one set that have the same `kid`: RFC 7517 section 4.5 lets keys that differ in `kty`
//! share one, and issuers share it among more than that.
//!
//! Entries of the same key become one. A `kid` then stands for one key per algorithm; where it
//! would stand for two, it stands for neither, since which of them is meant is not ours to guess.

use std::fmt;
use std::sync::Arc;

use crate::key::NamedKey;
use crate::{Algorithm, KeyError, KeyRing, PublicKey};

/// How a log names a key: by its place in the set, and its `kid`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyLabel {
    pub(super) place: usize,
    pub(super) kid: Option<String>,
}

impl fmt::Display for KeyLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kid {
            Some(kid) => write!(f, "{kid:?}"),
            None => write!(f, "number {}", self.place + 1),
        }
    }
}

type Labelled = (KeyLabel, PublicKey);

/// Makes the keys of a ring of those that can be used. A key that serves already keeps the
/// algorithm that another one of the same `kid` would share with it.
pub(super) fn resolve(
    usable: Vec<Labelled>,
    serving: Option<&KeyRing>,
    refused: &mut Vec<(KeyLabel, KeyError)>,
) -> Vec<NamedKey> {
    let keys = merged(usable);
    let ambiguous: Vec<Vec<Algorithm>> = keys
        .iter()
        .map(|key| ambiguous(key, &keys, serving))
        .collect();
    let mut resolved = Vec::with_capacity(keys.len());
    for ((label, mut key), ambiguous) in keys.into_iter().zip(ambiguous) {
        if let Some(first) = ambiguous.first() {
            if !key.retain(|algorithm| !ambiguous.contains(&algorithm)) {
                refused.push((label, KeyError::DuplicateKid));
                continue;
            }
            refused.push((label.clone(), KeyError::DuplicateKidUnder(*first)));
        }
        resolved.push((label.kid, Arc::new(key)));
    }
    resolved
}

/// Each key once under each of its ids, serving what any of its entries says.
fn merged(usable: Vec<Labelled>) -> Vec<Labelled> {
    let mut keys: Vec<Labelled> = Vec::with_capacity(usable.len());
    for (label, key) in usable {
        let same = |(known, other): &&mut Labelled| {
            known.kid == label.kid && other.material() == key.material()
        };
        match keys.iter_mut().find(same) {
            Some((_, known)) => known.merge(key),
            None => keys.push((label, key)),
        }
    }
    keys
}

/// The algorithms that a key may not serve, because another one of the same `kid` could too.
fn ambiguous(
    (label, key): &Labelled,
    keys: &[Labelled],
    serving: Option<&KeyRing>,
) -> Vec<Algorithm> {
    let Some(kid) = label.kid.as_deref() else {
        return Vec::new();
    };
    let namesakes = || {
        keys.iter()
            .filter(|(other, _)| other.place != label.place && other.kid == label.kid)
    };
    let serves_already = |algorithm| {
        serving
            .and_then(|ring| ring.select(Some(kid), algorithm).ok())
            .is_some_and(|known| known.material() == key.material())
    };
    key.algorithms()
        .filter(|algorithm| namesakes().any(|(_, other)| other.serves(*algorithm)))
        .filter(|algorithm| !serves_already(*algorithm))
        .collect()
}

#[cfg(test)]
mod tests;
