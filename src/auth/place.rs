//! Looking for a credential at the place where a step expects it (RFC 9110 section 5, RFC 6265 section 5.4, RFC 3986 section 3.4).

use std::borrow::Cow;

use http::header::{AUTHORIZATION, COOKIE};
use percent_encoding::percent_decode;

use super::presented::Presented;
use crate::config::CredentialPlace;

/// The first credential at a place; `None`: there is none. An empty value is one.
pub(crate) fn find<'a>(place: &CredentialPlace, request: &Presented<'a>) -> Option<Cow<'a, [u8]>> {
    all(place, request).next()
}

/// Whether there are several at one place: no two readers need agree on which of them counts.
pub(crate) fn is_repeated(place: &CredentialPlace, request: &Presented<'_>) -> bool {
    match place {
        // Every request comes by here.
        CredentialPlace::Authorization => {
            let values = request.headers.get_all(AUTHORIZATION);
            values.iter().nth(1).is_some()
        }
        _ => all(place, request).nth(1).is_some(),
    }
}

fn all<'a, 'p>(
    place: &'p CredentialPlace,
    request: &Presented<'a>,
) -> Box<dyn Iterator<Item = Cow<'a, [u8]>> + 'p>
where
    'a: 'p,
{
    let headers = request.headers;
    match place {
        CredentialPlace::Authorization => Box::new(
            headers
                .get_all(AUTHORIZATION)
                .iter()
                .map(|value| value.as_bytes().into()),
        ),
        CredentialPlace::Header(name) => Box::new(
            headers
                .get_all(name)
                .iter()
                .map(|value| value.as_bytes().into()),
        ),
        CredentialPlace::Cookie(name) => Box::new(
            headers
                .get_all(COOKIE)
                .iter()
                .flat_map(|value| value.as_bytes().split(|&byte| byte == b';'))
                .map(halves)
                .filter(move |(key, _)| key.trim_ascii() == name.as_bytes())
                .map(|(_, value)| value.trim_ascii().into()),
        ),
        CredentialPlace::Query(name) => Box::new(
            request
                .query
                .unwrap_or_default()
                .as_bytes()
                .split(|&byte| byte == b'&')
                .map(halves)
                .filter(move |(key, _)| percent_decode(key).eq(name.bytes()))
                .map(|(_, value)| percent_decode(value).into()),
        ),
    }
}

/// What stands before the first `=`, and what after it.
fn halves(pair: &[u8]) -> (&[u8], &[u8]) {
    let mut halves = pair.splitn(2, |&byte| byte == b'=');
    let key = halves.next().unwrap_or_default();
    (key, halves.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    fn found(place: &CredentialPlace, fields: &[(&str, &str)], query: Option<&str>) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        let request = Presented {
            query,
            ..Presented::of(&headers)
        };
        let found: Vec<_> = all(place, &request)
            .map(|value| String::from_utf8_lossy(&value).into_owned())
            .collect();
        assert_eq!(is_repeated(place, &request), found.len() > 1);
        assert_eq!(find(place, &request).is_some(), !found.is_empty());
        found
    }

    #[test]
    fn headers() {
        let place = CredentialPlace::Header(HeaderName::from_static("x-api-key"));
        let none: [&str; 0] = [];
        assert_eq!(
            found(&place, &[("X-Api-Keys", "a")], Some("x-api-key=a")),
            none
        );
        assert_eq!(found(&place, &[("X-API-Key", "a, b")], None), ["a, b"]);
        assert_eq!(found(&place, &[("x-api-key", "")], None), [""]);
        assert_eq!(
            found(&place, &[("x-api-key", "a"), ("X-API-KEY", "b")], None),
            ["a", "b"]
        );
    }

    #[test]
    fn cookies() {
        let place = CredentialPlace::Cookie("key".to_owned());
        for (cookies, want) in [
            (&["a=1; key=x; b=2"][..], &["x"][..]),
            (&["a=1;key = x=y "], &["x=y"]),
            (&["a=1", "key=x"], &["x"]),
            (&["key=x; key=y"], &["x", "y"]),
            (&["key=x", "key=x"], &["x", "x"]),
            (&["key"], &[""]),
            (&["key="], &[""]),
            (&["Key=x; keys=y; akey=z; a=key=x"], &[]),
            (&[""], &[]),
        ] {
            let fields: Vec<_> = cookies.iter().map(|cookie| ("Cookie", *cookie)).collect();
            assert_eq!(found(&place, &fields, None), want, "{cookies:?}");
        }
    }

    #[test]
    fn queries() {
        let place = CredentialPlace::Query("api key".to_owned());
        for (query, want) in [
            (Some("a=1&api%20key=x&b"), &["x"][..]),
            (Some("api%20key=%78+y"), &["x+y"]),
            (Some("%61pi%20key=a%3Db=c"), &["a=b=c"]),
            (Some("api%20key=x&api%20key="), &["x", ""]),
            (Some("api%20key"), &[""]),
            (Some("api+key=x&apikey=y&api%2520key=z"), &[]),
            (Some(""), &[]),
            (None, &[]),
        ] {
            assert_eq!(found(&place, &[], query), want, "{query:?}");
        }
    }
}
