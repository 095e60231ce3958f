//! Whom a step trusts: issuers, each bound to keys of its own.

use serde_json::Value;

use super::claims::Claims;
use super::source::Source;
use crate::auth::error::BuildCause;
use crate::auth::jwks::KeySets;
use crate::auth::outcome::Reason;
use crate::config::Jwt;

/// One issuer, or several that sign with the same keys.
#[derive(Debug)]
pub(super) struct Trusted {
    /// Accepted values of `iss`. Empty: any, or none at all.
    pub(super) names: Vec<String>,
    pub(super) keys: Source,
}

/// Builds the key source of every issuer of a step.
pub(super) fn build(settings: &Jwt, key_sets: &KeySets) -> Result<Vec<Trusted>, BuildCause> {
    settings
        .issuers
        .iter()
        .map(|issuer| {
            Ok(Trusted {
                names: issuer.names.clone(),
                keys: Source::build(settings.algorithm, &issuer.keys, key_sets)?,
            })
        })
        .collect()
}

impl Trusted {
    /// Checks `iss`, compared exactly (RFC 7519 section 4.1.1, RFC 8725 section 3.8).
    pub(super) fn check(&self, claims: &Claims) -> Result<(), Reason> {
        match claims.get("iss") {
            None if self.names.is_empty() => Ok(()),
            Some(Value::String(issuer)) if self.names.is_empty() || self.names.contains(issuer) => {
                Ok(())
            }
            _ => Err(Reason::WrongIssuer),
        }
    }
}

/// The issuer, by index, whom claims that nobody has verified name. What they say counts only once
/// that issuer's keys have verified it.
pub(super) fn select(issuers: &[Trusted], claims: &Claims) -> Result<usize, Reason> {
    issuers
        .iter()
        .position(|issuer| issuer.check(claims).is_ok())
        .ok_or(Reason::WrongIssuer)
}
