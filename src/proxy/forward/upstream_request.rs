//! The request that the upstream gets, and its target.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{Method, Request, Version};
use percent_encoding::{AsciiSet, percent_encode};
use pingora::http::RequestHeader;
use pingora_proxy::Session;

use super::headers;
use super::stripped_credentials::forwarded_query;
use crate::gateway::Upstream;
use crate::proxy::request::context::Context;
use crate::proxy::request::field_removal::remove_fields;

/// The client's request as an upstream gets it. `None`: no upstream gets it, so it keeps its
/// target. `version`: the one that is spoken to the upstream.
pub(crate) fn build(
    session: &mut Session,
    ctx: &Context,
    upstream: Option<&Upstream>,
    version: Version,
) -> pingora::Result<RequestHeader> {
    let has_body = !session.is_body_empty();
    // Without the spellings that Pingora keeps of every name, as in `head::take_parts`.
    let mut parts = session.req_header().as_owned_parts();
    headers::rewrite(&mut parts, ctx, upstream);
    parts.version = version;
    if version == Version::HTTP_11 {
        frame(&mut parts, has_body);
    }
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

/// Says where the body ends, and that there is none: over HTTP/2, the end of the stream does. That
/// trailers are taken concerns this connection alone (RFC 9110 section 10.1.4).
fn frame(parts: &mut Parts, has_body: bool) {
    if parts.headers.contains_key(TE) {
        let te = HeaderValue::from_static("TE");
        parts.headers.insert(CONNECTION, te);
    }
    if parts.headers.contains_key(CONTENT_LENGTH) {
        return;
    }
    if has_body {
        let chunked = HeaderValue::from_static("chunked");
        parts.headers.insert(TRANSFER_ENCODING, chunked);
    } else if takes_body(&parts.method) {
        // Some servers answer 411 without it, and some wait (RFC 9110 section 8.6).
        let none = HeaderValue::from_static("0");
        parts.headers.insert(CONTENT_LENGTH, none);
    }
}

/// The same request over HTTP/2 (RFC 9113 section 8.3.1).
pub(super) fn into_http2(head: RequestHeader, tls: bool) -> Request<()> {
    // What is no UTF-8, in a query, has no place in a URI, nor in HTTP/2.
    let raw = (!head.raw_path_is_utf8()).then(|| escape(head.raw_path()));
    let mut parts: Parts = head.into();
    let mut uri = parts.uri.into_parts();
    if let Some(target) = raw {
        uri.path_and_query = PathAndQuery::from_maybe_shared(Bytes::from(target)).ok();
    }
    uri.scheme = Some(if tls { Scheme::HTTPS } else { Scheme::HTTP });
    let host = parts.headers.get(HOST).map(HeaderValue::as_bytes);
    uri.authority = host.and_then(|host| Authority::try_from(host).ok());
    let named = uri.authority.is_some();
    if !named {
        // Nothing but a path: then `Host` says where.
        uri.scheme = None;
    }
    remove_fields(&mut parts.headers, |name| {
        *name == CONNECTION || *name == UPGRADE || named && *name == HOST
    });
    parts.uri = Uri::from_parts(uri).unwrap_or_default();
    Request::from_parts(parts, ())
}

/// What is no ASCII, in percent-encoding.
fn escape(target: &[u8]) -> String {
    const NONE: AsciiSet = AsciiSet::EMPTY;
    percent_encode(target, &NONE).to_string()
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
        [&upstream.url.base_path, &endpoint.add_prefix],
        prefix,
        path,
        forwarded_query(ctx).as_deref(),
    )))
}

/// The backend's own path and the endpoint's `add_prefix`, what follows the prefix, and the query
/// byte for byte.
pub(crate) fn target(bases: [&str; 2], prefix: &str, path: &str, query: Option<&[u8]>) -> Vec<u8> {
    let [base, added] = bases.map(|base| base.strip_suffix('/').unwrap_or(base));
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    let rest = path.strip_prefix(prefix).unwrap_or(path);
    let query_length = query.map_or(0, <[u8]>::len);
    let mut target = Vec::with_capacity(base.len() + added.len() + rest.len() + query_length + 2);
    target.extend_from_slice(base.as_bytes());
    target.extend_from_slice(added.as_bytes());
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
            let query = query.map(str::as_bytes);
            let plain = target([base, "/"], prefix, path, query);
            let row = format!("{base} {prefix} {path}");
            assert_eq!(String::from_utf8_lossy(&plain), expected, "{row}");
            let added = target(["/", base], prefix, path, query);
            assert_eq!(String::from_utf8_lossy(&added), expected, "added: {row}");
        }
        assert_eq!(
            target(["/base", "/v1"], "/api", "/api/x", None),
            b"/base/v1/x"
        );
        assert_eq!(
            target(["/base", "/v1"], "", "/api/x", None),
            b"/base/v1/api/x"
        );
    }
}
