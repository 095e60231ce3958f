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
    let Some((scheme, rest)) = value.split_at_checked(wanted.len()) else {
        return BearerToken::Absent;
    };
    if !scheme.eq_ignore_ascii_case(wanted) || rest.first().is_some_and(|byte| is_tchar(*byte)) {
        return BearerToken::Absent;
    }
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    match rest.get(spaces..) {
        Some(token) if spaces > 0 && is_token68(token) => BearerToken::Token(token),
        _ => BearerToken::Malformed,
    }
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
    fn forms() {
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
