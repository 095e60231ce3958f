//! The request that the upstream gets, and its target.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, TE, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{Method, Version};
use pingora::http::RequestHeader;
use pingora_proxy::Session;

use super::headers;
use super::stripped_credentials::forwarded_query;
use crate::gateway::Upstream;
use crate::proxy::request::context::Context;

/// The client's request as an upstream gets it. `None`: no upstream gets it, so it keeps its
/// target.
pub(crate) fn build(
    session: &mut Session,
    ctx: &Context,
    upstream: Option<&Upstream>,
) -> pingora::Result<RequestHeader> {
    let has_body = !session.is_body_empty();
    // Without the spellings that Pingora keeps of every name, as in `head::take_parts`.
    let mut parts = session.req_header().as_owned_parts();
    headers::rewrite(&mut parts, ctx, upstream);
    if has_body && !parts.headers.contains_key(CONTENT_LENGTH) {
        let chunked = HeaderValue::from_static("chunked");
        parts.headers.insert(TRANSFER_ENCODING, chunked);
    }
    // Over HTTP/2, a request says that it has no body by ending with its head. Over HTTP/1.1, a
    // method that has a use for one says so by its length (RFC 9110 section 8.6): some servers
    // answer 411, and some wait.
    if !has_body && takes_body(&parts.method) && !parts.headers.contains_key(CONTENT_LENGTH) {
        parts
            .headers
            .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    if parts.headers.contains_key(TE) {
        // RFC 9110 section 10.1.4.
        parts
            .headers
            .insert(CONNECTION, HeaderValue::from_static("TE"));
    }
    parts.version = Version::HTTP_11;
    let Some(target) = target_of(ctx, upstream) else {
        return Ok(parts.into());
    };
    match PathAndQuery::from_maybe_shared(target.clone()) {
        Ok(target) => {
            parts.uri = target.into();
            Ok(parts.into())
        }
        // Not UTF-8, in its query: Pingora keeps such a one beside the URI.
        Err(_) => {
            let mut request = RequestHeader::from(parts);
            request.set_raw_path(&target)?;
            Ok(request)
        }
    }
}

/// Whether a body is what the method is about (RFC 9110 section 9.3, RFC 5789).
fn takes_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// `None`: no upstream gets the request.
fn target_of(ctx: &Context, upstream: Option<&Upstream>) -> Option<Bytes> {
    let (upstream, route, path) = (upstream?, ctx.route.as_ref()?, ctx.path.as_ref()?);
    let endpoint = &route.endpoint;
    let prefix = match endpoint.strip_prefix {
        true => endpoint.path_prefix.as_str(),
        false => "",
    };
    Some(Bytes::from(target(
        &upstream.url.base_path,
        prefix,
        path,
        forwarded_query(ctx).as_deref(),
    )))
}

/// The backend's own path, what follows the prefix, and the query byte for byte.
pub(crate) fn target(base: &str, prefix: &str, path: &str, query: Option<&[u8]>) -> Vec<u8> {
    let base = base.strip_suffix('/').unwrap_or(base);
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    let rest = path.strip_prefix(prefix).unwrap_or(path);
    let mut target = Vec::with_capacity(base.len() + rest.len() + query.map_or(0, <[u8]>::len) + 2);
    target.extend_from_slice(base.as_bytes());
    target.extend_from_slice(rest.as_bytes());
    if target.is_empty() {
        target.push(b'/');
    }
    if let Some(query) = query {
        target.push(b'?');
        target.extend_from_slice(query);
    }
    target
}

#[cfg(test)]
mod tests {
    use super::target;

    #[test]
    fn the_upstream_sees_its_own_path_and_what_follows_the_prefix() {
        for (base, prefix, path, query, expected) in [
            ("/base", "/api", "/api/x/y", Some("q=1"), "/base/x/y?q=1"),
            ("/base", "/api", "/api", None, "/base"),
            ("/base", "/api", "/api/", None, "/base/"),
            ("/", "/api", "/api", None, "/"),
            ("/", "/api", "/api/x", Some(""), "/x?"),
            ("/", "/", "/api/x", Some("a?b"), "/api/x?a?b"),
            ("/base", "/", "/", None, "/base/"),
            ("/base", "/", "/x", None, "/base/x"),
            // the prefix is kept
            ("/", "", "/api/x", Some("q=1"), "/api/x?q=1"),
            ("/base", "", "/api", None, "/base/api"),
            ("/", "", "/", None, "/"),
        ] {
            let target = target(base, prefix, path, query.map(str::as_bytes));
            assert_eq!(
                String::from_utf8_lossy(&target),
                expected,
                "{base} {prefix} {path}"
            );
        }
    }
}
