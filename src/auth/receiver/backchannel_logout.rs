//! A logout token: OpenID Connect Back-Channel Logout 1.0, sections 2.4 and 2.6.

use jose::Claims;
use jose::clock::UnixTime;
use serde_json::Value;

use super::error::Invalid;
use crate::auth::revocation::{Revocation, Target, TokenSelector};

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// What a logout token says.
#[derive(Debug)]
pub(super) struct Logout {
    pub(super) issuer: String,
    pub(super) token_id: String,
    pub(super) expires_at: UnixTime,
    pub(super) entries: Vec<Revocation>,
}

/// Reads the claims of a token whose signature, type, issuer, audience and times have passed. With
/// `sid`, that session is over; with `sub` alone, or with `also_subject`, every token of the
/// subject that was issued up to then.
pub(super) fn read(claims: &Claims, also_subject: bool) -> Result<Logout, Invalid> {
    let event = claims.get("events").and_then(|events| events.get(EVENT));
    if !event.is_some_and(Value::is_object) {
        return Err(Invalid::request("events has no back-channel logout event"));
    }
    if claims.get("nonce").is_some() {
        return Err(Invalid::request("nonce is present: this is an ID token"));
    }
    let issuer = text(claims, "iss")?.ok_or_else(|| missing("iss"))?;
    let token_id = text(claims, "jti")?.ok_or_else(|| missing("jti"))?;
    let number = |name| claims.get(name).and_then(Value::as_f64);
    let issued_at = number("iat").ok_or_else(|| missing("iat"))?;
    let expires_at = number("exp").ok_or_else(|| missing("exp"))?;
    let tokens = |selector| Target::Tokens(issuer.into(), selector);
    let of_session = |sid: &str| {
        let target = tokens(TokenSelector::Session(sid.into()));
        Revocation::new(target, None, None)
    };
    let of_subject = |sub: &str| {
        let target = tokens(TokenSelector::Subject(sub.into()));
        Revocation::new(target, Some(issued_at.max(0.0) as u64), None)
    };
    let entries = match (text(claims, "sid")?, text(claims, "sub")?) {
        (Some(sid), Some(sub)) if also_subject => vec![of_session(sid), of_subject(sub)],
        (Some(sid), _) => vec![of_session(sid)],
        (None, Some(sub)) => vec![of_subject(sub)],
        (None, None) => return Err(Invalid::request("neither sid nor sub is there")),
    };
    Ok(Logout {
        issuer: issuer.to_owned(),
        token_id: token_id.to_owned(),
        expires_at,
        entries,
    })
}

/// A claim that is a string, if it is there.
fn text<'c>(claims: &'c Claims, name: &str) -> Result<Option<&'c str>, Invalid> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() && text.len() <= 1024 => Ok(Some(text)),
        Some(_) => Err(Invalid::request(format!(
            "{name} is not a string of 1 to 1024 bytes"
        ))),
    }
}

fn missing(name: &str) -> Invalid {
    Invalid::request(format!("{name} is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, json};

    /// The claims of a good one, with some of them changed; null takes one away.
    fn logout(changes: Value, also_subject: bool) -> Result<Vec<String>, String> {
        let mut claims = json!({
            "iss": "i", "aud": "edge", "iat": 100.5, "exp": 200, "jti": "t", "sid": "s",
            "events": { EVENT: {} },
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let Value::Object(claims) = claims else {
            panic!()
        };
        let claims: Map<_, _> = claims.into_iter().filter(|(_, it)| !it.is_null()).collect();
        let logout = read(&claims.into(), also_subject).map_err(|invalid| invalid.why)?;
        let told = |entry: &Revocation| match entry.before {
            Some(before) => format!("{} before {before}", entry.target),
            None => entry.target.to_string(),
        };
        Ok(logout.entries.iter().map(told).collect())
    }

    #[test]
    fn what_ends() {
        let session = "sid \"s\" of \"i\"".to_owned();
        let subject = "sub \"u\" of \"i\" before 100".to_owned();
        for (changes, also_subject, expected) in [
            (json!({}), false, vec![&session]),
            (json!({ "sub": "u" }), false, vec![&session]),
            (json!({ "sub": "u" }), true, vec![&session, &subject]),
            (json!({ "sub": "u", "sid": null }), false, vec![&subject]),
            (json!({}), true, vec![&session]),
        ] {
            let found = logout(changes, also_subject).unwrap();
            assert_eq!(found.iter().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn what_is_no_logout_token() {
        for (changes, expected) in [
            (
                json!({ "events": null }),
                "events has no back-channel logout event",
            ),
            (
                json!({ "events": {} }),
                "events has no back-channel logout event",
            ),
            (
                json!({ "events": { EVENT: true } }),
                "events has no back-channel logout event",
            ),
            (
                json!({ "events": [EVENT] }),
                "events has no back-channel logout event",
            ),
            (
                json!({ "nonce": "n" }),
                "nonce is present: this is an ID token",
            ),
            (
                json!({ "nonce": "" }),
                "nonce is present: this is an ID token",
            ),
            (json!({ "jti": null }), "jti is missing"),
            (
                json!({ "jti": 7 }),
                "jti is not a string of 1 to 1024 bytes",
            ),
            (
                json!({ "jti": "" }),
                "jti is not a string of 1 to 1024 bytes",
            ),
            (json!({ "iat": null }), "iat is missing"),
            (json!({ "exp": null }), "exp is missing"),
            (json!({ "sid": null }), "neither sid nor sub is there"),
            (
                json!({ "sid": 7 }),
                "sid is not a string of 1 to 1024 bytes",
            ),
            (
                json!({ "sid": "" }),
                "sid is not a string of 1 to 1024 bytes",
            ),
            (
                json!({ "sub": ["u"] }),
                "sub is not a string of 1 to 1024 bytes",
            ),
        ] {
            let message = changes.to_string();
            assert_eq!(
                logout(changes, false),
                Err(expected.to_owned()),
                "{message}"
            );
        }
    }
}
