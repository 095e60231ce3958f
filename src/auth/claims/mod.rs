//! What a step asks of the claims of a token (RFC 7519 section 4), whether its signature has
//! verified or its issuer was asked about it, and what of them travels to the upstream.

mod identity_headers;
pub(super) mod mismatch;

use std::sync::Arc;

use jose::clock::UnixTime;
use jose::{Claims, TokenError, Validity};
use serde_json::Value;

use super::confirmation::Confirmation;
use super::identity::{AuthMethod, Content, Credential, Identity, TokenIds};
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
    check_issuer(claims, issuers, trace)?;
    check_audience(claims, rules, trace)?;
    let confirmation = confirmation(claims, trace)?;
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
    let headers = identity_headers::headers(claims, &rules.claims_to_headers);
    let valid_until = Some(validity.until).filter(|until| until.is_finite());
    let ids = TokenIds {
        certificate: confirmation.and_then(|it| it.certificate).map(Box::new),
        ..claims.into()
    };
    Ok(Verified {
        identity: Identity::new(Content {
            method,
            subject,
            headers,
            valid_until,
            credential: Credential::Token(ids),
            claims: rules.keeps_claims.then(|| claims.clone()),
            key_scopes: Box::default(),
        }),
        validity,
        next_check: None,
        confirmation: confirmation.map(Arc::new),
    })
}

fn check_issuer(claims: &Claims, accepted: &[String], trace: &mut Trace) -> Result<(), Reason> {
    let checked = claims.check_issuer(accepted);
    Ok(checked.inspect_err(|_| trace.detail(|| mismatch::value(claims, "iss", accepted)))?)
}

fn check_audience(claims: &Claims, rules: &ClaimRules, trace: &mut Trace) -> Result<(), Reason> {
    let checked = claims.check_audience(&rules.audiences);
    Ok(checked
        .inspect_err(|_| trace.detail(|| mismatch::value(claims, "aud", &rules.audiences)))?)
}

/// Whether an answer about a token that has verified names no other issuer and no other audience
/// than tokens of the step may. It need not name any.
pub(super) fn check_not_contradicted(
    answer: &Claims,
    issuers: &[String],
    rules: &ClaimRules,
    trace: &mut Trace,
) -> Result<(), Reason> {
    if answer.get("iss").is_some() {
        check_issuer(answer, issuers, trace)?;
    }
    if answer.get("aud").is_some() {
        check_audience(answer, rules, trace)?;
    }
    Ok(())
}

/// What a token is bound to.
pub(super) fn confirmation(
    claims: &Claims,
    trace: &mut Trace,
) -> Result<Option<Confirmation>, Reason> {
    Confirmation::of(claims).inspect_err(|_| trace.detail(|| mismatch::confirmation(claims)))
}

/// Whether a token says all that an access token has to (RFC 9068 section 2.2), whatever the step
/// asks for. That `iss`, `aud` and the times have their forms is seen to elsewhere.
pub(super) fn check_access_token(claims: &Claims, trace: &mut Trace) -> Result<(), Reason> {
    let is_there = |name: &&str| match (*name, claims.get(name)) {
        ("sub" | "client_id" | "jti", Some(value)) => {
            value.as_str().is_some_and(|it| !it.is_empty())
        }
        (_, value) => value.is_some(),
    };
    let mut names = ["iss", "aud", "sub", "client_id", "iat", "jti"].into_iter();
    match names.find(|name| !is_there(name)) {
        None => Ok(()),
        Some(missing) => {
            trace.detail(|| format!("{missing} is {}", mismatch::said(claims.get(missing))));
            Err(Reason::WrongProfile)
        }
    }
}
