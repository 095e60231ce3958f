//! Trailer fields (RFC 9110 section 6.5): who gets them, and which of them go on.
//!
//! A trailer section comes too late for whatever decides how a message is routed, framed,
//! authenticated, stored or rendered, and a recipient may merge it into the head nevertheless. So
//! fields of that kind are dropped (RFC 9110 section 6.5.1). Trailers go on as trailers or not at
//! all.

use bytes::Bytes;
use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};
use pingora_proxy::Session;

use super::stripped_credentials::strip_headers;
use crate::auth::VerifiedLocations;
use crate::listener::Connection;
use crate::policy::is_ambiguous;
use crate::proxy::request::context::Context;
use crate::proxy::request::field_removal::remove_fields;
use crate::proxy::request::{header_rules, hop_by_hop, reserved_headers};

/// Most fields of one trailer section.
const MAX_FIELDS: usize = 100;
/// Largest trailer section, in bytes as HTTP/1.1 writes it.
const MAX_BYTES: usize = 16 * 1024;

/// Of a response whose trailer section cannot be read.
pub(super) const MALFORMED: &str = "the trailer section of its response is malformed";

/// Whether a sender takes trailers in the answer (RFC 9110 section 10.1.4).
pub(super) fn are_accepted(request: &HeaderMap) -> bool {
    let codings = request.get_all(header::TE).iter();
    codings
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// Drops the fields that no trailer section may set. An error: it is too large to go on.
pub(super) fn filter(trailers: &mut HeaderMap) -> Result<(), &'static str> {
    let bytes = trailers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len())
        .sum::<usize>();
    if trailers.len() > MAX_FIELDS || bytes > MAX_BYTES {
        return Err("the trailer section of its response is too large");
    }
    hop_by_hop::strip(trailers, |_| false);
    remove_fields(trailers, is_forbidden);
    Ok(())
}

/// The trailers that an HTTP/2 upstream gets of a request in chunks, once its body has been read to
/// the end. What no client may say in a head it may not say here either.
pub(super) fn of_request(session: &Session, ctx: &Context) -> Option<HeaderMap> {
    let head = session.as_http1()?.req_header();
    if !head.headers.contains_key(header::TRANSFER_ENCODING) {
        return None;
    }
    let connection = Connection::of(session.digest())?;
    let mut trailers = from_lines(&connection.request_trailers()).ok()?;
    filter(&mut trailers).ok()?;
    let (gateway, route) = (ctx.gateway.as_ref()?, ctx.route.as_ref()?);
    reserved_headers::strip_reserved(&mut trailers, gateway.claim_headers(), false, false);
    reserved_headers::strip(&mut trailers, gateway.extra_claim_headers(&route.pipeline));
    let locations = route.pipeline.credential_locations();
    strip_headers(&mut trailers, locations, VerifiedLocations::default());
    for rules in route.pipeline.header_rules() {
        header_rules::clear(&mut trailers, &rules.request);
    }
    Some(trailers).filter(|trailers| !trailers.is_empty())
}

/// Trailer fields as the lines of HTTP/1.1, each with its line end.
pub(super) fn to_lines(trailers: &HeaderMap) -> Bytes {
    let mut lines = Vec::new();
    for (name, value) in trailers {
        lines.extend_from_slice(name.as_str().as_bytes());
        lines.extend_from_slice(b": ");
        lines.extend_from_slice(value.as_bytes());
        lines.extend_from_slice(b"\r\n");
    }
    lines.into()
}

/// The fields of such lines, up to the empty one that ends them.
pub(super) fn from_lines(lines: &[u8]) -> Result<HeaderMap, &'static str> {
    let mut trailers = HeaderMap::new();
    for line in lines.split(|&byte| byte == b'\n') {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let colon = memchr::memchr(b':', line).ok_or(MALFORMED)?;
        let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| MALFORMED)?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        trailers.append(name, value.map_err(|_| MALFORMED)?);
    }
    Ok(trailers)
}

/// Whether a field may not stand in a trailer section, in any spelling that a server could take for
/// it.
fn is_forbidden(name: &HeaderName) -> bool {
    let name = name.as_str();
    if !is_ambiguous(name.as_bytes()) {
        return is_forbidden_name(name);
    }
    let hyphen = |byte: char| {
        if byte.is_ascii_alphanumeric() {
            byte
        } else {
            '-'
        }
    };
    is_forbidden_name(&name.chars().map(hyphen).collect::<String>())
}

/// Framing, routing, request modifiers, authentication, control data, and what tells how to process
/// the content (RFC 9110 section 6.5.1), with what browsers and this proxy have added to these.
fn is_forbidden_name(name: &str) -> bool {
    const FAMILIES: [&str; 9] = [
        "access-control-",
        "content-security-policy",
        "cross-origin-",
        "if-",
        "proxy-",
        "sec-",
        "x-auth-",
        "x-forwarded-",
        "x-original-",
    ];
    FAMILIES.iter().any(|family| name.starts_with(family))
        || matches!(
            name,
            "accept-ranges"
                | "age"
                | "allow"
                | "alt-svc"
                | "authentication-info"
                | "authorization"
                | "cache-control"
                | "cdn-cache-control"
                | "clear-site-data"
                | "client-cert"
                | "client-cert-chain"
                | "connection"
                | "content-disposition"
                | "content-encoding"
                | "content-language"
                | "content-length"
                | "content-location"
                | "content-range"
                | "content-type"
                | "cookie"
                | "cookie2"
                | "date"
                | "dpop"
                | "dpop-nonce"
                | "expect"
                | "expires"
                | "forwarded"
                | "host"
                | "http2-settings"
                | "keep-alive"
                | "location"
                | "max-forwards"
                | "pragma"
                | "proxy"
                | "public-key-pins"
                | "range"
                | "refresh"
                | "retry-after"
                | "server"
                | "set-cookie"
                | "set-cookie2"
                | "strict-transport-security"
                | "surrogate-control"
                | "te"
                | "trailer"
                | "transfer-encoding"
                | "upgrade"
                | "vary"
                | "via"
                | "warning"
                | "www-authenticate"
                | "x-accel-redirect"
                | "x-content-type-options"
                | "x-frame-options"
                | "x-http-method-override"
                | "x-real-ip"
                | "x-request-id"
                | "x-rewrite-url"
                | "x-sendfile"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn trailers_are_accepted_by_that_word_alone() {
        for (values, expected) in [
            (&["trailers"][..], true),
            (&["gzip;q=0.5 , Trailers"], true),
            (&["gzip", "trailers"], true),
            (&["gzip"], false),
            (&["xtrailers, trailers2"], false),
            (&["", ","], false),
            (&[], false),
        ] {
            let fields: Vec<_> = values.iter().map(|value| ("te", *value)).collect();
            assert_eq!(are_accepted(&map(&fields)), expected, "{values:?}");
        }
    }

    #[test]
    fn only_fields_that_decide_nothing_go_on() {
        let passing = [
            ("grpc-status", "0"),
            ("grpc-message", "OK"),
            ("grpc-status-details-bin", "AA"),
            ("content-digest", "sha-256=:AA:"),
            ("digest", "sha-256=AA"),
            ("etag", "\"1\""),
            ("server-timing", "db;dur=5"),
            ("x-checksum", "1"),
            ("x-checksum", "2"),
            ("x_checksum", "3"),
            ("x-authors", "ab"),
            ("hosts", "2"),
        ];
        for name in [
            "content-length",
            "transfer-encoding",
            "trailer",
            "te",
            "connection",
            "keep-alive",
            "upgrade",
            "host",
            "authorization",
            "www-authenticate",
            "proxy-authenticate",
            "proxy-authorization",
            "proxy-connection",
            "proxy",
            "set-cookie",
            "cookie",
            "cache-control",
            "content-type",
            "content-encoding",
            "content-range",
            "location",
            "x-request-id",
            "x-auth-subject",
            "x-auth-anything",
            "x-forwarded-for",
            "forwarded",
            "if-none-match",
            "range",
            "expect",
            "age",
            "expires",
            "date",
            "vary",
            "dpop-nonce",
            "access-control-allow-origin",
            "strict-transport-security",
        ] {
            let mut trailers = map(&passing);
            for spelling in [name, &name.replace('-', "_"), &name.replacen('-', ".", 1)] {
                let spelling = HeaderName::from_bytes(spelling.as_bytes()).unwrap();
                trailers.append(spelling.clone(), HeaderValue::from_static("1"));
                trailers.append(spelling, HeaderValue::from_static("2"));
            }
            filter(&mut trailers).unwrap();
            assert_eq!(trailers, map(&passing), "{name}");
        }
    }

    #[test]
    fn what_connection_names_goes_no_further() {
        let mut trailers = map(&[("connection", "x-hop"), ("x-hop", "1"), ("x-end", "2")]);
        filter(&mut trailers).unwrap();
        assert_eq!(trailers, map(&[("x-end", "2")]));
    }

    #[test]
    fn a_large_trailer_section_is_an_error() {
        let mut most = HeaderMap::new();
        for number in 0..MAX_FIELDS {
            most.append("x-part", number.into());
        }
        assert!(filter(&mut most).is_ok());
        most.append("x-part", 0.into());
        assert!(filter(&mut most).is_err());
        let value = |length: usize| map(&[("x-large", &"x".repeat(length))]);
        let most = MAX_BYTES - "x-large: \r\n".len();
        assert!(filter(&mut value(most)).is_ok());
        assert!(filter(&mut value(most + 1)).is_err());
    }

    #[test]
    fn lines_and_fields_say_the_same() {
        let fields = map(&[("x-b", "1"), ("x-a", ""), ("x-b", "2 3"), ("x-c", "a: b")]);
        let mut lines = to_lines(&fields).to_vec();
        lines.extend_from_slice(b"\r\n");
        assert_eq!(from_lines(&lines), Ok(fields));
        let text = from_lines(b"X-A:\t1 \r\nx-raw: \xe9\r\n\r\n").unwrap();
        assert_eq!(text["x-a"], "1");
        assert_eq!(text["x-raw"].as_bytes(), b"\xe9");
        assert!(from_lines(b"no colon\r\n\r\n").is_err());
        assert!(from_lines(b"na me: 1\r\n\r\n").is_err());
    }
}
