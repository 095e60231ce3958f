//! Bearer tokens: who gets in, and what everybody else is told.

mod attacks;
mod bodies;
mod groups;
mod key_sources;
mod leeway;
mod outcomes;
mod protocols;

use crate::support::Response;

/// The challenge of a route that wants a token, when none came.
const CHALLENGE: &str = r#"Bearer realm="harmony""#;

/// The same when the token was refused.
const INVALID: &str = r#"Bearer realm="harmony", error="invalid_token""#;

/// What every denial has in common, whatever its status: JSON that says little, and that nobody may
/// store.
#[track_caller]
pub fn assert_generic_denial(row: &str, response: &Response) {
    assert_eq!(response.field("cache-control"), Some("no-store"), "{row}: Cache-Control");
    let content_type = response.field("content-type").unwrap_or_default();
    assert!(content_type.starts_with("application/json"), "{row}: Content-Type {content_type:?}");
    assert!(response.complete, "{row}: the body ends where it said it would");
    assert_eq!(
        response.field("content-length"),
        Some(response.body.len().to_string().as_str()),
        "{row}: Content-Length"
    );
    let body = response.json();
    for member in ["error", "message"] {
        assert!(
            body[member].as_str().is_some_and(|text| !text.is_empty()),
            "{row}: {member} in {body}"
        );
    }
    assert!(
        !response.head.has("server")
            || !response.field("server").unwrap().contains(|c: char| c.is_ascii_digit()),
        "{row}: no version of the server"
    );
}
