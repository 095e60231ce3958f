//! Whom a step trusts: issuers, each bound to keys of its own.

use jose::{Claims, KeySets, Keys, TokenError};

use super::source;
use crate::auth::error::BuildCause;
use crate::auth::outcome::Reason;
use crate::config::Jwt;

/// One issuer, or several that sign with the same keys.
#[derive(Debug)]
pub(super) struct Trusted {
    /// Accepted values of `iss`. Empty: any, or none at all.
    pub(super) names: Vec<String>,
    pub(super) keys: Keys,
}

/// Builds the key source of every issuer of a step.
pub(super) fn build(settings: &Jwt, key_sets: &KeySets) -> Result<Vec<Trusted>, BuildCause> {
    settings
        .issuers
        .iter()
        .map(|issuer| {
            Ok(Trusted {
                names: issuer.names.clone(),
                keys: source::build(settings.algorithm, &issuer.keys, key_sets)?,
            })
        })
        .collect()
}

/// The issuer, by index, whom claims that nobody has verified name. What they say counts only once
/// that issuer's keys have verified it.
pub(super) fn select(issuers: &[Trusted], claims: &Claims) -> Result<usize, Reason> {
    issuers
        .iter()
        .position(|issuer| claims.check_issuer(&issuer.names).is_ok())
        .ok_or(Reason::Token(TokenError::WrongIssuer))
}
