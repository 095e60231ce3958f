//! The head of a response, on its way from the upstream to the client.

use std::time::Duration;

use http::header::{self, HeaderValue};
use http::response::Parts;
use http::{HeaderMap, Method, Response, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};

use super::attempt::Attempt;
use super::{error, failure};
use crate::auth::DPOP_NONCE;
use crate::proxy::request::context::Context;
use crate::proxy::request::field_removal::remove_fields;
use crate::proxy::request::id::X_REQUEST_ID;
use crate::proxy::request::{header_rules, hop_by_hop};

/// How many interim responses of one exchange reach the client. More would inform nobody.
const MAX_INTERIM: u8 = 16;

/// What becomes of the head of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FilteredHead {
    /// It goes no further: an interim response that this client did not ask for, or cannot read.
    Dropped,
    /// It informs; the response is still to come.
    Interim,
    /// It is the response's. `close_delimited`: its body has no other end than that of the
    /// connection.
    Final { close_delimited: bool },
}

/// Makes the head of an upstream's response what the client gets, and takes note of it. `last`: no
/// body follows. `switches`: both sides asked for another protocol.
pub(super) fn filter_response(
    head: &mut ResponseHeader,
    last: bool,
    switches: bool,
    request: &RequestHeader,
    attempt: &mut Attempt,
    ctx: &Context,
) -> pingora::Result<FilteredHead> {
    let switch = head.status == StatusCode::SWITCHING_PROTOCOLS;
    if switch && !(switches && head.version == Version::HTTP_11) {
        // The client would read on for another response: the upstream could make up whole ones.
        return Err(error::invalid_response(
            "its response switches protocols, which nobody asked for",
        ));
    }
    let interim = head.status.is_informational() && !switch;
    // What has no body has no end either that two could see in different places.
    if !head.status.is_informational()
        && let Some(fault) = framing_fault(&head.headers)
    {
        return Err(error::invalid_response(fault));
    }
    // One with a frame breaks RFC 9110 section 8.6, and who knows how the client would read it.
    if interim && (is_framed(&head.headers) || !is_wanted(head.status, request, attempt)) {
        return Ok(FilteredHead::Dropped);
    }
    // Without the spellings that Pingora keeps of every name, as in `upstream_request::build`.
    let empty = Response::new(()).into_parts().0;
    let mut parts: Parts = std::mem::replace(head, empty.into()).into();
    strip_hop_by_hop(&mut parts);
    // Whatever the upstream speaks: the version is that of our own message (RFC 9110 section 2.5).
    parts.version = Version::HTTP_11;
    let mut filtered = FilteredHead::Interim;
    if interim {
        header_rules::clear_part_of_answer(&mut parts.headers, ctx);
    } else {
        failure::record_outcome(ctx, parts.status);
        attempt.mark_head_arrived();
        let mut close_delimited = false;
        if switch {
            let upgrade = HeaderValue::from_static("upgrade");
            parts.headers.insert(header::CONNECTION, upgrade);
        } else if last || is_bodiless(&request.method, parts.status) {
            attempt.mark_response_complete();
        } else {
            close_delimited = !frame(&mut parts.headers, request.version);
        }
        add_own_fields(&mut parts.headers, ctx);
        header_rules::change_answer(&mut parts.headers, &request.headers, ctx);
        filtered = FilteredHead::Final { close_delimited };
    }
    *head = parts.into();
    Ok(filtered)
}

/// Whether the client gets this interim response: a client of HTTP/1.0 would take it for the answer
/// (RFC 9110 section 15.2), and 100 is for those that wait for it.
fn is_wanted(status: StatusCode, request: &RequestHeader, attempt: &mut Attempt) -> bool {
    let expects = || {
        let mut expected = request.headers.get_all(header::EXPECT).iter();
        expected.any(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    };
    let count = attempt.count_interim();
    request.version == Version::HTTP_11
        && count <= MAX_INTERIM
        && (status != StatusCode::CONTINUE || expects())
}

/// Gives a body that ends with the upstream's connection, or in its chunks, a frame on ours.
/// `false`: there is none that this client knows, so that it ends with the connection too.
fn frame(headers: &mut HeaderMap, client: Version) -> bool {
    if headers.contains_key(header::CONTENT_LENGTH) {
        return true;
    }
    if client < Version::HTTP_11 {
        return false;
    }
    let chunked = HeaderValue::from_static("chunked");
    headers.insert(header::TRANSFER_ENCODING, chunked);
    true
}

/// Adds to an upstream's response what the client gets from us.
fn add_own_fields(headers: &mut HeaderMap, ctx: &Context) {
    if let Some(id) = &ctx.request_id {
        headers.insert(X_REQUEST_ID, id.clone());
    }
    for (name, value) in ctx
        .rate_limit_fields
        .iter()
        .flat_map(|fields| fields.iter())
    {
        headers.insert(name, value.clone());
    }
    if let Some(nonce) = &ctx.dpop_nonce {
        headers.insert(DPOP_NONCE, nonce.clone());
    }
    if ctx.credential_in_query() && !is_private(headers) {
        // RFC 6750 section 2.3: the URL holds the credential, so no shared cache may keep what it
        // names.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private"));
    }
}

/// Whether no shared cache may keep the response (RFC 9111 section 5.2.2).
fn is_private(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::CACHE_CONTROL)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .any(|directive| matches!(directive.trim_ascii(), b"private" | b"no-store"))
}

/// Whether a head says how its body ends.
fn is_framed(headers: &HeaderMap) -> bool {
    let framing = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
    framing.iter().any(|name| headers.contains_key(name))
}

/// Why somebody could take the end of a response for another place than we do: more than one plain
/// length, or an encoding other than `chunked`, which is all that we ask for. `None`: nobody could.
fn framing_fault(headers: &HeaderMap) -> Option<&'static str> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    if let Some(length) = lengths.next() {
        if lengths.next().is_some() {
            return Some("its response has more than one Content-Length");
        }
        if length.is_empty() || !length.as_bytes().iter().all(u8::is_ascii_digit) {
            return Some(error::BAD_LENGTH);
        }
    }
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let encoding = encodings.next()?;
    if encodings.next().is_some() {
        return Some("its response has more than one Transfer-Encoding");
    }
    let plain = encoding.as_bytes().eq_ignore_ascii_case(b"chunked");
    (!plain).then_some("its response has a Transfer-Encoding other than chunked")
}

/// Whether nothing follows the head of the response, whatever it says (RFC 9112 section 6.3).
pub(crate) fn is_bodiless(method: &Method, status: StatusCode) -> bool {
    *method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// How long a connection has to show that no body comes behind a response that has none. Some
/// servers send one, and nobody else may take it for a response. Most likely are those that make a
/// body and know of none to leave out: for HEAD, or where the head tells of it.
pub(super) fn trial_behind(method: &Method, head: &ResponseHeader) -> Duration {
    const LIKELY: Duration = Duration::from_secs(2);
    const UNLIKELY: Duration = Duration::from_millis(250);
    let headers = &head.headers;
    let length = headers.get(header::CONTENT_LENGTH);
    let tells_of_body = headers.contains_key(header::TRANSFER_ENCODING)
        || length.is_some_and(|length| length.as_bytes() != b"0");
    match is_bodiless(method, head.status) {
        false => Duration::ZERO,
        true if *method == Method::HEAD || tells_of_body => LIKELY,
        true => UNLIKELY,
    }
}

/// Removes what concerns only the connection to the upstream, and what its `Connection` names: it
/// is meant for us alone (RFC 9110 section 7.6.1). The frame of a body is ours to make; its length
/// stays, except where there is no body that it could be of (RFC 9110 section 8.6). `Upgrade` stays
/// in a switch of protocols, and where it says what the client should ask for (RFC 9110 section
/// 15.5.22).
fn strip_hop_by_hop(parts: &mut Parts) {
    let (status, headers) = (parts.status, &mut parts.headers);
    let upgrades = matches!(
        status,
        StatusCode::SWITCHING_PROTOCOLS | StatusCode::UPGRADE_REQUIRED
    );
    hop_by_hop::strip(headers, |name| {
        *name == header::CONTENT_LENGTH || upgrades && *name == header::UPGRADE
    });
    if status.is_informational() || status == StatusCode::NO_CONTENT {
        remove_fields(headers, |name| *name == header::CONTENT_LENGTH);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let fields = fields.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        let mut headers = HeaderMap::new();
        fields.for_each(|(name, value)| {
            headers.append(name, value);
        });
        headers
    }

    #[test]
    fn what_two_could_read_differently_is_named() {
        let fault = |fields: &[(&'static str, &'static str)]| framing_fault(&map(fields));
        assert_eq!(fault(&[]), None);
        assert_eq!(fault(&[("content-length", "5")]), None);
        assert_eq!(fault(&[("transfer-encoding", "Chunked")]), None);
        for value in ["", "+5", "5, 5", "0x5", "-1"] {
            assert_eq!(
                fault(&[("content-length", value)]),
                Some(error::BAD_LENGTH),
                "{value}"
            );
        }
        for (name, named) in [
            ("content-length", "Content-Length"),
            ("transfer-encoding", "Transfer-Encoding"),
        ] {
            let value = if name == "content-length" {
                "5"
            } else {
                "chunked"
            };
            let told = fault(&[(name, value), (name, value)]);
            assert!(told.is_some_and(|told| told.contains(named)), "{told:?}");
        }
        let told = fault(&[("transfer-encoding", "gzip, chunked")]);
        assert!(
            told.is_some_and(|told| told.contains("Transfer-Encoding")),
            "{told:?}"
        );
    }

    #[test]
    fn only_what_goes_on_is_left() {
        let fields = [
            ("connection", "Upgrade, X-Mine"),
            ("upgrade", "h2c"),
            ("x-mine", "1"),
            ("keep-alive", "max=1"),
            ("proxy-connection", "close"),
            ("te", "x"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("content-length", "1"),
            ("x-other", "1"),
        ];
        for (status, left) in [
            (101, &["upgrade", "x-other"][..]),
            (103, &["x-other"]),
            (200, &["content-length", "x-other"]),
            (204, &["x-other"]),
            (304, &["content-length", "x-other"]),
            (426, &["content-length", "upgrade", "x-other"]),
            (502, &["content-length", "x-other"]),
        ] {
            let mut parts = Response::new(()).into_parts().0;
            parts.status = StatusCode::from_u16(status).unwrap();
            parts.headers = map(&fields);
            strip_hop_by_hop(&mut parts);
            let mut names: Vec<_> = parts.headers.keys().map(HeaderName::as_str).collect();
            names.sort_unstable();
            assert_eq!(names, left, "{status}");
        }
    }
}
