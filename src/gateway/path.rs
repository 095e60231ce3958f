//! The one canonical form of a request path: what is matched is what is authenticated is what is
//! forwarded.
//!
//! Nothing here knows of routes. The query is not looked at; it travels as it came.

use std::borrow::Cow;

use crate::config::without_parameter;

/// Why a path has no canonical form. The request is answered 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Neither origin-form nor what is left of absolute-form (RFC 9112 section 3.2).
    #[error("path does not begin with a slash")]
    NotAbsolute,
    /// A control byte, a space, a backslash, a `#` or a byte outside ASCII, as such.
    #[error("path holds a byte that is not allowed")]
    ForbiddenByte,
    /// `%5c`, an escaped control byte, or one that no UTF-8 text holds.
    #[error("path holds a percent-escape that is not allowed")]
    ForbiddenEscape,
    /// `%2f` where the path, read with a slash instead, has an empty segment or a dot segment; or
    /// any, in a pipeline with `encoded_slashes = "reject"`.
    #[error("path holds an escaped slash, which is not allowed")]
    EncodedSlash,
    /// A `%` without two hexadecimal digits (RFC 3986 section 2.1).
    #[error("path holds a malformed percent-escape")]
    MalformedEscape,
    /// `%25` in front of two hexadecimal digits: a server that decodes twice would see another
    /// path.
    #[error("path holds an escaped escape")]
    NestedEscape,
    /// Servers that decode `%2f`, cut path parameters off, or take an escaped `?` or `#` for the
    /// real one, would see it at the place of another route. See
    /// [`other_readings`](super::other_readings).
    #[error("path belongs to another endpoint for servers that decode %2F or cut parameters off")]
    AmbiguousRoute,
    /// Servers that fold case, or that end prefixes elsewhere, would see it at the place of another
    /// route. See [`Match::confusable`](super::Match::confusable).
    #[error(
        "path or method belongs to another endpoint for servers that fold case (its pipeline may \
         say case_sensitive_paths = true), or for those that its prefix_boundary is for"
    )]
    ConfusableRoute,
    /// `..;` or `.;`: servers that cut path parameters off would see a dot segment.
    #[error("path holds a dot segment with a parameter")]
    DotParameter,
}

/// Brings a path into canonical form: unreserved escapes decoded and the others in upper case,
/// repeated slashes merged, dot segments resolved (RFC 3986 sections 6.2.2 and 5.2.4). An escaped
/// slash within a segment keeps its spelling; nothing is resolved beside one. A path that is
/// canonical already is not copied.
pub fn canonical(path: &str) -> Result<Cow<'_, str>, PathError> {
    if !path.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    if is_canonical(path.as_bytes())? {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = decode(path.as_bytes())?;
    refuse_twisted(&decoded)?;
    if let Some(slashed) = decode_slashes(&decoded) {
        refuse_unresolved(&slashed, &decoded)?;
    }
    resolve(&decoded).map(Cow::Owned)
}

/// Where the escaped slashes of a path are.
pub(super) fn encoded_slashes(path: &str) -> impl Iterator<Item = usize> {
    memchr::memchr_iter(b'%', path.as_bytes()).filter(|&place| {
        let digits = path.as_bytes().get(place + 1..place + 3);
        digits.is_some_and(|digits| digits.eq_ignore_ascii_case(b"2f"))
    })
}

/// A path with slashes for its escaped ones; `None` when it has none.
pub(super) fn decode_slashes(path: &str) -> Option<String> {
    let mut places = encoded_slashes(path).peekable();
    places.peek()?;
    let mut out = String::with_capacity(path.len());
    let mut done = 0;
    for place in places {
        out.push_str(&path[done..place]);
        out.push('/');
        done = place + 3;
    }
    Some(out + &path[done..])
}

/// Refuses what would have to be resolved in a path whose escaped slashes were decoded: whoever
/// decodes first resolves to another place. A slash at the very end is none that was decoded.
fn refuse_unresolved(slashed: &str, path: &str) -> Result<(), PathError> {
    let whole = match path.ends_with('/') {
        true => slashed.strip_suffix('/').unwrap_or(slashed),
        false => slashed,
    };
    let sound = |name: &str| !matches!(name, "" | "." | "..") && !has_dot_parameter(name);
    match whole.split('/').skip(1).all(sound) {
        true => Ok(()),
        false => Err(PathError::EncodedSlash),
    }
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
            b'\\' | 0..=0x1f | 0x7f | 0xc0 | 0xc1 | 0xf5..=0xff => {
                return Err(PathError::ForbiddenEscape);
            }
            b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            b'/' => out.extend(['%', char::from(*high), char::from(*low)]),
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
pub(super) fn resolve(path: &str) -> Result<String, PathError> {
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
    let name = without_parameter(segment);
    name.len() < segment.len() && matches!(name, "." | "..")
}

#[cfg(test)]
mod tests;
