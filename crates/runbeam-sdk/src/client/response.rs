//! Reading a response: a body of bounded size, and what of an error is kept.

use std::time::{Duration, SystemTime};

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue};
use jiff::fmt::rfc2822;
use reqwest::Response;
use serde_json::Value;

use super::request::Request;
use crate::error::RunbeamError;
use crate::origin::printable;

/// The largest response that is read, in bytes.
const BODY_LIMIT: usize = 1024 * 1024;
/// The longest message of the cloud that is kept, in characters.
const MESSAGE_LIMIT: usize = 300;
/// A longer `Retry-After` counts as this.
const RETRY_AFTER_LIMIT: Duration = Duration::from_secs(3600);

/// The body, unless it is too large.
pub(super) async fn read(
    request: &Request,
    mut response: Response,
) -> Result<Vec<u8>, RunbeamError> {
    let too_large = || request.malformed("is larger than 1 MiB".to_owned());
    if response
        .content_length()
        .is_some_and(|length| length > BODY_LIMIT as u64)
    {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| request.network_error(&error.without_url()))?
    {
        if body.len() + chunk.len() > BODY_LIMIT {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The cloud's message about an error, fit for a log: without the token, should it repeat that.
pub(super) fn message(body: &[u8], authorization: &HeaderValue) -> String {
    let response: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = response
        .get("message")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let token = authorization
        .to_str()
        .ok()
        .and_then(|text| text.strip_prefix("Bearer "));
    match token {
        Some(token) => printable(&message.replace(token, "[redacted]"), MESSAGE_LIMIT),
        None => String::new(),
    }
}

/// `Retry-After` in seconds or as a date (RFC 9110 section 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = SystemTime::from(rfc2822::parse(value).ok()?.timestamp());
            date.duration_since(SystemTime::now()).unwrap_or_default()
        }
    };
    Some(wait.min(RETRY_AFTER_LIMIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_in_both_forms() {
        let told = |value: &str| {
            let headers =
                HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(value).unwrap())]);
            retry_after(&headers).map(|wait| wait.as_secs())
        };
        let cases = [
            ("7", Some(7)),
            ("0", Some(0)),
            ("99999999", Some(3600)),
            ("-1", None),
            ("soon", None),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Some(0)),
            ("Wed, 21 Oct 2099 07:28:00 GMT", Some(3600)),
        ];
        for (value, expected) in cases {
            assert_eq!(told(value), expected, "{value}");
        }
    }

    #[test]
    fn what_the_cloud_says_is_made_fit_for_a_log() {
        let authorization = HeaderValue::from_static("Bearer 1|abc");
        let message = |body: &[u8]| message(body, &authorization);
        assert_eq!(
            message(br#"{"message":"no\r\n\u001b[31m way"}"#),
            "no[31m way"
        );
        assert_eq!(
            message(br#"{"message":"1|abc is unknown"}"#),
            "[redacted] is unknown"
        );
        assert_eq!(message(b"<html>"), "");
        assert_eq!(message(br#"{"message":7}"#), "");
        let long = format!(r#"{{"message":"{}"}}"#, "x".repeat(10_000));
        assert_eq!(message(long.as_bytes()).len(), MESSAGE_LIMIT);
    }
}
