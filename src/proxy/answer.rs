//! Header fields of an upstream's answer, on their way to the client.

use http::header::{self, HeaderName, HeaderValue};
use http::response::Parts;
use http::{HeaderMap, Method, Response, StatusCode, Version};
use pingora::http::ResponseHeader;

use super::context::Context;
use super::failure;
use super::headers::X_REQUEST_ID;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Makes the head of an upstream's answer what the client gets, and takes note of it. `last`: no
/// body follows. `switches`: both sides asked for another protocol.
pub(super) fn pass(
    head: &mut ResponseHeader,
    last: bool,
    switches: bool,
    asked: &Method,
    ctx: &mut Context,
) -> pingora::Result<()> {
    if !is_framed_plainly(&head.headers) {
        return Err(failure::invalid_response("framing"));
    }
    let switch = head.status == StatusCode::SWITCHING_PROTOCOLS;
    if switch && !(switches && head.version == Version::HTTP_11) {
        // The client would read on for another response: the upstream could make up whole ones.
        return Err(failure::invalid_response(
            "a switch of protocols that nobody asked for",
        ));
    }
    // Without the spellings that Pingora keeps of every name, as in `target::request`.
    let empty = Response::new(()).into_parts().0;
    let mut parts: Parts = std::mem::replace(head, empty.into()).into();
    strip_hop_by_hop(&mut parts.headers);
    if switch || !parts.status.is_informational() {
        failure::judge(ctx, parts.status);
        ctx.answered = true;
        if last || is_bodiless(asked, &parts) {
            ctx.rest();
        } else {
            frame(&mut parts);
        }
        complete(&mut parts.headers, ctx);
    }
    *head = parts.into();
    Ok(())
}

/// A body that ends with its connection has a frame on ours, which goes on.
fn frame(parts: &mut Parts) {
    let framed = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
    let framed = framed.iter().any(|name| parts.headers.contains_key(name));
    if !framed && parts.status != StatusCode::SWITCHING_PROTOCOLS {
        parts.version = Version::HTTP_11;
        let chunked = HeaderValue::from_static("chunked");
        parts.headers.insert(header::TRANSFER_ENCODING, chunked);
    }
}

/// Adds to an upstream's answer what the client gets from us.
fn complete(headers: &mut HeaderMap, ctx: &Context) {
    if let Some(id) = &ctx.request_id {
        headers.insert(X_REQUEST_ID, id.clone());
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

/// Whether nobody can take the end of a response for another place than we do: at most one plain
/// length, and no encoding but `chunked`, which is all that we ask for.
fn is_framed_plainly(headers: &HeaderMap) -> bool {
    let one = |name: HeaderName, is_plain: fn(&[u8]) -> bool| {
        let mut values = headers.get_all(name).iter();
        let plain = values.next().is_none_or(|value| is_plain(value.as_bytes()));
        plain && values.next().is_none()
    };
    one(header::CONTENT_LENGTH, |length| {
        !length.is_empty() && length.iter().all(u8::is_ascii_digit)
    }) && one(header::TRANSFER_ENCODING, |encoding| {
        encoding.eq_ignore_ascii_case(b"chunked")
    })
}

/// Whether nothing follows the head of the response (RFC 9112 section 6.3).
fn is_bodiless(asked: &Method, response: &Parts) -> bool {
    *asked == Method::HEAD
        || matches!(
            response.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        )
        || response
            .headers
            .get(header::CONTENT_LENGTH)
            .is_some_and(|length| length.as_bytes() == b"0")
}

/// Removes what concerns only the connection to the upstream, and what its `Connection` names: it
/// is meant for us alone (RFC 9110 section 7.6.1). Framing is not its to drop.
fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let is_ours = |name: &HeaderName| [KEEP_ALIVE, PROXY_CONNECTION].contains(name);
    while let Some(name) = headers.keys().find(|name| is_ours(name)).cloned() {
        headers.remove(name);
    }
    let usual = |value: &HeaderValue| matches!(value.as_bytes(), b"keep-alive" | b"close");
    if headers.get_all(header::CONNECTION).iter().all(usual) {
        return;
    }
    let kept = [
        header::CONNECTION,
        header::UPGRADE,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
    ];
    let nominated: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| !kept.contains(name))
        .collect();
    for name in nominated {
        headers.remove(name);
    }
}
