//! A security event token (RFC 8417) with events of CAEP 1.0 and RISC 1.0.

use jose::Claims;
use jose::clock::UnixTime;
use serde_json::Value;

use super::error::Invalid;
use super::subject;
use crate::auth::revocation::Revocation;

const SESSION_REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
const CREDENTIAL_CHANGE: &str =
    "https://schemas.openid.net/secevent/caep/event-type/credential-change";
const ACCOUNT_DISABLED: &str =
    "https://schemas.openid.net/secevent/risc/event-type/account-disabled";
const SESSIONS_REVOKED: &str =
    "https://schemas.openid.net/secevent/risc/event-type/sessions-revoked";

/// How far ahead a transmitter's clock may be. What lies further ahead (milliseconds, as a rule) is
/// not a time at which something has happened, and counts as now: later tokens stay valid.
const AHEAD: UnixTime = 300.0;

/// Reads the claims of a token whose signature, type, issuer, audience and times have passed: what
/// its events revoke of the `issuers`.
pub(super) fn read(
    claims: &Claims,
    issuers: &[String],
    now: UnixTime,
) -> Result<Vec<Revocation>, Invalid> {
    let events = claims.get("events").and_then(Value::as_object);
    let events =
        events.filter(|events| !events.is_empty() && events.values().all(Value::is_object));
    let events = events.ok_or_else(|| Invalid::request("events is not an object of objects"))?;
    for name in ["jti", "iat"] {
        if claims.get(name).is_none() {
            return Err(Invalid::request(format!("{name} is missing")));
        }
    }
    let mut entries = Vec::new();
    for (name, event) in events {
        if !revokes(name, event)? {
            continue;
        }
        let happened_at = happened_at(event, claims)?;
        let before = if happened_at > now + AHEAD {
            now
        } else {
            happened_at
        } as u64;
        let targets = subject::targets(subject_of(event, claims)?, issuers)?;
        let entry = |target| Revocation::new(target, Some(before), None);
        entries.extend(targets.into_iter().map(entry));
    }
    Ok(entries)
}

/// Whether an event ends credentials. One that is not known does not.
fn revokes(name: &str, event: &Value) -> Result<bool, Invalid> {
    match name {
        SESSION_REVOKED | ACCOUNT_DISABLED | SESSIONS_REVOKED => Ok(true),
        CREDENTIAL_CHANGE => match event.get("change_type").and_then(Value::as_str) {
            Some("revoke" | "delete" | "update") => Ok(true),
            Some(_) => Ok(false),
            None => Err(Invalid::request("change_type is missing")),
        },
        _ => Ok(false),
    }
}

/// `event_timestamp` of the event, else `toe`, else `iat`.
fn happened_at(event: &Value, claims: &Claims) -> Result<UnixTime, Invalid> {
    let written = event.get("event_timestamp").or_else(|| claims.get("toe"));
    let written = written.or_else(|| claims.get("iat"));
    let time = written.and_then(Value::as_f64).filter(|time| *time >= 0.0);
    time.ok_or_else(|| Invalid::request("the time of the event is not a number"))
}

/// `sub_id` of the token, or `subject` of the event; both only if they say the same.
fn subject_of<'v>(event: &'v Value, claims: &'v Claims) -> Result<&'v Value, Invalid> {
    match (claims.get("sub_id"), event.get("subject")) {
        (Some(one), Some(other)) if one != other => {
            Err(Invalid::request("sub_id and the event's subject differ"))
        }
        (Some(subject), _) | (None, Some(subject)) => Ok(subject),
        (None, None) => Err(Invalid::request("there is no subject")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: UnixTime = 10_000.0;

    fn told(claims: Value) -> Result<Vec<String>, String> {
        let Value::Object(claims) = claims else {
            panic!()
        };
        let issuers = ["i".to_owned(), "j".to_owned()];
        let entries = read(&claims.into(), &issuers, NOW).map_err(|invalid| invalid.why)?;
        let told = |entry: &Revocation| format!("{} {}", entry.target, entry.before.unwrap());
        Ok(entries.iter().map(told).collect())
    }

    fn set(event: &str, payload: Value, subject: Value) -> Value {
        json!({ "iat": 7000, "jti": "t", "events": { event: payload }, "sub_id": subject })
    }

    fn alice() -> Value {
        json!({ "format": "iss_sub", "iss": "i", "sub": "alice" })
    }

    #[test]
    fn every_event_that_ends_something() {
        let change = |change_type: &str| json!({ "change_type": change_type });
        for (event, payload) in [
            (SESSION_REVOKED, json!({})),
            (ACCOUNT_DISABLED, json!({ "reason": "hijacking" })),
            (SESSIONS_REVOKED, json!({})),
            (CREDENTIAL_CHANGE, change("revoke")),
            (CREDENTIAL_CHANGE, change("delete")),
            (CREDENTIAL_CHANGE, change("update")),
        ] {
            let found = told(set(event, payload, alice()));
            assert_eq!(
                found,
                Ok(vec!["sub \"alice\" of \"i\" 7000".to_owned()]),
                "{event}"
            );
        }
        let verification = "https://schemas.openid.net/secevent/ssf/event-type/verification";
        for (event, payload) in [
            (CREDENTIAL_CHANGE, change("create")),
            (verification, json!({ "state": "x" })),
            ("https://example.com/unknown", json!({})),
        ] {
            assert_eq!(
                told(set(event, payload, alice())),
                Ok(Vec::new()),
                "{event}"
            );
        }
    }

    #[test]
    fn every_kind_of_subject() {
        let session = json!({ "format": "opaque", "id": "s" });
        let opaque = json!({ "format": "opaque", "id": "o" });
        let bob = json!({ "format": "iss_sub", "iss": "j", "sub": "bob" });
        for (subject, expected) in [
            (alice(), &["sub \"alice\" of \"i\" 7000"][..]),
            (
                json!({ "format": "iss_sub", "iss": "k", "sub": "alice" }),
                &[],
            ),
            (
                json!({ "subject_type": "iss-sub", "iss": "i", "sub": "alice" }),
                &["sub \"alice\" of \"i\" 7000"],
            ),
            (
                opaque.clone(),
                &["sub \"o\" of \"i\" 7000", "sub \"o\" of \"j\" 7000"],
            ),
            (
                json!({ "format": "complex", "user": bob, "session": session }),
                &["sid \"s\" of \"j\" 7000"],
            ),
            (
                json!({ "format": "complex", "user": bob, "device": opaque }),
                &["sub \"bob\" of \"j\" 7000"],
            ),
            (
                json!({ "format": "complex", "session": session }),
                &["sid \"s\" of \"i\" 7000", "sid \"s\" of \"j\" 7000"],
            ),
            (json!({ "user": bob }), &["sub \"bob\" of \"j\" 7000"]),
        ] {
            let message = subject.to_string();
            let expected: Vec<String> = expected.iter().map(|it| (*it).to_owned()).collect();
            let found = told(set(SESSION_REVOKED, json!({}), subject.clone()));
            assert_eq!(found, Ok(expected.clone()), "{message}");
            let mut within = set(SESSION_REVOKED, json!({ "subject": subject }), json!(null));
            within.as_object_mut().unwrap().remove("sub_id");
            assert_eq!(told(within), Ok(expected), "{message}");
        }
    }

    #[test]
    fn when_it_happened() {
        let before = |claims: Value| told(claims).map(|told| told[0].clone());
        let mut claims = set(
            SESSION_REVOKED,
            json!({ "event_timestamp": 5000.7 }),
            alice(),
        );
        claims["toe"] = json!(6000);
        assert_eq!(
            before(claims.clone()),
            Ok("sub \"alice\" of \"i\" 5000".to_owned())
        );
        claims["events"][SESSION_REVOKED] = json!({});
        assert_eq!(
            before(claims.clone()),
            Ok("sub \"alice\" of \"i\" 6000".to_owned())
        );
        claims["toe"] = json!(6_000_000_000_000_u64);
        assert_eq!(
            before(claims.clone()),
            Ok("sub \"alice\" of \"i\" 10000".to_owned())
        );
        claims["toe"] = json!("x");
        assert!(before(claims).is_err());
    }

    #[test]
    fn what_is_refused() {
        let mut both = set(
            SESSION_REVOKED,
            json!({ "subject": { "format": "opaque" } }),
            alice(),
        );
        assert!(told(both.clone()).is_err());
        both["events"][SESSION_REVOKED]["subject"] = alice();
        assert!(told(both).is_ok());
        for subject in [
            json!(null),
            json!("alice"),
            json!({}),
            json!({ "format": "email", "email": "a@example.com" }),
            json!({ "format": "iss_sub", "iss": "i" }),
            json!({ "format": "iss_sub", "iss": "i", "sub": "" }),
            json!({ "format": "iss_sub", "iss": "i", "sub": 7 }),
            json!({ "format": "opaque" }),
            json!({ "format": "complex", "device": { "format": "opaque", "id": "d" } }),
            json!({ "format": "complex", "user": { "format": "complex", "user": alice() } }),
            json!({ "format": "complex", "session": alice() }),
        ] {
            assert!(
                told(set(SESSION_REVOKED, json!({}), subject.clone())).is_err(),
                "{subject}"
            );
        }
        assert!(told(set(CREDENTIAL_CHANGE, json!({}), alice())).is_err());
        for (name, value) in [
            ("events", json!({})),
            ("events", json!({ SESSION_REVOKED: true })),
            ("events", json!([SESSION_REVOKED])),
        ] {
            let mut claims = set(SESSION_REVOKED, json!({}), alice());
            claims[name] = value;
            assert!(told(claims).is_err(), "{name}");
        }
        for name in ["jti", "iat", "sub_id"] {
            let mut claims = set(SESSION_REVOKED, json!({}), alice());
            claims.as_object_mut().unwrap().remove(name);
            assert!(told(claims).is_err(), "{name}");
        }
    }
}
