//! Credentials that must not travel: taken out of a request before the upstream gets it.

use std::borrow::Cow;

use http::header;
use percent_encoding::percent_decode;
use pingora::http::RequestHeader;

use crate::auth::CredentialPlace;

/// Takes them out of the header.
pub(super) fn strip_header(
    request: &mut RequestHeader,
    withheld: &[CredentialPlace],
) -> pingora::Result<()> {
    for place in withheld {
        match place {
            CredentialPlace::Authorization => drop(request.remove_header(&header::AUTHORIZATION)),
            CredentialPlace::Header(name) => drop(request.remove_header(name)),
            CredentialPlace::Cookie(name) => strip_cookie(request, name)?,
            CredentialPlace::Query(_) => {}
        }
    }
    Ok(())
}

fn strip_cookie(request: &mut RequestHeader, name: &str) -> pingora::Result<()> {
    let is_it = |pair: &[u8]| {
        let key = pair.split(|&byte| byte == b'=').next().unwrap_or(pair);
        key.trim_ascii() == name.as_bytes()
    };
    let cookies: Vec<Vec<u8>> = request
        .headers
        .get_all(header::COOKIE)
        .iter()
        .map(|cookie| remaining(cookie.as_bytes(), b';', is_it))
        .collect();
    request.remove_header(&header::COOKIE);
    for cookie in cookies {
        let cookie = cookie.trim_ascii();
        if !cookie.is_empty() {
            request.append_header(header::COOKIE, cookie)?;
        }
    }
    Ok(())
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
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        for (name, value) in [
            ("Authorization", "Basic eA=="),
            ("X-API-Key", "k"),
            ("Cookie", "a=1; session=x; b=2"),
            ("Cookie", "session=y"),
            ("X-Other", "o"),
        ] {
            request.append_header(name, value).unwrap();
        }
        let withheld = [
            CredentialPlace::Authorization,
            CredentialPlace::Header(HeaderName::from_static("x-api-key")),
            CredentialPlace::Cookie("session".to_owned()),
        ];
        strip_header(&mut request, &withheld).unwrap();
        let left: Vec<_> = request
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(left, [("x-other", "o"), ("cookie", "a=1; b=2")]);
    }
}
