//! Header fields on their way to the upstream: what the client must not set, what only we know, and what must not travel.

use std::net::{IpAddr, SocketAddr};

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use pingora::http::{RequestHeader, ResponseHeader};

use super::context::Context;
use super::withheld;
use crate::gateway::Upstream;

const X_AUTH_METHOD: HeaderName = HeaderName::from_static("x-auth-method");
const X_AUTH_SUBJECT: HeaderName = HeaderName::from_static("x-auth-subject");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// How the client came, towards the upstream.
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// The request's id, towards the upstream and back to the client.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
/// `Proxy` would become `HTTP_PROXY` in a CGI environment behind us.
const PROXY: HeaderName = HeaderName::from_static("proxy");

/// What no client may set, in any spelling. `Client-Cert` tells of a certificate behind a proxy that took it (RFC 9440): nobody but the certificate itself tells us or
/// those behind us. The other two name a path instead of the one that was authenticated, and some frameworks believe them.
const RESERVED: [&[u8]; 4] = [
    b"client-cert",
    b"client-cert-chain",
    b"x-original-url",
    b"x-rewrite-url",
];
/// What is judged or replaced under its own name, so that no other spelling may get past.
const DISGUISED: [&[u8]; 5] = [
    b"content-length",
    b"transfer-encoding",
    b"x-real-ip",
    b"x-request-id",
    b"proxy-authorization",
];
const FORWARDED_FAMILY: &[u8] = b"x-forwarded-";

/// Whether a field name is one that only we may set: `X-Auth-*`, in every spelling that a server behind us could take for it.
pub(super) fn is_identity(name: &[u8]) -> bool {
    name.len() > 7 && spells(&name[..7], b"x-auth-")
}

/// Whether two names are one to a server that folds case and maps `_` and `.` to `-`.
fn spells(name: &[u8], canonical: &[u8]) -> bool {
    name.len() == canonical.len()
        && name
            .iter()
            .zip(canonical)
            .all(|(byte, expected)| match byte {
                b'_' | b'.' => *expected == b'-',
                byte => byte.eq_ignore_ascii_case(expected),
            })
}

/// Whether a name is, to such a server, one that we judge or replace, without being it.
fn is_disguised(name: &[u8]) -> bool {
    if memchr::memchr2(b'_', b'.', name).is_none() {
        return false;
    }
    let family = name.get(..FORWARDED_FAMILY.len());
    family.is_some_and(|family| spells(family, FORWARDED_FAMILY))
        || DISGUISED.iter().any(|field| spells(name, field))
}

/// Removes what a client sent under a reserved name: `X-Auth-*`, `Client-Cert`, disguises, and the headers that some pipeline fills from claims. On every route.
pub(super) fn strip_reserved(header: &mut RequestHeader, from_claims: &[HeaderName]) {
    let reserved = |name: &HeaderName| {
        let name = name.as_str().as_bytes();
        is_identity(name)
            || RESERVED.iter().any(|field| spells(name, field))
            || is_disguised(name)
            || from_claims
                .iter()
                .any(|claim| spells(name, claim.as_str().as_bytes()))
    };
    while let Some(name) = header.headers.keys().find(|name| reserved(name)).cloned() {
        header.remove_header(&name);
    }
}

/// The client behind the trusted proxies: the rightmost address of `X-Forwarded-For` that none of them has, or the peer itself.
pub(super) fn client(headers: &HeaderMap, peer: IpAddr, trusts: impl Fn(IpAddr) -> bool) -> IpAddr {
    if !trusts(peer) {
        return peer;
    }
    let mut client = peer;
    for value in headers.get_all(X_FORWARDED_FOR).iter().rev() {
        for address in value.as_bytes().rsplit(|&byte| byte == b',') {
            let parsed = std::str::from_utf8(address)
                .ok()
                .and_then(|address| address.trim().parse().ok());
            let Some(address) = parsed else {
                return client;
            };
            client = address;
            if !trusts(address) {
                return client;
            }
        }
    }
    client
}

/// The id that a trusted peer gave the request, if it is fit to be logged.
pub(super) fn given_request_id(headers: &HeaderMap) -> Option<HeaderValue> {
    headers
        .get(X_REQUEST_ID)
        .filter(|id| {
            (1..=128).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
        })
        .cloned()
}

/// Makes a request that passed its steps into the one that the upstream gets. `upstream` is `None` for an echo, which shows what one would get.
pub(super) fn prepare(
    request: &mut RequestHeader,
    ctx: &Context,
    upstream: Option<&Upstream>,
) -> pingora::Result<()> {
    forwarded(request, ctx)?;
    if let Some(head) = &ctx.head {
        let host = match upstream {
            Some(upstream) if upstream.settings.send_upstream_host => upstream.authority.clone(),
            _ => value(&head.authority),
        };
        request.insert_header(header::HOST, host)?;
    }
    request.remove_header(&PROXY);
    if let Some(id) = &ctx.request_id {
        request.insert_header(X_REQUEST_ID, id.clone())?;
    }
    if let Some(route) = &ctx.route {
        withheld::strip_header(request, route.pipeline.withheld())?;
    }
    if let Some(credential) = upstream.and_then(|upstream| upstream.credential.clone()) {
        request.insert_header(header::AUTHORIZATION, credential)?;
    }
    if let Some(identity) = &ctx.identity {
        request.insert_header(
            X_AUTH_METHOD,
            HeaderValue::from_static(identity.method().as_str()),
        )?;
        if let Some(subject) = identity.subject() {
            request.insert_header(X_AUTH_SUBJECT, subject.clone())?;
        }
        for (name, value) in identity.headers() {
            request.insert_header(name.clone(), value.clone())?;
        }
    }
    if request.method == Method::OPTIONS {
        count_hop(request)?;
    }
    if ctx.version == http::Version::HTTP_2 {
        join_cookies(request)?;
    }
    Ok(())
}

/// Whether no shared cache may keep the response (RFC 9111 section 5.2.2).
pub(super) fn is_private(response: &ResponseHeader) -> bool {
    response
        .headers
        .get_all(header::CACHE_CONTROL)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .any(|directive| matches!(directive.trim_ascii(), b"private" | b"no-store"))
}

/// Whether nobody can take the end of a response for another place than we do: at most one plain length, and no encoding but `chunked`, which is all that we ask for.
pub(super) fn is_framed_plainly(response: &ResponseHeader) -> bool {
    let one = |name: HeaderName, is_plain: fn(&[u8]) -> bool| {
        let mut values = response.headers.get_all(name).iter();
        let plain = values.next().is_none_or(|value| is_plain(value.as_bytes()));
        plain && values.next().is_none()
    };
    one(header::CONTENT_LENGTH, |length| {
        !length.is_empty() && length.iter().all(u8::is_ascii_digit)
    }) && one(header::TRANSFER_ENCODING, |encoding| {
        encoding.eq_ignore_ascii_case(b"chunked")
    })
}

/// Removes what concerns only the connection to the upstream, and what its `Connection` names: it is meant for us alone (RFC 9110 section 7.6.1). Framing is not its to drop.
pub(super) fn strip_hop_by_hop(response: &mut ResponseHeader) {
    let kept = [
        header::CONNECTION,
        header::UPGRADE,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
    ];
    let nominated: Vec<HeaderName> = response
        .headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| !kept.contains(name))
        .collect();
    for name in nominated.iter().chain(&[KEEP_ALIVE, PROXY_CONNECTION]) {
        response.remove_header(name);
    }
}

/// `X-Forwarded-*` and `Via`: replaced, or continued when the peer is trusted (RFC 9110 section 7.6.3).
fn forwarded(request: &mut RequestHeader, ctx: &Context) -> pingora::Result<()> {
    let version = match ctx.version {
        http::Version::HTTP_2 => "2 harmony-edge",
        http::Version::HTTP_10 => "1.0 harmony-edge",
        _ => "1.1 harmony-edge",
    };
    request.append_header(header::VIA, HeaderValue::from_static(version))?;
    let scheme = if ctx.tls { "https" } else { "http" };
    let peer = ctx.peer.map(|peer| peer.ip().to_canonical());
    if ctx.peer_is_trusted {
        let mut chain = Vec::new();
        for value in request.headers.get_all(X_FORWARDED_FOR) {
            chain.extend_from_slice(value.as_bytes());
            chain.extend_from_slice(b", ");
        }
        if let Some(peer) = peer {
            chain.extend_from_slice(peer.to_string().as_bytes());
            request.insert_header(X_FORWARDED_FOR, value(&chain.into()))?;
        }
        if !request.headers.contains_key(X_FORWARDED_PROTO) {
            request.insert_header(X_FORWARDED_PROTO, HeaderValue::from_static(scheme))?;
        }
        if let (false, Some(head)) = (request.headers.contains_key(X_FORWARDED_HOST), &ctx.head) {
            request.insert_header(X_FORWARDED_HOST, value(&head.authority))?;
        }
        return Ok(());
    }
    request.remove_header(&header::FORWARDED);
    request.remove_header(&X_REAL_IP);
    let claimed = |name: &&HeaderName| name.as_str().as_bytes().starts_with(FORWARDED_FAMILY);
    while let Some(name) = request.headers.keys().find(claimed).cloned() {
        request.remove_header(&name);
    }
    if let Some(peer) = peer {
        request.insert_header(X_FORWARDED_FOR, value(&peer.to_string().into()))?;
    }
    request.insert_header(X_FORWARDED_PROTO, HeaderValue::from_static(scheme))?;
    if let Some(head) = &ctx.head {
        request.insert_header(X_FORWARDED_HOST, value(&head.authority))?;
    }
    Ok(())
}

/// HTTP/2 may split `Cookie`; HTTP/1.1 has one (RFC 9113 section 8.2.3).
fn join_cookies(request: &mut RequestHeader) -> pingora::Result<()> {
    let mut cookies = request.headers.get_all(header::COOKIE).iter();
    if let (Some(first), Some(second)) = (cookies.next(), cookies.next()) {
        let crumbs: Vec<&[u8]> = [first, second]
            .into_iter()
            .chain(cookies)
            .map(HeaderValue::as_bytes)
            .collect();
        let joined = value(&crumbs.join(&b"; "[..]).into());
        request.insert_header(header::COOKIE, joined)?;
    }
    Ok(())
}

/// One hop less for `OPTIONS` (RFC 9110 section 7.6.2); at zero, [`hops_are_spent`] has answered already.
fn count_hop(request: &mut RequestHeader) -> pingora::Result<()> {
    if let Some(hops @ 1..) = max_forwards(&request.headers) {
        request.insert_header(header::MAX_FORWARDS, HeaderValue::from(hops - 1))?;
    }
    Ok(())
}

/// Whether this is an `OPTIONS` request that must not travel further.
pub(super) fn hops_are_spent(request: &RequestHeader) -> bool {
    request.method == Method::OPTIONS && max_forwards(&request.headers) == Some(0)
}

fn max_forwards(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::MAX_FORWARDS)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// A header value of bytes that were checked when the head was read.
fn value(bytes: &bytes::Bytes) -> HeaderValue {
    HeaderValue::from_maybe_shared(bytes.clone()).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// The internet address of a connection's end.
pub(super) fn inet(
    addr: Option<&pingora::protocols::l4::socket::SocketAddr>,
) -> Option<SocketAddr> {
    addr.and_then(|addr| addr.as_inet()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_names_in_every_spelling() {
        for name in [
            "x-auth-subject",
            "X_Auth_Subject",
            "x.auth.method",
            "X-AUTH-",
            "x-auth-_",
            "x_auth-scope",
        ] {
            assert_eq!(is_identity(name.as_bytes()), name.len() > 7, "{name}");
        }
        for name in [
            "x-author",
            "authorization",
            "x-authx",
            "x-forwarded-for",
            "xx-auth-subject",
        ] {
            assert!(!is_identity(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn reserved_names_are_stripped_whoever_sent_them() {
        let mut header = RequestHeader::build("GET", b"/", None).unwrap();
        for name in [
            "X-Auth-Subject",
            "x_auth_subject",
            "X-Team",
            "x_team",
            "X_Original_URL",
            "Content_Length",
            "x.forwarded.for",
            "X-Forwarded_Port",
            "X-Other",
            "X_Other",
            "X-Forwarded-Port",
        ] {
            header.append_header(name, "1").unwrap();
            header.append_header(name, "2").unwrap();
        }
        strip_reserved(&mut header, &[HeaderName::from_static("x-team")]);
        let mut left: Vec<_> = header.headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["x-forwarded-port", "x-other", "x_other"]);
    }

    #[test]
    fn the_client_is_the_rightmost_address_that_is_not_trusted() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let trusts = |address: IpAddr| address.is_loopback();
        for (peer, forwarded, expected) in [
            ("9.9.9.9", &["1.1.1.1"][..], "9.9.9.9"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("127.0.0.1", &["1.1.1.1, 2.2.2.2, 127.0.0.2"], "2.2.2.2"),
            ("127.0.0.1", &["1.1.1.1", "2.2.2.2"], "2.2.2.2"),
            ("127.0.0.1", &["1.1.1.1, junk"], "127.0.0.1"),
        ] {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append(X_FORWARDED_FOR, HeaderValue::from_static(value));
            }
            assert_eq!(
                client(&headers, ip(peer), trusts),
                ip(expected),
                "{peer} {forwarded:?}"
            );
        }
    }
}
