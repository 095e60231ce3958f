//! Finding the token in a request: in the one place where the step looks for it.

use std::borrow::Cow;

use http::header::COOKIE;
use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode;

use crate::auth::Presented;
use crate::auth::bearer;
use crate::config::CredentialPlace;

/// What stands in that place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// Nothing, or in `Authorization` another scheme.
    Nothing,
    /// Something that cannot be a token.
    Malformed,
    /// More than one.
    Repeated,
    /// A token.
    Token(Cow<'a, [u8]>),
}

/// Looks for a token. A name is compared exactly; that of a query's parameter after percent-decoding.
pub(super) fn find<'a>(request: &Presented<'a>, place: &CredentialPlace) -> Found<'a> {
    match place {
        CredentialPlace::Authorization => match bearer::find(request.headers) {
            bearer::Presented::Nothing => Found::Nothing,
            bearer::Presented::Malformed => Found::Malformed,
            bearer::Presented::Token(token) => Found::Token(token.into()),
        },
        CredentialPlace::Header(name) => in_header(request.headers, name),
        CredentialPlace::Cookie(name) => in_cookie(request.headers, name),
        CredentialPlace::Query(name) => in_query(request.query.unwrap_or_default(), name),
    }
}

/// The whole value, but for the word `Bearer` before it.
fn in_header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Found<'a> {
    const SCHEME: &[u8] = b"bearer ";
    let values = headers.get_all(name).iter().map(|value| value.as_bytes());
    only(values.map(|value| {
        let token = match value.split_at_checked(SCHEME.len()) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(SCHEME) => {
                token.trim_ascii_start()
            }
            _ => value,
        };
        token.into()
    }))
}

/// RFC 6265 section 5.4: `name=value`, with `;` between. Several `Cookie` fields count as one list (RFC 9113 section 8.2.3).
fn in_cookie<'a>(headers: &'a HeaderMap, name: &str) -> Found<'a> {
    let cookies = headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b';'));
    only(cookies.filter_map(|cookie| {
        let (key, value) = pair(cookie);
        (key.trim_ascii() == name.as_bytes()).then(|| value.trim_ascii().into())
    }))
}

/// `name=value`, with `&` between.
fn in_query<'a>(query: &'a str, name: &str) -> Found<'a> {
    let parameters = query.as_bytes().split(|&byte| byte == b'&');
    only(parameters.filter_map(|parameter| {
        let (key, value) = pair(parameter);
        percent_decode(key)
            .eq(name.bytes())
            .then(|| percent_decode(value).into())
    }))
}

/// What stands before and after the first `=`.
fn pair(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|&byte| byte == b'=') {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &[]),
    }
}

fn only<'a>(mut tokens: impl Iterator<Item = Cow<'a, [u8]>>) -> Found<'a> {
    match (tokens.next(), tokens.next()) {
        (None, _) => Found::Nothing,
        (Some(_), Some(_)) => Found::Repeated,
        (Some(token), None) if token.is_empty() => Found::Malformed,
        (Some(token), None) => Found::Token(token),
    }
}
