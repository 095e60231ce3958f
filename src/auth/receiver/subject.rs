//! Whom a security event is about: subject identifiers (RFC 9493), and complex subjects (OpenID
//! Shared Signals Framework 1.0, section 3.1).

use serde_json::Value;

use super::error::Invalid;
use crate::auth::revocation::{Target, TokenSelector};

/// How long an identifier may be.
const MAX_VALUE: usize = 1024;

/// What of the `issuers` a subject identifier means. Empty: it is about somebody else's.
pub(super) fn targets(subject: &Value, issuers: &[String]) -> Result<Vec<Target>, Invalid> {
    match format(subject).as_deref() {
        Some("complex") => complex(subject, issuers),
        None if subject.get("user").is_some() || subject.get("session").is_some() => {
            complex(subject, issuers)
        }
        _ => {
            let of_subject = |(issuer, sub): (&str, &str)| {
                Target::Tokens(issuer.into(), TokenSelector::Subject(sub.into()))
            };
            let named = simple(subject, issuers)?;
            Ok(named.into_iter().map(of_subject).collect())
        }
    }
}

/// `format`, or `subject_type`, which it was called before.
fn format(subject: &Value) -> Option<String> {
    let format = subject
        .get("format")
        .or_else(|| subject.get("subject_type"));
    Some(format?.as_str()?.replace('-', "_"))
}

/// A session, else all of a user; what else a complex subject says would narrow it down further
/// than anything here can tell.
fn complex(subject: &Value, issuers: &[String]) -> Result<Vec<Target>, Invalid> {
    let user = subject.get("user");
    let Some(session) = subject.get("session") else {
        let user = user.ok_or_else(|| unusable("names neither a user nor a session"))?;
        return match format(user).as_deref() {
            Some("complex") => Err(unusable("has a complex user")),
            _ => targets(user, issuers),
        };
    };
    let session = match format(session).as_deref() {
        Some("opaque") => member(session, "id")?,
        _ => return Err(unusable("has a session that is not opaque")),
    };
    let of_user = match user {
        Some(user) if format(user).as_deref() == Some("iss_sub") => Some(member(user, "iss")?),
        _ => None,
    };
    let issuers = issuers.iter().map(String::as_str);
    let issuers = issuers.filter(|issuer| of_user.is_none_or(|of_user| of_user == *issuer));
    let target =
        |issuer: &str| Target::Tokens(issuer.into(), TokenSelector::Session(session.into()));
    Ok(issuers.map(target).collect())
}

/// Issuers, each with the subject that one identifier means there.
fn simple<'v>(
    subject: &'v Value,
    issuers: &'v [String],
) -> Result<Vec<(&'v str, &'v str)>, Invalid> {
    match format(subject).as_deref() {
        Some("iss_sub") => {
            let (issuer, sub) = (member(subject, "iss")?, member(subject, "sub")?);
            let ours = issuers.iter().any(|known| known == issuer);
            Ok(ours.then_some((issuer, sub)).into_iter().collect())
        }
        Some("opaque") => {
            let id = member(subject, "id")?;
            Ok(issuers.iter().map(|issuer| (issuer.as_str(), id)).collect())
        }
        _ => Err(unusable("is neither iss_sub, opaque nor complex")),
    }
}

fn member<'v>(subject: &'v Value, name: &str) -> Result<&'v str, Invalid> {
    let text = subject.get(name).and_then(Value::as_str);
    text.filter(|text| !text.is_empty() && text.len() <= MAX_VALUE)
        .ok_or_else(|| unusable(&format!("has no {name} of 1 to {MAX_VALUE} bytes")))
}

fn unusable(why: &str) -> Invalid {
    Invalid::request(format!("the subject {why}"))
}
