//! The body of a call: read within its limits, and taken apart field by field.
//!
//! An error names the field and never shows its value.

use std::time::Duration;

use http::{StatusCode, header};
use jose::strict_json;
use pingora::protocols::http::ServerSession;
use serde_json::{Map, Value};
use tokio::time::timeout;
use zeroize::{Zeroize, Zeroizing};

use super::response::ApiResponse;
use crate::listener::{DrainLimits, drain_body};

/// Largest body that is read.
const MAX_BODY: usize = 1024 * 1024;
/// How long the whole body may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much of a refused body is read and discarded.
const DRAIN: DrainLimits = DrainLimits {
    total: Duration::from_secs(2),
    pause: Duration::from_secs(2),
    size: 16 * MAX_BODY,
};

/// Reads the body within its limit; one that is there must say that it is JSON, which no form on a
/// web page can.
pub(super) async fn read(session: &mut ServerSession) -> Result<Zeroizing<Vec<u8>>, ApiResponse> {
    let too_large = || ApiResponse::error(StatusCode::PAYLOAD_TOO_LARGE, "the body is over 1 MiB");
    let announced = session
        .get_header(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > MAX_BODY) {
        drain(session).await;
        return Err(too_large());
    }
    if expects_continue(session) && session.write_continue_response().await.is_err() {
        return Err(incomplete(session));
    }
    let mut body = Zeroizing::new(Vec::with_capacity(announced.unwrap_or_default()));
    let whole = timeout(PATIENCE, async {
        while let Some(bytes) = session.read_request_body().await? {
            if body.len() + bytes.len() > MAX_BODY {
                return Ok(false);
            }
            body.extend_from_slice(&bytes);
        }
        Ok::<bool, pingora::BError>(true)
    })
    .await;
    match whole {
        Ok(Ok(true)) if !body.is_empty() && !is_json(session) => Err(ApiResponse::error(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body must be application/json",
        )),
        Ok(Ok(true)) => Ok(body),
        Ok(Ok(false)) => {
            drain(session).await;
            Err(too_large())
        }
        Ok(Err(_)) | Err(_) => Err(incomplete(session)),
    }
}

/// Leaves the connection in a defined state after a call that was refused before its body was read.
pub(super) async fn drain(session: &mut ServerSession) {
    if session.is_body_done() {
        return;
    }
    // A client that waits for our leave to send its body will not send it now.
    let drained = !expects_continue(session) && drain_body(session, DRAIN).await;
    if !drained || !session.is_body_done() {
        session.set_keepalive(None);
    }
}

fn incomplete(session: &mut ServerSession) -> ApiResponse {
    session.set_keepalive(None);
    ApiResponse::error(
        StatusCode::BAD_REQUEST,
        "the body ended early or took over 10 s",
    )
}

fn is_json(session: &ServerSession) -> bool {
    session
        .get_header(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .and_then(|kind| kind.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn expects_continue(session: &ServerSession) -> bool {
    session
        .get_header(header::EXPECT)
        .is_some_and(|expected| expected.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// The members of the JSON object that a body is, none of them named twice.
pub(super) fn object(body: &[u8]) -> Result<Map<String, Value>, ApiResponse> {
    strict_json::object(body).ok_or_else(|| match serde_json::from_slice(body) {
        Ok(Value::Object(_)) => bad("the body names a member twice"),
        Ok(_) => bad("the body must be a JSON object"),
        Err(error) => bad(&format!(
            "the body is not JSON (line {}, column {})",
            error.line(),
            error.column()
        )),
    })
}

/// Refuses members other than these.
pub(super) fn refuse_unknown(
    members: &Map<String, Value>,
    known: &[&str],
) -> Result<(), ApiResponse> {
    match members.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let name: String = name.chars().take(64).collect();
            let known = known.join(" and ");
            Err(bad(&format!("unknown member {name:?}; there are {known}")))
        }
    }
}

/// The members of a JSON object. They may be secrets, and are zeroed when it is dropped.
pub(super) struct Fields(Map<String, Value>);

impl Drop for Fields {
    fn drop(&mut self) {
        for (_, value) in &mut self.0 {
            if let Value::String(text) = value {
                text.zeroize();
            }
        }
    }
}

impl Fields {
    /// Takes a body apart.
    pub(super) fn parse(body: &[u8]) -> Result<Self, ApiResponse> {
        object(body).map(Self)
    }

    /// Refuses members other than these.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), ApiResponse> {
        refuse_unknown(&self.0, known)
    }

    /// A string that must be there: 1 to `max` bytes, visible ASCII.
    pub(super) fn token(&self, name: &str, max: usize) -> Result<&str, ApiResponse> {
        let text = self.text(name, max)?;
        if text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(text);
        }
        Err(bad(&format!(
            "{name} must hold visible ASCII characters only"
        )))
    }

    /// A string that must be there: 1 to `max` bytes, without control characters.
    pub(super) fn text(&self, name: &str, max: usize) -> Result<&str, ApiResponse> {
        self.optional_text(name, max)?
            .ok_or_else(|| bad(&format!("{name} is missing")))
    }

    /// The same; absent or null: `None`.
    pub(super) fn optional_text(
        &self,
        name: &str,
        max: usize,
    ) -> Result<Option<&str>, ApiResponse> {
        let text = self.optional_lines(name, max)?;
        match text {
            Some(text) if text.contains(char::is_control) => {
                Err(bad(&format!("{name} must not hold control characters")))
            }
            text => Ok(text),
        }
    }

    /// The same; several lines are allowed, as a key file has them.
    pub(super) fn optional_lines(
        &self,
        name: &str,
        max: usize,
    ) -> Result<Option<&str>, ApiResponse> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => {
                Err(bad(&format!("{name} must not be empty")))
            }
            Some(Value::String(text)) if text.len() > max => {
                Err(bad(&format!("{name} must not be over {max} bytes")))
            }
            Some(Value::String(text))
                if text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) =>
            {
                Err(bad(&format!("{name} must not hold control characters")))
            }
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(bad(&format!("{name} must be a string"))),
        }
    }

    /// An array of strings; absent or null: empty.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>, ApiResponse> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(items)) => pieces(name, items.iter().map(|item| (None, item))),
            Some(_) => Err(bad(&format!("{name} must be an array of strings"))),
        }
    }

    /// An array of strings, or an object, whose members become `name=value`; absent or null:
    /// `None`.
    pub(super) fn texts_or_pairs(&self, name: &str) -> Result<Option<Vec<String>>, ApiResponse> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(members)) => {
                let members = members.iter().map(|(key, value)| (Some(&**key), value));
                pieces(name, members).map(Some)
            }
            Some(Value::Array(_)) => self.texts(name).map(Some),
            Some(_) => Err(bad(&format!("{name} must be an array or an object"))),
        }
    }
}

/// Most entries of an array, and most bytes of one.
const MAX_PIECES: usize = 100;
const MAX_PIECE: usize = 1024;

fn pieces<'v>(
    name: &str,
    items: impl ExactSizeIterator<Item = (Option<&'v str>, &'v Value)>,
) -> Result<Vec<String>, ApiResponse> {
    if items.len() > MAX_PIECES {
        return Err(bad(&format!(
            "{name} must not have over {MAX_PIECES} entries"
        )));
    }
    items
        .enumerate()
        .map(|(place, (key, value))| {
            let value = match value {
                Value::String(text) => text.clone(),
                Value::Number(_) | Value::Bool(_) if key.is_some() => value.to_string(),
                _ => return Err(bad(&format!("{name}[{place}] must be a string"))),
            };
            let piece = match key {
                Some(key) => format!("{key}={value}"),
                None => value,
            };
            if piece.len() > MAX_PIECE || piece.contains(char::is_control) {
                return Err(bad(&format!(
                    "{name}[{place}] must be at most {MAX_PIECE} bytes without control characters"
                )));
            }
            Ok(piece)
        })
        .collect()
}

/// 400, saying what is wrong.
pub(super) fn bad(message: &str) -> ApiResponse {
    ApiResponse::error(StatusCode::BAD_REQUEST, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(body: &str) -> Fields {
        Fields::parse(body.as_bytes())
            .map_err(|answer| answer.message)
            .unwrap()
    }

    #[test]
    fn a_body_that_is_no_object_is_refused() {
        for (body, expected) in [
            ("", "the body is not JSON (line 1, column 0)"),
            ("{\"secret", "the body is not JSON (line 1, column 8)"),
            ("[]", "the body must be a JSON object"),
            (
                "{\"a\": 1, \"\\u0061\": 2}",
                "the body names a member twice",
            ),
            (
                "{\"a\": [{\"b\": 1, \"b\": 1}]}",
                "the body names a member twice",
            ),
        ] {
            let refused = Fields::parse(body.as_bytes()).err().unwrap();
            assert_eq!(refused.message, expected);
            assert_eq!(refused.status, 400);
        }
        let deep = "[".repeat(100_000);
        assert!(Fields::parse(deep.as_bytes()).is_err());
    }

    #[test]
    fn a_string_is_checked_and_its_field_named() {
        for (value, expected) in [
            ("7", "a must be a string"),
            ("\"\"", "a must not be empty"),
            ("\"123456789\"", "a must not be over 8 bytes"),
            ("\"x\\ny\"", "a must not hold control characters"),
            ("\"x\\u0000\"", "a must not hold control characters"),
            ("null", "a is missing"),
        ] {
            let fields = fields(&format!("{{\"a\": {value}}}"));
            let message = fields.text("a", 8).unwrap_err().message;
            assert_eq!(message, expected);
        }
        assert_eq!(fields("{\"a\": \"é x\"}").text("a", 8).ok(), Some("é x"));
        let spaced = fields("{\"a\": \"é x\"}");
        assert!(spaced.token("a", 8).unwrap_err().message.contains("ASCII"));
        let lines = fields("{\"a\": \"x\\ny\"}");
        assert_eq!(lines.optional_lines("a", 8).ok().flatten(), Some("x\ny"));
    }

    #[test]
    fn metadata_is_an_array_or_an_object() {
        let told = |body: &str| {
            let fields = fields(&format!("{{\"m\": {body}}}"));
            fields.texts_or_pairs("m").map_err(|answer| answer.message)
        };
        let list = |items: &[&str]| Ok(Some(items.iter().map(|&item| item.to_owned()).collect()));
        assert_eq!(told("null"), Ok(None));
        assert_eq!(told("[\"a\", \"b\"]"), list(&["a", "b"]));
        assert_eq!(
            told("{\"version\": \"1\", \"up\": true}"),
            list(&["up=true", "version=1"])
        );
        assert_eq!(told("\"x\""), Err("m must be an array or an object".into()));
        assert_eq!(told("[1]"), Err("m[0] must be a string".into()));
        assert_eq!(told("{\"a\": {}}"), Err("m[0] must be a string".into()));
        let many = format!("[{}\"x\"]", "\"x\",".repeat(100));
        assert_eq!(told(&many), Err("m must not have over 100 entries".into()));
    }
}
