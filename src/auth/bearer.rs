//! Finding the bearer token, or the credential of another scheme, in `Authorization` (RFC 6750
//! section 2.1, RFC 9110 section 11.6.2).

use http::HeaderMap;
use http::header::AUTHORIZATION;

/// What a request presents by way of one scheme's credential.
#[derive(PartialEq, Eq)]
pub(crate) enum BearerToken<'a> {
    /// No `Authorization`, or one of another scheme.
    Absent,
    /// The scheme without a token of the right form.
    Malformed,
    Token(&'a [u8]),
}

/// `Authorization` was sent more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepeatedAuthorization;

/// What the one `Authorization` of a request holds behind `Bearer`, whatever its form; `None`:
/// there is no such field.
///
/// # Errors
///
/// There are several fields.
pub fn single_bearer(headers: &HeaderMap) -> Result<Option<&[u8]>, RepeatedAuthorization> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    match (fields.next(), fields.next()) {
        (None, _) => Ok(None),
        (Some(field), None) => Ok(behind(b"bearer", field.as_bytes()).flatten()),
        (Some(_), Some(_)) => Err(RepeatedAuthorization),
    }
}

/// Looks for a bearer token.
pub(crate) fn find(headers: &HeaderMap) -> BearerToken<'_> {
    find_of(b"bearer", headers)
}

/// Looks for the credential of a scheme, which is given in lower case. The scheme's case does not
/// matter; one or more spaces, then a token68 (RFC 9110 section 11.4).
pub(crate) fn find_of<'a>(wanted: &[u8], headers: &'a HeaderMap) -> BearerToken<'a> {
    let Some(value) = headers.get(AUTHORIZATION).map(|value| value.as_bytes()) else {
        return BearerToken::Absent;
    };
    match behind(wanted, value) {
        None => BearerToken::Absent,
        Some(Some(token)) if is_token68(token) => BearerToken::Token(token),
        Some(_) => BearerToken::Malformed,
    }
}

/// What stands behind a scheme and its spaces. `None`: it is another scheme; `Some(None)`: there
/// is no space.
fn behind<'a>(wanted: &[u8], value: &'a [u8]) -> Option<Option<&'a [u8]>> {
    let (scheme, rest) = value.split_at_checked(wanted.len())?;
    if !scheme.eq_ignore_ascii_case(wanted) || rest.first().is_some_and(|byte| is_tchar(*byte)) {
        return None;
    }
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    Some(rest.get(spaces..).filter(|_| spaces > 0))
}

/// RFC 9110 section 5.6.2: what a scheme's name is made of.
pub(crate) fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 9110 section 11.2: at least one letter, digit or `-._~+/`, then any number of `=`.
fn is_token68(text: &[u8]) -> bool {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let body = &text[..text.len() - padding];
    // Without a way out in the middle, several bytes are looked at at once.
    !body.is_empty()
        && body
            .iter()
            .fold(true, |sound, byte| sound & is_token68_byte(*byte))
}

/// `-./` and the digits stand together.
fn is_token68_byte(byte: u8) -> bool {
    matches!(byte, b'-'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'+' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn found(value: &str) -> &'static str {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        match find(&headers) {
            BearerToken::Absent => "nothing",
            BearerToken::Malformed => "malformed",
            BearerToken::Token(b"a.b.c") => "token",
            BearerToken::Token(_) => "other token",
        }
    }

    #[test]
    fn a_single_field_of_any_form() {
        let of = |fields: &[&'static str]| {
            let fields = fields.iter().map(|field| HeaderValue::from_static(field));
            HeaderMap::from_iter(fields.map(|field| (AUTHORIZATION, field)))
        };
        for (fields, expected) in [
            (&[][..], Ok(None)),
            (&["Bearer a:b!"], Ok(Some("a:b!"))),
            (&["bearer   x"], Ok(Some("x"))),
            (&["Bearer "], Ok(Some(""))),
            (&["Bearer"], Ok(None)),
            (&["Bearerx"], Ok(None)),
            (&["Basic x"], Ok(None)),
            (&["Bearer x", "Basic x"], Err(RepeatedAuthorization)),
        ] {
            let headers = of(fields);
            let expected = expected.map(|token| token.map(str::as_bytes));
            assert_eq!(single_bearer(&headers), expected, "{fields:?}");
        }
    }

    #[test]
    fn accepts_only_token68() {
        let cases = [
            ("Bearer a.b.c", "token"),
            ("bearer a.b.c", "token"),
            ("BEARER a.b.c", "token"),
            ("bEaReR    a.b.c", "token"),
            ("Bearer a.b.c==", "other token"),
            ("Bearer", "malformed"),
            ("Bearer ", "malformed"),
            ("Bearer   ", "malformed"),
            ("Bearer ==", "malformed"),
            ("Bearer\ta.b.c", "malformed"),
            ("Bearer \ta.b.c", "malformed"),
            ("Bearer a.b.c ", "malformed"),
            ("Bearer a.b.c d", "malformed"),
            ("Bearer a.b.c, Bearer d", "malformed"),
            ("Bearer a=b", "malformed"),
            ("Bearer \"a.b.c\"", "malformed"),
            ("Bearer {\"payload\":\"\"}", "malformed"),
            ("Bearer, a.b.c", "malformed"),
            ("Bearer:a.b.c", "malformed"),
            ("Bearer=a.b.c", "malformed"),
            ("Bearera.b.c", "nothing"),
            ("Bearer-x a.b.c", "nothing"),
            ("Basic YTpi", "nothing"),
            ("a.b.c", "nothing"),
            ("Token Bearer a.b.c", "nothing"),
            ("", "nothing"),
            ("Bear", "nothing"),
        ];
        for (value, expected) in cases {
            assert_eq!(found(value), expected, "{value:?}");
        }
        for byte in 0..=u8::MAX {
            let allowed = byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
            assert_eq!(is_token68_byte(byte), allowed, "{byte}");
        }
        let mut headers = HeaderMap::new();
        assert!(find(&headers) == BearerToken::Absent);
        headers.append(
            AUTHORIZATION,
            HeaderValue::from_bytes(b"Bearer \xff").unwrap(),
        );
        assert!(find(&headers) == BearerToken::Malformed);
    }
}
