//! `/revocations`: what was revoked before its time, page by page; new entries, and their end.

use http::StatusCode;
use jose::clock;
use pingora::protocols::http::ServerSession;
use serde_json::{Map, Value, json};

use super::body::{self, bad};
use super::response::ApiResponse;
use crate::gateway::{Revocation, RevocationId, Revocations, RevokeError};
use crate::telemetry::audit;

/// Longest value, in bytes.
const MAX_VALUE: usize = 1024;
/// The latest time, in seconds since 1970: in the year 5138.
const MAX_TIME: f64 = 1e11;
/// How many entries a page has, if it is not said, and at most.
const PAGE: usize = 100;
const MAX_PAGE: usize = 1000;

/// Makes entries, all or none.
pub(super) async fn revoke(
    list: &Revocations,
    session: &mut ServerSession,
) -> Result<ApiResponse, ApiResponse> {
    let entries = entries(&body::read(session).await?)?;
    let described: Vec<String> = entries.iter().take(10).map(describe).collect();
    let more = match entries.len().saturating_sub(described.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let ids = list.revoke(entries).await.map_err(|error| failed(&error))?;
    let mut answer = ApiResponse::json(StatusCode::CREATED, &json!({ "ids": ids }));
    let message = format!("revoked {}{more}", described.join(", "));
    audit::note("revocation", "management", &message);
    answer.message = message;
    Ok(answer)
}

/// Shows a page: `limit` entries `after` one.
pub(super) fn page(list: &Revocations, query: Option<&str>) -> Result<ApiResponse, ApiResponse> {
    let (mut after, mut limit) = (None, PAGE);
    for pair in query
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
    {
        match pair.split_once('=') {
            Some(("after", id)) => {
                let id = id.parse::<RevocationId>();
                after = Some(id.map_err(|error| bad(&format!("after is {error}")))?);
            }
            Some(("limit", number)) => {
                limit = number
                    .parse()
                    .ok()
                    .filter(|limit| (1..=MAX_PAGE).contains(limit))
                    .ok_or_else(|| bad(&format!("limit must be 1 to {MAX_PAGE}")))?;
            }
            _ => return Err(bad("use after=ID and limit=N")),
        }
    }
    let entries = list.page(after, limit + 1);
    let more = entries.len() > limit;
    let shown = &entries[..limit.min(entries.len())];
    let next = shown.last().filter(|_| more).map(Revocation::id);
    let entries: Vec<Value> = shown
        .iter()
        .map(|entry| {
            let mut value = json!(entry);
            value["id"] = json!(entry.id());
            value["expires_at"] = json!(list.expires_at(entry));
            value
        })
        .collect();
    let status = list.status();
    Ok(ApiResponse::ok(&json!({
        "revocations": entries,
        "next": next,
        "total": status.entries,
        "max": status.max,
    })))
}

/// Ends an entry.
pub(super) async fn delete(list: &Revocations, path: &str) -> ApiResponse {
    let id = path.rsplit('/').next().unwrap_or_default();
    let unknown = || ApiResponse::error(StatusCode::NOT_FOUND, "there is no such revocation");
    let Ok(id) = id.parse::<RevocationId>() else {
        return unknown();
    };
    match list.delete(id).await {
        Ok(true) => {
            let message = format_args!("{id} deleted");
            audit::note("revocation", "management", &message);
            ApiResponse::no_content()
        }
        Ok(false) => unknown(),
        Err(error) => failed(&error),
    }
}

/// The entries that a body asks for: one, or several under `revocations`.
pub(super) fn entries(body: &[u8]) -> Result<Vec<Revocation>, ApiResponse> {
    let mut body = body::object(body)?;
    let now = clock::now();
    match body.remove("revocations") {
        None => Ok(vec![entry(body, now).map_err(|wrong| bad(&wrong))?]),
        Some(_) if !body.is_empty() => Err(bad("revocations must be the only member")),
        Some(Value::Array(items)) if !items.is_empty() => {
            let items = items.into_iter().enumerate().map(|(place, item)| {
                let wrong = |wrong: &str| bad(&format!("revocations[{place}]: {wrong}"));
                match item {
                    Value::Object(item) => entry(item, now).map_err(|error| wrong(&error)),
                    _ => Err(wrong("must be a JSON object")),
                }
            });
            items.collect()
        }
        Some(_) => Err(bad("revocations must be a non-empty array")),
    }
}

/// One entry. The error names the member and never shows its value.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float becomes the nearest integer that there is"
)]
fn entry(mut members: Map<String, Value>, now: f64) -> Result<Revocation, String> {
    for (name, value) in &mut members {
        match (&**name, &*value) {
            ("issuer" | "jti" | "sid" | "sub" | "client_id" | "key" | "certificate", value) => {
                match value.as_str() {
                    Some(text) if text.len() <= MAX_VALUE => {}
                    Some(_) => return Err(format!("{name} must not be over {MAX_VALUE} bytes")),
                    None => return Err(format!("{name} must be a string")),
                }
            }
            ("before" | "until", time) => match time.as_f64() {
                Some(time) if time > MAX_TIME => {
                    return Err(format!(
                        "{name} must be a time in seconds since 1970: this looks like milliseconds"
                    ));
                }
                Some(time) if time >= 0.0 => {
                    let whole = if name == "before" {
                        time.floor()
                    } else {
                        time.ceil()
                    };
                    *value = json!(whole as u64);
                }
                _ => return Err(format!("{name} must be a time in seconds since 1970")),
            },
            _ => {
                let name: String = name.chars().take(64).collect();
                return Err(format!(
                    "unknown member {name:?}; use issuer with jti, sid, sub, client_id or nothing \
                     more, or key, or certificate; and before, until"
                ));
            }
        }
    }
    let until = members.get("until").and_then(Value::as_f64);
    if until.is_some_and(|until| until <= now) {
        return Err("until has passed".to_owned());
    }
    let is_wide = members.contains_key("issuer")
        && !members.contains_key("jti")
        && !members.contains_key("sid");
    if is_wide && !members.contains_key("before") {
        members.insert("before".to_owned(), json!(now as u64));
    }
    members.insert("made_at".to_owned(), json!((now * 1000.0) as u64));
    serde_json::from_value(members.into()).map_err(|error| error.to_string())
}

/// An entry in the log: what it names, and its id.
fn describe(entry: &Revocation) -> String {
    format!("{} ({})", entry.target, entry.id())
}

fn failed(error: &RevokeError) -> ApiResponse {
    let status = match error {
        RevokeError::Full { .. } => StatusCode::INSUFFICIENT_STORAGE,
        RevokeError::Journal(_) | RevokeError::Stopping => StatusCode::SERVICE_UNAVAILABLE,
    };
    ApiResponse::error(status, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(body: &str) -> Result<Vec<String>, String> {
        let entries = entries(body.as_bytes()).map_err(|answer| answer.message)?;
        Ok(entries
            .iter()
            .map(|entry| entry.target.to_string())
            .collect())
    }

    #[test]
    fn every_form_of_an_entry() {
        let fingerprint = "ab".repeat(32);
        for (body, target) in [
            (json!({ "issuer": "i", "jti": "t" }), "jti \"t\" of \"i\""),
            (json!({ "issuer": "i", "sid": "s" }), "sid \"s\" of \"i\""),
            (json!({ "issuer": "i", "sub": "u" }), "sub \"u\" of \"i\""),
            (
                json!({ "issuer": "i", "client_id": "c" }),
                "client_id \"c\" of \"i\"",
            ),
            (json!({ "issuer": "i", "before": 7.5 }), "issuer \"i\""),
            (json!({ "key": "robot" }), "key \"robot\""),
            (
                json!({ "certificate": fingerprint }),
                &format!("certificate {fingerprint}"),
            ),
            (
                json!({ "certificate": (["AB"; 32].join(":")) }),
                &format!("certificate {fingerprint}"),
            ),
        ] {
            assert_eq!(described(&body.to_string()), Ok(vec![target.to_owned()]));
            let several = json!({ "revocations": [body, body] });
            assert_eq!(described(&several.to_string()).unwrap().len(), 2);
        }
    }

    #[test]
    fn before_is_now_where_it_has_a_meaning() {
        let before = |body: Value| entries(body.to_string().as_bytes()).unwrap()[0].before;
        let now = clock::now() as u64;
        for wide in [
            json!({ "issuer": "i" }),
            json!({ "issuer": "i", "sub": "u" }),
        ] {
            assert!(before(wide).is_some_and(|before| before.abs_diff(now) <= 1));
        }
        for narrow in [json!({ "issuer": "i", "jti": "t" }), json!({ "key": "k" })] {
            assert_eq!(before(narrow), None);
        }
        assert_eq!(before(json!({ "issuer": "i", "before": 7.9 })), Some(7));
    }

    #[test]
    fn what_is_no_entry() {
        for (body, expected) in [
            ("", "the body is not JSON (line 1, column 0)"),
            ("[]", "the body must be a JSON object"),
            ("{}", "it names no issuer, key or certificate"),
            (r#"{"jti": "x"}"#, "jti needs an issuer"),
            (
                r#"{"sub": "x", "key": "k"}"#,
                "it names more than one thing",
            ),
            (
                r#"{"issuer": "i", "jti": "x", "sub": "y"}"#,
                "it names more than one thing",
            ),
            (
                r#"{"issuer": "i", "key": "k"}"#,
                "it names more than one thing",
            ),
            (r#"{"issuer": "i", "jti": ""}"#, "jti is empty"),
            (r#"{"issuer": ""}"#, "issuer is empty"),
            (
                r#"{"issuer": "i", "jti": "x", "issuer": "j"}"#,
                "the body names a member twice",
            ),
            (
                r#"{"revocations": [{"key": "k", "key": "l"}]}"#,
                "the body names a member twice",
            ),
            (r#"{"issuer": 7}"#, "issuer must be a string"),
            (r#"{"issuer": null}"#, "issuer must be a string"),
            (r#"{"key": "k", "before": 7}"#, "before needs an issuer"),
            (r#"{"issuer": "i", "until": 7}"#, "until has passed"),
            (
                r#"{"issuer": "i", "before": "x"}"#,
                "before must be a time in seconds since 1970",
            ),
            (
                r#"{"issuer": "i", "before": 1795860074000}"#,
                "before must be a time in seconds since 1970: this looks like milliseconds",
            ),
            (
                r#"{"issuer": "i", "until": 1795860074000}"#,
                "until must be a time in seconds since 1970: this looks like milliseconds",
            ),
            (
                r#"{"key": "k", "reason": "stolen"}"#,
                "unknown member \"reason\"; use issuer with jti, sid, sub, client_id or nothing \
                 more, or key, or certificate; and before, until",
            ),
            (
                r#"{"certificate": "ab"}"#,
                "certificate is not a SHA-256 in hexadecimal digits",
            ),
            (
                r#"{"revocations": []}"#,
                "revocations must be a non-empty array",
            ),
            (
                r#"{"revocations": [{"key": "k"}, {"sid": "s"}]}"#,
                "revocations[1]: sid needs an issuer",
            ),
            (
                r#"{"revocations": [7]}"#,
                "revocations[0]: must be a JSON object",
            ),
            (
                r#"{"revocations": [], "key": "k"}"#,
                "revocations must be the only member",
            ),
        ] {
            assert_eq!(described(body), Err(expected.to_owned()), "{body}");
        }
        let long = json!({ "issuer": "i", "jti": "x".repeat(1025) }).to_string();
        assert_eq!(
            described(&long),
            Err("jti must not be over 1024 bytes".to_owned())
        );
        assert!(described(r#"{"issuer": "i", "made_at": 7}"#).is_err());
    }
}
