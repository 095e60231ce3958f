//! Looking for a credential at the location where a step expects it (RFC 9110 section 5, RFC 6265
//! section 5.4, RFC 3986 section 3.4).

use std::borrow::Cow;

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode;

use super::request::AuthRequest;
use crate::config::CredentialLocation;

/// What stands at a location.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    Nothing,
    /// Several: no two readers need agree on which of them counts.
    Repeated,
    /// One credential, which may be empty.
    One(Cow<'a, [u8]>),
}

/// Looks for a credential. Names are compared exactly; that of a query's parameter after
/// percent-decoding.
pub(crate) fn find<'a>(location: &CredentialLocation, request: &AuthRequest<'a>) -> Found<'a> {
    let headers = request.headers;
    match location {
        CredentialLocation::Authorization => only(in_field(headers, &AUTHORIZATION)),
        CredentialLocation::Header(name) => only(in_field(headers, name)),
        CredentialLocation::Cookie(name) => only(in_cookie(headers, name)),
        CredentialLocation::Query(name) => only(in_query(request.query.unwrap_or_default(), name)),
    }
}

/// What an operator calls it.
pub(crate) fn named(location: &CredentialLocation) -> String {
    match location {
        CredentialLocation::Authorization => "Authorization".to_owned(),
        CredentialLocation::Header(name) => format!("header {name}"),
        CredentialLocation::Cookie(name) => format!("cookie {name}"),
        CredentialLocation::Query(name) => format!("query parameter {name}"),
    }
}

fn only<'a>(mut credentials: impl Iterator<Item = Cow<'a, [u8]>>) -> Found<'a> {
    match (credentials.next(), credentials.next()) {
        (None, _) => Found::Nothing,
        (Some(_), Some(_)) => Found::Repeated,
        (Some(credential), None) => Found::One(credential),
    }
}

fn in_field<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = Cow<'a, [u8]>> {
    let values = headers.get_all(name).iter();
    values.map(|value| value.as_bytes().into())
}

/// `name=value`, with `;` between. Several `Cookie` fields count as one list (RFC 9113 section
/// 8.2.3).
fn in_cookie<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = Cow<'a, [u8]>> {
    headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b';'))
        .map(halves)
        .filter(move |(key, _)| key.trim_ascii() == name.as_bytes())
        .map(|(_, value)| value.trim_ascii().into())
}

/// `name=value`, with `&` between.
fn in_query<'a>(query: &'a str, name: &str) -> impl Iterator<Item = Cow<'a, [u8]>> {
    query
        .as_bytes()
        .split(|&byte| byte == b'&')
        .map(halves)
        .filter(move |(key, _)| percent_decode(key).eq(name.bytes()))
        .map(|(_, value)| percent_decode(value).into())
}

/// What stands before the first `=`, and what after it.
fn halves(pair: &[u8]) -> (&[u8], &[u8]) {
    let mut halves = pair.splitn(2, |&byte| byte == b'=');
    let key = halves.next().unwrap_or_default();
    (key, halves.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing;

    fn found(
        location: &CredentialLocation,
        fields: &[(&str, &str)],
        query: Option<&str>,
    ) -> String {
        let headers = testing::headers(fields);
        let request = AuthRequest {
            query,
            ..AuthRequest::of(&headers)
        };
        match find(location, &request) {
            Found::Nothing => "nothing".to_owned(),
            Found::Repeated => "repeated".to_owned(),
            Found::One(value) => format!("one {}", String::from_utf8_lossy(&value)),
        }
    }

    #[test]
    fn finds_one_header() {
        let location = CredentialLocation::Header(HeaderName::from_static("x-api-key"));
        assert_eq!(
            found(&location, &[("X-Api-Keys", "a")], Some("x-api-key=a")),
            "nothing"
        );
        assert_eq!(found(&location, &[("X-API-Key", "a, b")], None), "one a, b");
        assert_eq!(found(&location, &[("x-api-key", "")], None), "one ");
        assert_eq!(
            found(&location, &[("x-api-key", "a"), ("X-API-KEY", "b")], None),
            "repeated"
        );
    }

    #[test]
    fn finds_one_cookie() {
        let location = CredentialLocation::Cookie("key".to_owned());
        for (cookies, want) in [
            (&["a=1; key=x; b=2"][..], "one x"),
            (&["a=1;key = x=y "], "one x=y"),
            (&["a=1", "key=x"], "one x"),
            (&["key=x; key=y"], "repeated"),
            (&["key=x", "key=x"], "repeated"),
            (&["key"], "one "),
            (&["key="], "one "),
            (&["Key=x; keys=y; akey=z; a=key=x"], "nothing"),
            (&[""], "nothing"),
        ] {
            let fields: Vec<_> = cookies.iter().map(|cookie| ("Cookie", *cookie)).collect();
            assert_eq!(found(&location, &fields, None), want, "{cookies:?}");
        }
    }

    #[test]
    fn finds_one_parameter() {
        let location = CredentialLocation::Query("api key".to_owned());
        for (query, want) in [
            (Some("a=1&api%20key=x&b"), "one x"),
            (Some("api%20key=%78+y"), "one x+y"),
            (Some("%61pi%20key=a%3Db=c"), "one a=b=c"),
            (Some("api%20key=x&api%20key="), "repeated"),
            (Some("api%20key"), "one "),
            (Some("api+key=x&apikey=y&api%2520key=z"), "nothing"),
            (Some(""), "nothing"),
            (None, "nothing"),
        ] {
            assert_eq!(found(&location, &[], query), want, "{query:?}");
        }
    }
}
