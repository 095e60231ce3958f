//! Credentials that must not travel: taken out of a request before the upstream gets it.

use std::borrow::Cow;

use http::header::{self, HeaderMap, HeaderValue};
use percent_encoding::percent_decode;

use crate::auth::CredentialPlace;

/// Takes them out of the header fields.
pub(super) fn strip_headers(headers: &mut HeaderMap, withheld: &[CredentialPlace]) {
    for place in withheld {
        match place {
            CredentialPlace::Authorization => drop(headers.remove(header::AUTHORIZATION)),
            CredentialPlace::Header(name) => drop(headers.remove(name)),
            CredentialPlace::Cookie(name) => strip_cookie(headers, name),
            CredentialPlace::Query(_) => {}
        }
    }
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
    headers.remove(header::COOKIE);
    for cookie in cookies {
        // Parts of what was a value are one.
        if let Ok(cookie) = HeaderValue::from_bytes(cookie.trim_ascii())
            && !cookie.is_empty()
        {
            headers.append(header::COOKIE, cookie);
        }
    }
}

/// Takes them out of the query. `None`: nothing is left of it.
pub(super) fn strip_query<'a>(
    query: &'a [u8],
    withheld: &[CredentialPlace],
) -> Option<Cow<'a, [u8]>> {
    let mut query = Cow::Borrowed(query);
    for place in withheld {
        let CredentialPlace::Query(name) = place else {
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
    use http::HeaderName;

    #[test]
    fn a_query_loses_its_credential_and_nothing_else() {
        let withheld = [CredentialPlace::Query("token".to_owned())];
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
            let left = strip_query(query.as_bytes(), &withheld);
            assert_eq!(left.as_deref(), expected.map(str::as_bytes), "{query}");
        }
    }

    #[test]
    fn a_header_loses_its_credentials() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Basic eA=="),
            ("x-api-key", "k"),
            ("cookie", "a=1; session=x; b=2"),
            ("cookie", "session=y"),
            ("x-other", "o"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let withheld = [
            CredentialPlace::Authorization,
            CredentialPlace::Header(HeaderName::from_static("x-api-key")),
            CredentialPlace::Cookie("session".to_owned()),
        ];
        strip_headers(&mut headers, &withheld);
        let left: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(left, [("x-other", "o"), ("cookie", "a=1; b=2")]);
    }
}
