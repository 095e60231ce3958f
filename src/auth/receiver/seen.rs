//! Logout tokens that were accepted: each counts once.
//!
//! None is forgotten before it expires; when there is no room, a new one has to wait.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jose::clock::UnixTime;

use super::error::{Invalid, ReceiveError};
use crate::common::sha256;

/// How many are remembered.
const MAX_TOKENS: usize = 10_000;

/// The hash of an issuer and a `jti`.
type Key = [u8; 32];

/// Tokens that were accepted, and until when each of them has to be remembered.
#[derive(Debug, Default)]
pub(super) struct SeenTokens(Mutex<HashMap<Key, UnixTime>>);

/// The place of a token: given back if it is dropped, unless it is kept.
#[derive(Debug)]
pub(super) struct Place<'s> {
    seen: &'s SeenTokens,
    key: Key,
    kept: bool,
}

impl SeenTokens {
    /// Takes the place of a token that has not been seen.
    pub(super) fn take(
        &self,
        issuer: &str,
        token_id: &str,
        expires_at: UnixTime,
        now: UnixTime,
    ) -> Result<Place<'_>, ReceiveError> {
        let issuer_length = issuer.len().to_be_bytes();
        let key = sha256(&[&issuer_length, issuer.as_bytes(), token_id.as_bytes()]);
        let mut tokens = self.tokens();
        if tokens.len() >= MAX_TOKENS {
            tokens.retain(|_, until| *until > now);
        }
        let is_full = tokens.len() >= MAX_TOKENS;
        match tokens.entry(key) {
            Entry::Occupied(mut known) if *known.get() <= now => known.insert(expires_at),
            Entry::Occupied(_) => return Err(Invalid::request("jti was used before").into()),
            Entry::Vacant(_) if is_full => return Err(full()),
            Entry::Vacant(place) => *place.insert(expires_at),
        };
        Ok(Place {
            seen: self,
            key,
            kept: false,
        })
    }

    fn tokens(&self) -> MutexGuard<'_, HashMap<Key, UnixTime>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn full() -> ReceiveError {
    ReceiveError::unavailable(format!(
        "{MAX_TOKENS} logout tokens are remembered, the most"
    ))
}

impl Place<'_> {
    /// The token was accepted.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.seen.tokens().remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_counts_once_and_what_was_not_kept_may_come_again() {
        let seen = SeenTokens::default();
        let take = |token_id: &str, now| seen.take("i", token_id, 100.0, now);
        drop(take("a", 0.0).unwrap());
        take("a", 0.0).unwrap().keep();
        assert_eq!(
            take("a", 99.0).err(),
            Some(Invalid::request("jti was used before").into())
        );
        assert!(seen.take("i2", "a", 100.0, 0.0).is_ok());
        take("a", 100.0).unwrap().keep();
    }

    #[test]
    fn none_is_forgotten_before_its_time() {
        let seen = SeenTokens::default();
        for number in 0..MAX_TOKENS {
            seen.take("i", &number.to_string(), 100.0, 0.0)
                .unwrap()
                .keep();
        }
        assert_eq!(seen.take("i", "x", 100.0, 99.0).err(), Some(full()));
        assert!(seen.take("i", "0", 100.0, 99.0).is_err());
        assert!(seen.take("i", "x", 200.0, 100.0).is_ok());
    }
}
