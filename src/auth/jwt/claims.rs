//! What a step asks of the claims of a token whose signature has verified (RFC 7519 section 4).

use jose::clock::UnixTime;
use jose::{Claims, TokenError};
use serde_json::Value;

use super::carried;
use super::trust::Trusted;
use crate::auth::identity::{AuthMethod, Identity};
use crate::auth::outcome::Reason;
use crate::auth::tokens::Verified;
use crate::config::Jwt;

/// Examines the claims of a token that the issuer's keys have verified, and makes the identity of
/// those that pass.
pub(super) fn examine(
    claims: &Claims,
    issuer: &Trusted,
    settings: &Jwt,
    now: UnixTime,
) -> Result<Verified, Reason> {
    let validity = claims.validity(settings.leeway)?;
    validity.check(now)?;
    claims.check_issuer(&issuer.names)?;
    claims.check_audience(&settings.audiences)?;
    let subject = match claims.get("sub") {
        None => None,
        Some(Value::String(subject)) => carried::subject(subject)?,
        Some(_) => return Err(Reason::Malformed),
    };
    let mut required = settings.required_claims.iter();
    if !required.all(|required| claims.has(&required.name, &required.values)) {
        return Err(TokenError::ClaimMissing.into());
    }
    let mut scopes = settings.required_scopes.iter();
    if !scopes.all(|scope| claims.has_scope(scope)) {
        return Err(TokenError::ScopeMissing.into());
    }
    let headers = carried::headers(claims.as_map(), &settings.claims_to_headers);
    let valid_until = Some(validity.until);
    Ok(Verified {
        identity: Identity::new(AuthMethod::Jwt, subject, headers, valid_until),
        validity,
    })
}
