//! What a route answers with: a status, header fields, a body. Nothing here decides anything.

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

/// A whole answer.
#[derive(Debug)]
pub(super) struct ApiResponse {
    pub(super) status: StatusCode,
    fields: Vec<(HeaderName, HeaderValue)>,
    kind: &'static str,
    body: Vec<u8>,
    /// What went wrong, for the log; empty when nothing did. Holds no secret, and neither does the
    /// body.
    pub(super) message: String,
}

impl ApiResponse {
    pub(super) fn json(status: StatusCode, value: &Value) -> Self {
        Self::text(status, "application/json", format!("{value}\n"))
    }

    /// 204, with nothing to say.
    pub(super) fn no_content() -> Self {
        Self::text(StatusCode::NO_CONTENT, "", String::new())
    }

    /// JSON with 200.
    pub(super) fn ok(value: &Value) -> Self {
        Self::json(StatusCode::OK, value)
    }

    /// Any text; `kind` is its media type.
    pub(super) fn text(status: StatusCode, kind: &'static str, text: String) -> Self {
        Self {
            status,
            fields: Vec::new(),
            kind,
            body: text.into_bytes(),
            message: String::new(),
        }
    }

    /// An error as every route answers it.
    pub(super) fn error(status: StatusCode, message: impl Into<String>) -> Self {
        Self::error_with(status, message, json!({}))
    }

    /// 401 for a token of a user or of the gateway, which `Authorization: Bearer` carries.
    pub(super) fn unauthorized(message: impl Into<String>) -> Self {
        Self::error(StatusCode::UNAUTHORIZED, message)
            .with(WWW_AUTHENTICATE, "Bearer realm=\"harmony\"")
    }

    /// An error with further members.
    pub(super) fn error_with(
        status: StatusCode,
        message: impl Into<String>,
        mut body: Value,
    ) -> Self {
        let message = message.into();
        body["error"] = status.canonical_reason().unwrap_or("Error").into();
        body["message"] = message.as_str().into();
        let mut answer = Self::json(status, &body);
        answer.message = message;
        answer
    }

    /// A header field more. A value that no header can hold is left out.
    pub(super) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.fields.push((name, value));
        }
        self
    }

    /// As HTTP has it; without its body to answer `HEAD`.
    pub(super) fn into_response(self, head: bool) -> Response<Vec<u8>> {
        let mut response = Response::builder()
            .status(self.status)
            .header(CACHE_CONTROL, "no-store");
        if self.status != StatusCode::NO_CONTENT {
            response = response
                .header(CONTENT_TYPE, self.kind)
                .header(CONTENT_LENGTH, self.body.len());
        }
        for (name, value) in self.fields {
            response = response.header(name, value);
        }
        response
            .body(if head { Vec::new() } else { self.body })
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_json_with_its_name_and_its_message() {
        let body = json!({ "errors": ["a", "b"] });
        let answer = ApiResponse::error_with(StatusCode::UNPROCESSABLE_ENTITY, "no", body)
            .with(http::header::RETRY_AFTER, "5")
            .with(http::header::ALLOW, "a\nb");
        assert_eq!(answer.message, "no");
        let response = answer.into_response(false);
        assert_eq!(response.status(), 422);
        assert_eq!(response.headers()["retry-after"], "5");
        assert!(!response.headers().contains_key("allow"));
        assert_eq!(response.headers()["cache-control"], "no-store");
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        let expected =
            json!({ "error": "Unprocessable Entity", "message": "no", "errors": ["a", "b"] });
        assert_eq!(body, expected);
    }

    #[test]
    fn head_gets_the_length_and_no_body() {
        let response = ApiResponse::ok(&json!({})).into_response(true);
        assert_eq!(response.headers()["content-length"], "3");
        assert!(response.body().is_empty());
    }
}
