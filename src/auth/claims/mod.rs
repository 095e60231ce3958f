//! What a step asks of the claims of a token (RFC 7519 section 4), whether its signature has
//! verified or its issuer was asked about it, and what of them travels to the upstream.

mod identity_headers;
pub(super) mod mismatch;

use jose::clock::UnixTime;
use jose::{Claims, TokenError, Validity};
use serde_json::Value;

use super::identity::{AuthMethod, Content, Credential, Identity};
use super::outcome::Reason;
use super::token_cache::Verified;
use super::trace::Trace;
use crate::config::ClaimRules;

pub(crate) use identity_headers::text as claim_text;

/// When a token counts, which has to be now. It has to say when it expires.
pub(super) fn validity(
    claims: &Claims,
    rules: &ClaimRules,
    now: UnixTime,
    trace: &mut Trace,
) -> Result<Validity, Reason> {
    check(claims, claims.validity(rules.leeway), rules, now, trace)
}

/// The same for claims that need not say when they expire.
pub(super) fn validity_if_any(
    claims: &Claims,
    rules: &ClaimRules,
    now: UnixTime,
    trace: &mut Trace,
) -> Result<Validity, Reason> {
    check(
        claims,
        claims.validity_if_any(rules.leeway),
        rules,
        now,
        trace,
    )
}

fn check(
    claims: &Claims,
    validity: Result<Validity, TokenError>,
    rules: &ClaimRules,
    now: UnixTime,
    trace: &mut Trace,
) -> Result<Validity, Reason> {
    let validity =
        validity.inspect_err(|error| trace.detail(|| mismatch::times(claims, *error)))?;
    validity.check(now).inspect_err(|error| {
        trace.detail(|| mismatch::validity(claims, *error, rules.leeway, now));
    })?;
    Ok(validity)
}

/// Examines the claims of a token of these issuers (none: of any), and makes the identity of those
/// that pass.
pub(super) fn examine(
    claims: &Claims,
    issuers: &[String],
    rules: &ClaimRules,
    validity: Validity,
    method: AuthMethod,
    trace: &mut Trace,
) -> Result<Verified, Reason> {
    claims
        .check_issuer(issuers)
        .inspect_err(|_| trace.detail(|| mismatch::value(claims, "iss", issuers)))?;
    claims
        .check_audience(&rules.audiences)
        .inspect_err(|_| trace.detail(|| mismatch::value(claims, "aud", &rules.audiences)))?;
    // Whoever has stolen it does not have what it is bound to, and nothing here can tell.
    if claims.get("cnf").is_some() {
        trace.detail(|| "cnf is there: it is bound to its sender".to_owned());
        return Err(Reason::SenderBound);
    }
    let subject = match claims.get("sub") {
        None => Ok(None),
        Some(Value::String(subject)) => identity_headers::subject(subject),
        Some(_) => Err(Reason::Token(TokenError::Malformed)),
    };
    let subject = subject.inspect_err(|_| trace.detail(|| mismatch::subject(claims)))?;
    let mut required = rules.required_claims.iter();
    if let Some(unmet) = required.find(|it| !claims.has(&it.name, &it.values)) {
        trace.detail(|| mismatch::claim(claims, unmet));
        return Err(TokenError::ClaimMissing.into());
    }
    let mut scopes = rules.required_scopes.iter();
    if let Some(unmet) = scopes.find(|scope| !claims.has_scope(scope)) {
        trace.detail(|| mismatch::scope(claims, unmet));
        return Err(TokenError::ScopeMissing.into());
    }
    let headers = identity_headers::headers(claims.as_map(), &rules.claims_to_headers);
    let valid_until = Some(validity.until).filter(|until| until.is_finite());
    Ok(Verified {
        identity: Identity::new(Content {
            method,
            subject,
            headers,
            valid_until,
            credential: Credential::Token(claims.into()),
            claims: rules.keeps_claims.then(|| claims.clone()),
            key_scopes: Box::default(),
        }),
        validity,
        ask_again: None,
    })
}
