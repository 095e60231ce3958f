//! What a step asks of the claims of a token whose signature has verified (RFC 7519 section 4).

use jose::clock::UnixTime;
use jose::{Claims, TokenError};
use serde_json::Value;

use super::trust::Trusted;
use super::{identity_headers, mismatch};
use crate::auth::identity::{AuthMethod, Identity};
use crate::auth::outcome::Reason;
use crate::auth::token_cache::Verified;
use crate::auth::trace::Trace;
use crate::config::Jwt;

/// Examines the claims of a token that the issuer's keys have verified, and makes the identity of
/// those that pass.
pub(super) fn examine(
    claims: &Claims,
    issuer: &Trusted,
    settings: &Jwt,
    now: UnixTime,
    trace: &mut Trace,
) -> Result<Verified, Reason> {
    let validity = claims
        .validity(settings.leeway)
        .inspect_err(|error| trace.detail(|| mismatch::times(claims, *error)))?;
    validity
        .check(now)
        .inspect_err(|error| trace.detail(|| mismatch::validity(claims, *error, settings, now)))?;
    // Without a document there would have been no keys either, unless it went just now.
    let names = issuer.names().ok_or(TokenError::NoKeys)?;
    claims
        .check_issuer(&names)
        .inspect_err(|_| trace.detail(|| mismatch::value(claims, "iss", names.iter())))?;
    claims
        .check_audience(&settings.audiences)
        .inspect_err(|_| trace.detail(|| mismatch::value(claims, "aud", &settings.audiences)))?;
    let subject = match claims.get("sub") {
        None => Ok(None),
        Some(Value::String(subject)) => identity_headers::subject(subject),
        Some(_) => Err(Reason::Token(TokenError::Malformed)),
    };
    let subject = subject.inspect_err(|_| trace.detail(|| mismatch::subject(claims)))?;
    let mut required = settings.required_claims.iter();
    if let Some(unmet) = required.find(|it| !claims.has(&it.name, &it.values)) {
        trace.detail(|| mismatch::claim(claims, unmet));
        return Err(TokenError::ClaimMissing.into());
    }
    let mut scopes = settings.required_scopes.iter();
    if let Some(unmet) = scopes.find(|scope| !claims.has_scope(scope)) {
        trace.detail(|| mismatch::scope(claims, unmet));
        return Err(TokenError::ScopeMissing.into());
    }
    let headers = identity_headers::headers(claims.as_map(), &settings.claims_to_headers);
    let valid_until = Some(validity.until);
    Ok(Verified {
        identity: Identity::new(AuthMethod::Jwt, subject, headers, valid_until),
        validity,
    })
}
