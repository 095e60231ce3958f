//! Field names that no client may set, in any spelling that a server behind us could take for them.

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};

use super::field_removal::remove_fields;
use crate::policy::{is_ambiguous, reads_as};

/// `Proxy` would become `HTTP_PROXY` in a CGI environment behind us.
const PROXY: HeaderName = HeaderName::from_static("proxy");

/// What no client may set, in any spelling. `Client-Cert` tells of a certificate behind a proxy
/// that took it (RFC 9440): nobody but the certificate itself tells us or those behind us. The
/// other two name a path instead of the one that was authenticated, and some frameworks believe
/// them.
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

/// Whether a field name is one that only we may set: `X-Auth-*`, in every spelling that a server
/// behind us could take for it.
pub(crate) fn is_identity(name: &[u8]) -> bool {
    name.len() > 7 && reads_as(&name[..7], b"x-auth-")
}

/// Whether a name that some servers take for another one is, to them, one that we judge or replace.
fn is_disguised(name: &[u8]) -> bool {
    let family = name.get(..FORWARDED_FAMILY.len());
    family.is_some_and(|family| reads_as(family, FORWARDED_FAMILY))
        || DISGUISED.iter().any(|field| reads_as(name, field))
}

/// Whether a field says who came before, and by which way.
fn tells_of_the_way(name: &[u8]) -> bool {
    name.starts_with(FORWARDED_FAMILY) || name == b"x-real-ip"
}

/// Removes what no client may tell the upstream, on any route: `X-Auth-*`, `Client-Cert`,
/// disguises, the headers that some pipeline fills from claims, `Proxy`, and what tells of the way
/// here unless the peer is trusted: `Forwarded` only if it says what `X-Forwarded-*` says, which
/// nobody has looked at without `proxy.forwarded`. Whether a name is left that some servers take
/// for another one.
pub(crate) fn strip_reserved(
    headers: &mut HeaderMap,
    from_claims: &[HeaderName],
    trusted: bool,
    uses_forwarded: bool,
) -> bool {
    let mut ambiguous_left = false;
    remove_fields(headers, |name| {
        let name = name.as_str().as_bytes();
        let ambiguous = is_ambiguous(name);
        let reserved = is_identity(name)
            || RESERVED.iter().any(|field| reads_as(name, field))
            || (ambiguous && is_disguised(name))
            || name == PROXY.as_str().as_bytes()
            || (!trusted && tells_of_the_way(name))
            || (!(trusted && uses_forwarded) && name == FORWARDED.as_str().as_bytes())
            || from_claims
                .iter()
                .any(|claim| reads_as(name, claim.as_str().as_bytes()));
        ambiguous_left |= ambiguous && !reserved;
        reserved
    });
    ambiguous_left
}

/// Removes these fields, in every spelling.
pub(crate) fn strip(headers: &mut HeaderMap, names: &[HeaderName]) {
    remove_fields(headers, |name| {
        let name = name.as_str().as_bytes();
        names
            .iter()
            .any(|field| reads_as(name, field.as_str().as_bytes()))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn identity_names_in_every_spelling() {
        for name in [
            "x-auth-subject",
            "X_Auth_Subject",
            "x.auth.method",
            "X-AUTH-",
            "x-auth-_",
            "x_auth-scope",
            "X!Auth!Subject",
            "x~auth|subject",
            "x*auth-",
        ] {
            assert_eq!(is_identity(name.as_bytes()), name.len() > 7, "{name}");
        }
        for name in [
            "x-author",
            "authorization",
            "x-authx",
            "x-forwarded-for",
            "xx-auth-subject",
            "x0auth-subject",
        ] {
            assert!(!is_identity(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn reserved_names_are_stripped_whoever_sent_them() {
        let mut headers = HeaderMap::new();
        for name in [
            "x-auth-subject",
            "x_auth_subject",
            "x-team",
            "x_team",
            "x_original_url",
            "content_length",
            "x.forwarded.for",
            "x-forwarded_port",
            "x-other",
            "x_other",
            "x-forwarded-port",
        ] {
            headers.append(name, HeaderValue::from_static("1"));
            headers.append(name, HeaderValue::from_static("2"));
        }
        let left = |trusted| {
            let mut headers = headers.clone();
            let ambiguous = strip_reserved(
                &mut headers,
                &[HeaderName::from_static("x-team")],
                trusted,
                true,
            );
            assert!(ambiguous, "x_other is left");
            let mut left: Vec<_> = headers.keys().map(|name| name.to_string()).collect();
            left.sort_unstable();
            left
        };
        assert_eq!(left(true), ["x-forwarded-port", "x-other", "x_other"]);
        assert_eq!(left(false), ["x-other", "x_other"]);
    }

    #[test]
    fn forwarded_passes_where_it_was_compared() {
        for (trusted, uses_forwarded) in
            [(false, false), (false, true), (true, false), (true, true)]
        {
            let mut headers = HeaderMap::new();
            headers.append(FORWARDED, HeaderValue::from_static("for=192.0.2.7"));
            strip_reserved(&mut headers, &[], trusted, uses_forwarded);
            assert_eq!(headers.contains_key(FORWARDED), trusted && uses_forwarded);
        }
    }

    #[test]
    fn no_token_character_disguises_a_reserved_name() {
        let claims = [
            HeaderName::from_static("x-team"),
            HeaderName::from_static("x_user.mail"),
        ];
        let reserved = [
            "x-auth-method",
            "x-auth-subject",
            "x-auth-anything",
            "x-team",
            "x-user-mail",
            "client-cert",
            "client-cert-chain",
            "x-original-url",
            "x-rewrite-url",
            "x-forwarded-for",
            "x-forwarded-prefix",
            "x-real-ip",
            "x-request-id",
            "content-length",
            "transfer-encoding",
            "proxy-authorization",
        ];
        for mark in "!#$%&'*+.^_`|~".chars() {
            let mark = mark.to_string();
            for name in reserved {
                for disguise in [name.replace('-', &mark), name.replacen('-', &mark, 1)] {
                    let name = HeaderName::from_bytes(disguise.as_bytes()).unwrap();
                    let mut headers = HeaderMap::new();
                    headers.append("a", HeaderValue::from_static("1"));
                    headers.append(name.clone(), HeaderValue::from_static("1"));
                    headers.append(name, HeaderValue::from_static("2"));
                    headers.append("b", HeaderValue::from_static("1"));
                    assert!(
                        !strip_reserved(&mut headers, &claims, true, true),
                        "{disguise}"
                    );
                    assert_eq!(headers.len(), 2, "{disguise}");
                }
            }
        }
    }
}
