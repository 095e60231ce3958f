//! Header fields on their way to the upstream: what only we know, and what must not travel.

use std::net::IpAddr;

use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method};

use super::{stripped_credentials, trailers};
use crate::auth::DPOP;
use crate::gateway::Upstream;
use crate::proxy::request::client_address::{X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO};
use crate::proxy::request::context::Context;
use crate::proxy::request::field_removal::remove_fields;
use crate::proxy::request::forwarded;
use crate::proxy::request::head::max_forwards;
use crate::proxy::request::header_rules;
use crate::proxy::request::hop_by_hop::{self, connection_options};
use crate::proxy::request::id::X_REQUEST_ID;
use crate::telemetry::access;

const X_AUTH_METHOD: HeaderName = HeaderName::from_static("x-auth-method");
const X_AUTH_SUBJECT: HeaderName = HeaderName::from_static("x-auth-subject");
/// As many fields as we add to a request.
const ADDED_FIELDS: usize = 10;

/// Makes a request that passed its steps into the one that the upstream gets. `upstream` is `None`
/// for an echo, which shows what one would get.
pub(crate) fn rewrite(request: &mut Parts, ctx: &Context, upstream: Option<&Upstream>) {
    let Parts {
        method, headers, ..
    } = request;
    headers.reserve(ADDED_FIELDS);
    strip_hop_by_hop(headers, ctx.connection.version);
    if headers.contains_key(DPOP) {
        // It is for this edge alone, used or not.
        remove_fields(headers, |name| *name == DPOP);
    }
    // What the client asked for; the same value as in its own `Host`, as a rule.
    let authority = ctx.head.as_ref().map(|head| {
        let sent = headers.get(header::HOST);
        match sent.filter(|host| host.as_bytes() == &head.authority[..]) {
            Some(same) => same.clone(),
            None => {
                let authority = value(&head.authority);
                headers.insert(header::HOST, authority.clone());
                authority
            }
        }
    });
    set_forwarded(headers, ctx, authority.as_ref());
    if let Some(upstream) = upstream
        && upstream.settings.send_upstream_host
    {
        headers.insert(header::HOST, upstream.authority.clone());
    }
    if let Some(id) = &ctx.request_id {
        headers.insert(X_REQUEST_ID, id.clone());
    }
    if let Some(context) = &ctx.trace_context {
        context.set(headers);
    }
    if let Some(route) = &ctx.route {
        stripped_credentials::strip_headers(
            headers,
            route.pipeline.credential_locations(),
            ctx.verified,
        );
    }
    if let Some(credential) = upstream.and_then(|upstream| upstream.credential.clone()) {
        headers.insert(header::AUTHORIZATION, credential);
    }
    if let Some(identity) = ctx.identity() {
        let method = HeaderValue::from_static(identity.method().as_str());
        headers.insert(X_AUTH_METHOD, method);
        if let Some(subject) = identity.subject() {
            headers.insert(X_AUTH_SUBJECT, subject.clone());
        }
        for (name, value) in identity.headers() {
            headers.insert(name.clone(), value.clone());
        }
    }
    header_rules::change_request(headers, ctx);
    if *method == Method::OPTIONS {
        decrement_max_forwards(headers);
    }
    if ctx.connection.version == http::Version::HTTP_2 {
        join_cookies(headers);
    }
}

/// Removes what concerns only the client's connection to us, and what its `Connection` names: it is
/// meant for us alone (RFC 9110 section 7.6.1). An upgrade to WebSocket goes on (RFC 6455), no
/// other does, nor one that `Connection` does not name: whoever is in front of us may have passed
/// the field on without knowing of a tunnel (RFC 9110 section 7.8). That trailers are taken is said
/// again, in our own name: they are passed on.
fn strip_hop_by_hop(headers: &mut HeaderMap, version: http::Version) {
    let websocket = version == http::Version::HTTP_11
        && connection_options(headers).any(|name| name.eq_ignore_ascii_case(b"upgrade"))
        && headers
            .get(header::UPGRADE)
            .is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let trailers = version > http::Version::HTTP_10 && trailers::are_accepted(headers);
    hop_by_hop::strip(headers, |_| false);
    if websocket {
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    } else if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// `X-Forwarded-*`, `Forwarded` and `Via`: replaced, or continued when the peer is trusted (RFC
/// 9110 section 7.6.3).
fn set_forwarded(headers: &mut HeaderMap, ctx: &Context, authority: Option<&HeaderValue>) {
    let version = match ctx.connection.version {
        http::Version::HTTP_2 => "2 harmony-edge",
        http::Version::HTTP_10 => "1.0 harmony-edge",
        _ => "1.1 harmony-edge",
    };
    headers.append(header::VIA, HeaderValue::from_static(version));
    let scheme = HeaderValue::from_static(if ctx.connection.tls { "https" } else { "http" });
    let peer = ctx.connection.peer.map(|peer| peer.ip().to_canonical());
    if let Some(peer) = peer.filter(|_| ctx.connection.uses_forwarded) {
        add_forwarded(headers, peer, authority, &scheme);
    }
    if ctx.connection.peer_is_trusted {
        let mut chain = Vec::new();
        for value in headers.get_all(X_FORWARDED_FOR) {
            chain.extend_from_slice(value.as_bytes());
            chain.extend_from_slice(b", ");
        }
        if let Some(peer) = peer {
            chain.extend_from_slice(peer.to_string().as_bytes());
            headers.insert(X_FORWARDED_FOR, value(&chain.into()));
        }
        headers.entry(X_FORWARDED_PROTO).or_insert(scheme);
        if let Some(authority) = authority {
            let host = headers.entry(X_FORWARDED_HOST);
            host.or_insert_with(|| authority.clone());
        }
        return;
    }
    if let Some(peer) = peer {
        headers.insert(X_FORWARDED_FOR, address(peer));
    }
    headers.insert(X_FORWARDED_PROTO, scheme);
    if let Some(authority) = authority {
        headers.insert(X_FORWARDED_HOST, authority.clone());
    }
}

/// One element more behind those of trusted peers; those of others are gone. Where there is none,
/// host and scheme are what a trusted peer says in `X-Forwarded-*`.
fn add_forwarded(
    headers: &mut HeaderMap,
    peer: IpAddr,
    authority: Option<&HeaderValue>,
    scheme: &HeaderValue,
) {
    let mut elements = Vec::new();
    for value in headers.get_all(header::FORWARDED) {
        elements.extend_from_slice(value.as_bytes());
        elements.extend_from_slice(b", ");
    }
    let (mut host, mut proto) = (authority, scheme);
    if elements.is_empty() {
        host = headers.get(X_FORWARDED_HOST).or(host);
        proto = headers.get(X_FORWARDED_PROTO).unwrap_or(proto);
    }
    elements.extend_from_slice(forwarded::element(peer, host, proto).as_bytes());
    headers.insert(header::FORWARDED, value(&elements.into()));
}

/// An address as a field's value.
fn address(address: IpAddr) -> HeaderValue {
    let mut text = String::with_capacity(15);
    access::push_address(&mut text, address);
    value(&text.into())
}

/// HTTP/2 may split `Cookie`; HTTP/1.1 has one (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(header::COOKIE).iter();
    if let (Some(first), Some(second)) = (cookies.next(), cookies.next()) {
        let crumbs: Vec<&[u8]> = [first, second]
            .into_iter()
            .chain(cookies)
            .map(HeaderValue::as_bytes)
            .collect();
        let joined = value(&crumbs.join(&b"; "[..]).into());
        headers.insert(header::COOKIE, joined);
    }
}

/// One hop less for `OPTIONS` (RFC 9110 section 7.6.2); at zero, the edge has answered already.
fn decrement_max_forwards(headers: &mut HeaderMap) {
    if let Some(hops @ 1..) = max_forwards(headers) {
        headers.insert(header::MAX_FORWARDS, HeaderValue::from(hops - 1));
    }
}

/// A header value of bytes that were checked when the head was read.
fn value(bytes: &bytes::Bytes) -> HeaderValue {
    HeaderValue::from_maybe_shared(bytes.clone()).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_concerns_one_connection_stays_on_it() {
        let left = |fields: &[(&'static str, &'static str)], version| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            strip_hop_by_hop(&mut headers, version);
            let field = |(name, value): (&HeaderName, &HeaderValue)| {
                format!("{name}: {}", value.to_str().unwrap())
            };
            let mut left: Vec<_> = headers.iter().map(field).collect();
            left.sort_unstable();
            left
        };
        let fields = [
            ("connection", "keep-alive, X-Hop"),
            ("connection", "close,, x-other-hop"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic eDp5"),
            ("te", "gzip"),
            ("trailer", "x-sum"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABkAAQCAAAAAAIAAAAA"),
            ("x-hop", "1"),
            ("x-hop", "2"),
            ("x-other-hop", "3"),
            ("x-end", "4"),
        ];
        assert_eq!(left(&fields, http::Version::HTTP_11), ["x-end: 4"]);
        let socket = [
            ("connection", "upgrade, x-hop"),
            ("upgrade", "WebSocket"),
            ("x-hop", "1"),
        ];
        let trailers = [("connection", "te, x-hop"), ("te", "gzip;q=0.5, trailers")];
        assert_eq!(left(&trailers, http::Version::HTTP_11), ["te: trailers"]);
        assert_eq!(left(&trailers, http::Version::HTTP_2), ["te: trailers"]);
        assert!(left(&trailers, http::Version::HTTP_10).is_empty());
        let switched = ["connection: Upgrade", "upgrade: websocket"];
        assert_eq!(left(&socket, http::Version::HTTP_11), switched);
        assert!(left(&socket, http::Version::HTTP_10).is_empty());
        let unasked = [("connection", "keep-alive"), ("upgrade", "websocket")];
        assert!(left(&unasked, http::Version::HTTP_11).is_empty());
    }
}
