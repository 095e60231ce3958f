//! The claims of a token whose signature has verified (RFC 7519 section 4).

use serde_json::{Map, Value};

use super::carried;
use super::trust::Trusted;
use crate::auth::clock::UnixTime;
use crate::auth::identity::{AuthMethod, Identity};
use crate::auth::outcome::Reason;
use crate::auth::strict_json;
use crate::auth::tokens::{Validity, Verified};
use crate::config::{Jwt, RequiredClaim};

pub(crate) type Claims = Map<String, Value>;

/// The first second of the year 10000, which no date of RFC 3339 can tell.
const END_OF_TIME: UnixTime = 253_402_300_800.0;

/// Reads decoded claims. They count for nothing before their signature has verified.
pub(super) fn parse(text: &[u8]) -> Result<Claims, Reason> {
    strict_json::object(text).ok_or(Reason::Malformed)
}

/// Examines the claims of a token that the issuer's keys have verified, and makes the identity of
/// those that pass.
pub(super) fn examine(
    claims: &Claims,
    issuer: &Trusted,
    settings: &Jwt,
    now: UnixTime,
) -> Result<Verified, Reason> {
    let validity = validity(claims, settings.leeway.as_secs_f64())?;
    validity.check(now)?;
    issuer.check(claims)?;
    check_audience(claims, &settings.audiences)?;
    let subject = match claims.get("sub") {
        None => None,
        Some(Value::String(subject)) => carried::subject(subject)?,
        Some(_) => return Err(Reason::Malformed),
    };
    if !settings
        .required_claims
        .iter()
        .all(|required| is_met(required, claims))
    {
        return Err(Reason::ClaimMissing);
    }
    if !settings
        .required_scopes
        .iter()
        .all(|scope| is_granted(scope, claims))
    {
        return Err(Reason::ScopeMissing);
    }
    let headers = carried::headers(claims, &settings.claims_to_headers);
    let valid_until = Some(validity.until);
    Ok(Verified {
        identity: Identity::new(AuthMethod::Jwt, subject, headers, valid_until),
        validity,
    })
}

/// `exp`, `nbf` and `iat` (RFC 7519 sections 4.1.4 to 4.1.6), the leeway both ways.
pub(super) fn validity(claims: &Claims, leeway: f64) -> Result<Validity, Reason> {
    let exp = number(claims, "exp")?.ok_or(Reason::NoExpiry)?;
    let starts = [number(claims, "nbf")?, number(claims, "iat")?];
    // Milliseconds, as a rule, or an overflow: a token that would hardly ever expire.
    if exp >= END_OF_TIME || starts.iter().flatten().any(|start| *start < 0.0) {
        return Err(Reason::Malformed);
    }
    let until = exp + leeway;
    let latest = starts
        .into_iter()
        .flatten()
        .fold(f64::NEG_INFINITY, f64::max);
    Ok(Validity {
        from: latest - leeway,
        until,
    })
}

/// A NumericDate, which is finite: JSON has no other numbers.
fn number(claims: &Claims, name: &str) -> Result<Option<f64>, Reason> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or(Reason::Malformed),
    }
}

/// `aud`: a string, or an array of nothing but strings (RFC 7519 section 4.1.3, RFC 8725 section
/// 3.9).
pub(super) fn check_audience(claims: &Claims, accepted: &[String]) -> Result<(), Reason> {
    let named = match claims.get("aud") {
        None if accepted.is_empty() => return Ok(()),
        None => None,
        Some(Value::String(audience)) => Some(vec![audience.as_str()]),
        Some(Value::Array(audiences)) => audiences.iter().map(Value::as_str).collect(),
        Some(_) => None,
    };
    match named {
        Some(_) if accepted.is_empty() => Ok(()),
        Some(named)
            if named
                .iter()
                .any(|audience| accepted.iter().any(|known| known == audience)) =>
        {
            Ok(())
        }
        _ => Err(Reason::WrongAudience),
    }
}

/// Whether a required claim is there, with an accepted value if it needs one: itself, or one
/// element of an array.
pub(super) fn is_met(required: &RequiredClaim, claims: &Claims) -> bool {
    let Some(claim) = claims.get(&required.name) else {
        return false;
    };
    let is_accepted = |value: &Value| {
        required
            .values
            .iter()
            .any(|accepted| is_equal(accepted, value))
    };
    required.values.is_empty()
        || is_accepted(claim)
        || claim
            .as_array()
            .is_some_and(|elements| elements.iter().any(is_accepted))
}

/// Equality of JSON values; to it, 1 and 1.0 are one number.
fn is_equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

/// Whether `scope` (RFC 8693 section 4.2) or `scp` holds a scope: in a list with spaces between, or
/// in an array.
pub(super) fn is_granted(scope: &str, claims: &Claims) -> bool {
    ["scope", "scp"]
        .iter()
        .filter_map(|name| claims.get(*name))
        .any(|granted| match granted {
            Value::String(list) => list.split(' ').any(|granted| granted == scope),
            Value::Array(list) => list.iter().any(|granted| granted.as_str() == Some(scope)),
            _ => false,
        })
}
