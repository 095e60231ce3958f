//! The request id: the client's where it is trusted, else a new one.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::common::write_hex;

/// Towards the upstream and back to the client.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The same as Pingora takes it without a copy.
pub(crate) const X_REQUEST_ID_TITLE_CASE: &str = "X-Request-Id";

/// The id that a trusted peer gave the request, if it is fit to be logged.
pub(crate) fn from_trusted_peer(headers: &HeaderMap) -> Option<HeaderValue> {
    headers
        .get(X_REQUEST_ID)
        .filter(|id| {
            (1..=128).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
        })
        .cloned()
}

/// 128 random bits in hexadecimal digits.
pub(crate) fn random() -> Option<HeaderValue> {
    let mut text = [0; 32];
    write_hex(&mut text, &fastrand::u128(..).to_be_bytes());
    HeaderValue::from_bytes(&text).ok()
}
