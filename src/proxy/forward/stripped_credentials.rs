//! Credentials that must not be forwarded: taken out of a request before the upstream gets it.

use std::borrow::Cow;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode;

use crate::auth::{CredentialLocation, CredentialLocations, VerifiedLocations};
use crate::policy::reads_as;
use crate::proxy::request::context::Context;
use crate::proxy::request::field_removal::remove_fields;

/// Takes them out of the header fields, with every other spelling of a header that a step reads: a
/// server behind us could take the one for the other.
pub(super) fn strip_headers(
    headers: &mut HeaderMap,
    places: &CredentialLocations,
    verified: VerifiedLocations,
) {
    for place in places.stripped(verified) {
        match place {
            CredentialLocation::Authorization => {
                remove_fields(headers, |name| *name == header::AUTHORIZATION);
            }
            CredentialLocation::Header(header) => remove_fields(headers, |name| name == header),
            CredentialLocation::Cookie(name) => strip_cookie(headers, name),
            CredentialLocation::Query(_) => {}
        }
    }
    let is_header = |place: &CredentialLocation| matches!(place, CredentialLocation::Header(_));
    if !places.iter().any(is_header) {
        return;
    }
    remove_fields(headers, |name| is_disguise(name, places));
}

/// Whether a name is the header of a step to a server that folds names, without being it or that of
/// another step.
fn is_disguise(name: &HeaderName, places: &CredentialLocations) -> bool {
    let read = || {
        places.iter().filter_map(|place| match place {
            CredentialLocation::Header(read) => Some(read),
            _ => None,
        })
    };
    read().any(|read| reads_as(name.as_str().as_bytes(), read.as_str().as_bytes()))
        && !read().any(|read| read == name)
}

fn strip_cookie(headers: &mut HeaderMap, name: &str) {
    let is_it = |pair: &[u8]| {
        let key = pair.split(|&byte| byte == b'=').next().unwrap_or(pair);
        key.trim_ascii() == name.as_bytes()
    };
    let cookies: Vec<Vec<u8>> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(|cookie| remaining(cookie.as_bytes(), b';', is_it))
        .collect();
    let mut left = cookies
        .iter()
        .map(|cookie| cookie.trim_ascii())
        .filter(|cookie| !cookie.is_empty())
        // Parts of what was a value are one.
        .filter_map(|cookie| HeaderValue::from_bytes(cookie).ok());
    match left.next() {
        None => remove_fields(headers, |name| *name == header::COOKIE),
        // In the place of what was there.
        Some(first) => drop(headers.insert(header::COOKIE, first)),
    }
    for cookie in left {
        headers.append(header::COOKIE, cookie);
    }
}

/// The query byte for byte, without credentials that must not be forwarded.
pub(crate) fn forwarded_query(ctx: &Context) -> Option<Cow<'_, [u8]>> {
    let query = ctx.head.as_ref()?.query.as_deref()?;
    let pipeline = &ctx.route.as_ref()?.pipeline;
    strip_query(query, pipeline.credential_locations(), ctx.verified)
}

/// Takes them out of the query. `None`: nothing is left of it.
fn strip_query<'a>(
    query: &'a [u8],
    places: &CredentialLocations,
    verified: VerifiedLocations,
) -> Option<Cow<'a, [u8]>> {
    let mut query = Cow::Borrowed(query);
    for place in places.stripped(verified) {
        let CredentialLocation::Query(name) = place else {
            continue;
        };
        let is_it = |pair: &[u8]| {
            let key = pair.split(|&byte| byte == b'=').next().unwrap_or(pair);
            percent_decode(key).eq(name.bytes())
        };
        if query.split(|&byte| byte == b'&').any(is_it) {
            query = Cow::Owned(remaining(&query, b'&', is_it));
            if query.is_empty() {
                return None;
            }
        }
    }
    Some(query)
}

/// What is left of a list without the members that must go.
fn remaining(list: &[u8], separator: u8, must_go: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let kept: Vec<&[u8]> = list
        .split(|&byte| byte == separator)
        .filter(|member| !must_go(member))
        .collect();
    kept.join(&separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Places of which none may travel.
    fn places(read: &[CredentialLocation]) -> CredentialLocations {
        let mut places = CredentialLocations::default();
        for place in read {
            places.add(place, false);
        }
        places
    }

    fn left(headers: &HeaderMap) -> Vec<(&str, &str)> {
        let fields = headers.iter();
        let text = |(name, value): (_, _)| -> (&str, &str) {
            let (name, value): (&HeaderName, &HeaderValue) = (name, value);
            (name.as_str(), value.to_str().unwrap())
        };
        let mut fields: Vec<_> = fields.map(text).collect();
        fields.sort_unstable();
        fields
    }

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_query_loses_its_credential_and_nothing_else() {
        let stripped = places(&[CredentialLocation::Query("token".to_owned())]);
        for (query, expected) in [
            ("a=1&b", Some("a=1&b")),
            ("token=x", None),
            ("token", None),
            ("a=1&token=x&b=%20", Some("a=1&b=%20")),
            ("token=x&token=y&a", Some("a")),
            ("t%6fken=x&a", Some("a")),
            ("tokens=x&atoken=y", Some("tokens=x&atoken=y")),
            ("", Some("")),
        ] {
            let left = strip_query(query.as_bytes(), &stripped, VerifiedLocations::default());
            assert_eq!(left.as_deref(), expected.map(str::as_bytes), "{query}");
        }
    }

    #[test]
    fn a_header_loses_its_credentials() {
        let mut headers = headers(&[
            ("authorization", "Basic eA=="),
            ("x-api-key", "k"),
            ("cookie", "a=1; session=x; b=2"),
            ("cookie", "session=y"),
            ("x-other", "o"),
        ]);
        let stripped = places(&[
            CredentialLocation::Authorization,
            CredentialLocation::Header(HeaderName::from_static("x-api-key")),
            CredentialLocation::Cookie("session".to_owned()),
        ]);
        strip_headers(&mut headers, &stripped, VerifiedLocations::default());
        assert_eq!(left(&headers), [("cookie", "a=1; b=2"), ("x-other", "o")]);
    }

    #[test]
    fn a_header_travels_under_its_own_name_only() {
        let mut read = CredentialLocations::default();
        let header = |name| CredentialLocation::Header(HeaderName::from_static(name));
        let key = read.add(&header("x-api-key"), true);
        let fields = headers(&[
            ("x-api-key", "1"),
            ("x_api_key", "2"),
            ("x_api_key", "3"),
            ("x.api~key", "4"),
            ("x-api-keys", "5"),
            ("xxapi-key", "6"),
        ]);
        let ordinary = [("x-api-keys", "5"), ("xxapi-key", "6")];
        let mut verified = fields.clone();
        strip_headers(&mut verified, &read, key);
        assert_eq!(
            left(&verified),
            [&[("x-api-key", "1")][..], &ordinary].concat()
        );
        let mut unverified = fields.clone();
        strip_headers(&mut unverified, &read, VerifiedLocations::default());
        assert_eq!(left(&unverified), ordinary);
        // Another step's header is no disguise.
        read.add(&header("x_api_key"), false);
        let mut verified = fields;
        strip_headers(&mut verified, &read, key);
        assert_eq!(
            left(&verified),
            [&[("x-api-key", "1")][..], &ordinary].concat()
        );
        let mut nothing_read = headers(&[("x_api_key", "2"), ("authorization", "x")]);
        strip_headers(
            &mut nothing_read,
            &CredentialLocations::default(),
            VerifiedLocations::default(),
        );
        assert_eq!(nothing_read.len(), 2);
    }
}
