//! The one canonical form of a request path: what is matched is what is authenticated is what is
//! forwarded.
//!
//! Nothing here knows of routes. The query is not looked at; it travels as it came.

use std::borrow::Cow;

/// Why a path has no canonical form. The request is answered 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Neither origin-form nor what is left of absolute-form (RFC 9112 section 3.2).
    #[error("path does not begin with a slash")]
    NotAbsolute,
    /// A control byte, a space, a backslash, a `#` or a byte outside ASCII, as such.
    #[error("path holds a byte that must not stand there")]
    ForbiddenByte,
    /// `%2f`, `%5c`, an escaped control byte, or one that no UTF-8 text holds.
    #[error("path holds an escape that must not stand there")]
    ForbiddenEscape,
    /// A `%` without two hexadecimal digits (RFC 3986 section 2.1).
    #[error("path holds a malformed percent-escape")]
    MalformedEscape,
    /// `%25` in front of two hexadecimal digits: a server that decodes twice would see another
    /// path.
    #[error("path holds an escaped escape")]
    NestedEscape,
    /// Servers that cut path parameters off, or that take an escaped `?` or `#` for the real one,
    /// would see it at the place of another route. See [`other_reading`].
    #[error("path belongs to two places, depending on who reads it")]
    TwoReadings,
    /// `..;` or `.;`: servers that cut path parameters off would see a dot segment.
    #[error("path holds a dot segment with a parameter")]
    DotParameter,
}

/// Brings a path into canonical form: unreserved escapes decoded and the others in upper case,
/// repeated slashes merged, dot segments resolved (RFC 3986 sections 6.2.2 and 5.2.4). A path that
/// is canonical already is not copied.
pub fn canonical(path: &str) -> Result<Cow<'_, str>, PathError> {
    if !path.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    if is_canonical(path.as_bytes())? {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = decode(path.as_bytes())?;
    refuse_twisted(&decoded)?;
    resolve(&decoded).map(Cow::Owned)
}

/// What a server may make of a canonical path that cuts parameters (`;v=1`) off its segments, or
/// that takes an escaped `?` or `#` for the real one. `None`: nothing else.
pub fn other_reading(path: &str) -> Option<String> {
    memchr::memchr2(b'%', b';', path.as_bytes())?;
    let end = ["%3F", "%23"]
        .iter()
        .filter_map(|mark| path.find(mark))
        .min();
    let cut = &path[..end.unwrap_or(path.len())];
    let name = |segment: &str| {
        let end = [";", "%3B"]
            .iter()
            .filter_map(|mark| segment.find(mark))
            .min();
        segment[..end.unwrap_or(segment.len())].to_owned()
    };
    let named: Vec<String> = cut.split('/').map(name).collect();
    let other = resolve(&named.join("/")).ok()?;
    (other != path).then_some(other)
}

/// One pass over a path without escapes, doubled slashes, or segments that begin with a dot: the
/// common case.
fn is_canonical(path: &[u8]) -> Result<bool, PathError> {
    let mut plain = true;
    let mut previous = 0;
    for &byte in path {
        if is_forbidden(byte) {
            return Err(PathError::ForbiddenByte);
        }
        plain &= byte != b'%' && !(previous == b'/' && (byte == b'/' || byte == b'.'));
        previous = byte;
    }
    Ok(plain)
}

fn is_forbidden(byte: u8) -> bool {
    !byte.is_ascii_graphic() || matches!(byte, b'\\' | b'#' | b'?')
}

/// Decodes the escapes of unreserved characters (RFC 3986 section 2.3); the others stay, in upper
/// case.
fn decode(path: &[u8]) -> Result<String, PathError> {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let [first, tail @ ..] = rest {
        if *first != b'%' {
            out.push(char::from(*first));
            rest = tail;
            continue;
        }
        let [high, low, tail @ ..] = tail else {
            return Err(PathError::MalformedEscape);
        };
        let byte = hex(*high)? << 4 | hex(*low)?;
        match byte {
            b'/' | b'\\' | 0..=0x1f | 0x7f | 0xc0 | 0xc1 | 0xf5..=0xff => {
                return Err(PathError::ForbiddenEscape);
            }
            b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            _ => {
                out.push('%');
                out.push(char::from(high.to_ascii_uppercase()));
                out.push(char::from(low.to_ascii_uppercase()));
            }
        }
        rest = tail;
    }
    Ok(out)
}

/// Refuses escapes, already in upper case, that hold another one for a server that decodes twice,
/// or that are overlong UTF-8 (RFC 3629 section 3).
fn refuse_twisted(path: &str) -> Result<(), PathError> {
    for (place, _) in path.match_indices('%') {
        let escape = &path[place + 1..];
        let digits = escape.as_bytes().get(2..4).unwrap_or_default();
        if escape.starts_with("25") && digits.len() == 2 && digits.iter().all(u8::is_ascii_hexdigit)
        {
            return Err(PathError::NestedEscape);
        }
        if ["E0%8", "E0%9", "F0%8"]
            .iter()
            .any(|start| escape.starts_with(start))
        {
            return Err(PathError::ForbiddenEscape);
        }
    }
    Ok(())
}

fn hex(digit: u8) -> Result<u8, PathError> {
    char::from(digit)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
        .ok_or(PathError::MalformedEscape)
}

/// Merges slashes and resolves dot segments of a decoded path. Slashes first, as servers behind us
/// do: `/a//../b` is `/b`.
fn resolve(path: &str) -> Result<String, PathError> {
    let mut out = String::with_capacity(path.len());
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "" | "." => {}
            ".." => {
                let parent = out.rfind('/').unwrap_or(0);
                out.truncate(parent);
            }
            _ if has_dot_parameter(segment) => return Err(PathError::DotParameter),
            _ => {
                out.push('/');
                out.push_str(segment);
                continue;
            }
        }
        if last {
            out.push('/');
        }
    }
    if out.is_empty() {
        out.push('/');
    }
    Ok(out)
}

fn has_dot_parameter(segment: &str) -> bool {
    let name = segment
        .find(';')
        .or_else(|| segment.find("%3B"))
        .map(|end| &segment[..end]);
    matches!(name, Some("." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_paths_are_borrowed() {
        for path in ["/", "/api", "/api/", "/a/b.c/d..e/~f", "/a;v=1/b", "/a:b@c"] {
            assert!(
                matches!(canonical(path), Ok(Cow::Borrowed(same)) if same == path),
                "{path}"
            );
        }
    }

    #[test]
    fn spellings_of_one_place_become_one() {
        for (path, expected) in [
            ("//api//x", "/api/x"),
            ("/./api/./x", "/api/x"),
            ("/%61pi/x", "/api/x"),
            ("/x/../api", "/api"),
            ("/x/%2e%2E/api", "/api"),
            ("/x/.%2e/api/.", "/api/"),
            ("/api/x/..", "/api/"),
            ("/api/x/../", "/api/"),
            ("/../../api", "/api"),
            ("/a//../b", "/b"),
            ("/..", "/"),
            ("/%7euser/%c3%a4", "/~user/%C3%A4"),
            ("/a%20b/%3a", "/a%20b/%3A"),
            ("/.hidden/...", "/.hidden/..."),
            ("/a%3bb", "/a%3Bb"),
            ("/100%25/%25zz", "/100%25/%25zz"),
        ] {
            assert_eq!(canonical(path).as_deref(), Ok(expected), "{path}");
        }
    }

    #[test]
    fn canonical_form_is_a_fixed_point() {
        for path in ["/a/%2E%2e/./b//c/%41%3f", "/x/y/../..//z/.", "/%2e/%2e%2e/"] {
            let once = canonical(path).unwrap().into_owned();
            assert_eq!(canonical(&once).unwrap(), once, "{path}");
        }
    }

    #[test]
    fn ambiguous_paths_have_no_canonical_form() {
        use PathError::*;
        for (path, error) in [
            ("api", NotAbsolute),
            ("*", NotAbsolute),
            ("", NotAbsolute),
            ("/a\\b", ForbiddenByte),
            ("/a b", ForbiddenByte),
            ("/a#b", ForbiddenByte),
            ("/a\tb", ForbiddenByte),
            ("/a\u{e4}", ForbiddenByte),
            ("/a%2fb", ForbiddenEscape),
            ("/a%2Fb", ForbiddenEscape),
            ("/a%5cb", ForbiddenEscape),
            ("/a%00", ForbiddenEscape),
            ("/a%0d%0a", ForbiddenEscape),
            ("/%c0%af", ForbiddenEscape),
            ("/a%", MalformedEscape),
            ("/a%2", MalformedEscape),
            ("/a%zz", MalformedEscape),
            ("/a%u002f", MalformedEscape),
            ("/a%+1", MalformedEscape),
            ("/%e0%80%af", ForbiddenEscape),
            ("/%f0%80%80%af", ForbiddenEscape),
            ("/%252e%252e/x", NestedEscape),
            ("/%25%32%65", NestedEscape),
            ("/%25252e", NestedEscape),
            ("/x/..;/api", DotParameter),
            ("/x/..;a=b/api", DotParameter),
            ("/x/.;/api", DotParameter),
            ("/x/%2e%2e%3b/api", DotParameter),
        ] {
            assert_eq!(canonical(path), Err(error), "{path}");
        }
    }

    #[test]
    fn other_readings_cut_parameters_and_queries_off() {
        for (path, other) in [
            ("/api/x", None),
            ("/api/a%20b", None),
            ("/api;x/y;z=1", Some("/api/y")),
            ("/;/api", Some("/api")),
            ("/;x/api/", Some("/api/")),
            ("/api%3Bx", Some("/api")),
            ("/api%3Fx/y", Some("/api")),
            ("/api%23x", Some("/api")),
            ("/x;a/api%3F;b", Some("/x/api")),
        ] {
            assert_eq!(other_reading(path).as_deref(), other, "{path}");
        }
    }
}
