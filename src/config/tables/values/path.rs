//! Path prefixes: the one spelling that matching, authentication and forwarding share.

use std::borrow::Cow;

/// The canonical form of a path prefix: begins with `/`, no trailing slash unless it is `/` alone.
/// Empty means `/`.
///
/// # Errors
///
/// Why it is refused, as a sentence about the prefix.
pub(crate) fn canonical(prefix: &str) -> Result<String, Cow<'static, str>> {
    if prefix.is_empty() || prefix == "/" {
        return Ok("/".to_owned());
    }
    let Some(segments) = prefix.strip_prefix('/') else {
        return Err("must begin with \"/\"".into());
    };
    for segment in segments.strip_suffix('/').unwrap_or(segments).split('/') {
        match segment {
            "" => return Err("must not contain an empty segment".into()),
            "." | ".." => return Err("must not contain a dot segment".into()),
            "*" => {
                return Err(
                    "must not end in \"*\": a prefix takes everything below it anyway".into(),
                );
            }
            _ => check_characters(segment)?,
        }
    }
    Ok(prefix.strip_suffix('/').unwrap_or(prefix).to_owned())
}

fn check_characters(segment: &str) -> Result<(), Cow<'static, str>> {
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => check_escape(rest.next(), rest.next())?,
            b'?' | b'#' | b'\\' | b' ' | b'"' | b'<' | b'>' | b'^' | b'`' | b'|' => {
                return Err(format!("must not contain {:?}", char::from(byte)).into());
            }
            b';' => {
                return Err("must not contain \";\": some servers cut off what follows it".into());
            }
            b'{' | b'}' => {
                return Err(
                    "must not contain a pattern: a prefix takes everything below it anyway".into(),
                );
            }
            0..0x20 | 0x7f => return Err("must not contain a control character".into()),
            0x80.. => return Err("must be ASCII: percent-encode the rest".into()),
            _ => {}
        }
    }
    Ok(())
}

/// An escape is upper-case hexadecimal and hides nothing that matters to matching.
fn check_escape(high: Option<u8>, low: Option<u8>) -> Result<(), Cow<'static, str>> {
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
    let (Some(high_value), Some(low_value)) = (digit(high), digit(low)) else {
        return Err("must not contain a malformed percent-escape".into());
    };
    if [high, low]
        .into_iter()
        .flatten()
        .any(|byte| byte.is_ascii_lowercase())
        && !matches!((high_value, low_value), (2, 15) | (5, 12))
    {
        return Err("must write percent-escapes in upper case".into());
    }
    match u8::try_from(high_value * 16 + low_value).unwrap_or(0) {
        b'/' | b'\\' => Err("must not contain an escaped slash or backslash".into()),
        b';' | b'?' | b'#' => Err(
            "must not contain an escaped \";\", \"?\" or \"#\": some servers cut off what follows \
             it"
            .into(),
        ),
        byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
            Err(format!("must not escape {:?}: write it as it is", char::from(byte)).into())
        }
        0..0x20 | 0x7f => Err("must not contain a control character".into()),
        _ => Ok(()),
    }
}

/// A base path and a prefix below it, both canonical.
pub(crate) fn joined(base: &str, below: &str) -> String {
    match (base, below) {
        (_, "/") => base.to_owned(),
        ("/", _) => below.to_owned(),
        _ => format!("{base}{below}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted() {
        for (prefix, want) in [
            ("", "/"),
            ("/", "/"),
            ("/api", "/api"),
            ("/api/", "/api"),
            ("/a/b-c_d.e~f", "/a/b-c_d.e~f"),
            ("/a%20b", "/a%20b"),
            ("/@x:y", "/@x:y"),
        ] {
            assert_eq!(canonical(prefix).as_deref(), Ok(want), "{prefix}");
        }
    }

    #[test]
    fn refused() {
        for (prefix, want) in [
            ("api", "begin with"),
            ("//", "empty segment"),
            ("/a//b", "empty segment"),
            ("/a//", "empty segment"),
            ("/a/../b", "dot segment"),
            ("/.", "dot segment"),
            ("/a;v=1", "\";\""),
            ("/a/..;x/b", "\";\""),
            ("/a%3Bb", "escaped \";\""),
            ("/a%3Fb", "escaped"),
            ("/a%23b", "escaped"),
            ("/a?b", "'?'"),
            ("/a#b", "'#'"),
            ("/a\\b", "'\\\\'"),
            ("/a b", "' '"),
            ("/a\tb", "control"),
            ("/a%00", "control"),
            ("/a%2fb", "escaped slash"),
            ("/a%2Fb", "escaped slash"),
            ("/a%5Cb", "escaped slash"),
            ("/%61pi", "must not escape 'a'"),
            ("/%2E%2E", "must not escape '.'"),
            ("/%c3%a9", "upper case"),
            ("/a%", "malformed"),
            ("/a%g0", "malformed"),
            ("/é", "ASCII"),
            ("/api/*", "takes everything"),
            ("/api/{*path}", "takes everything"),
        ] {
            let why = canonical(prefix).unwrap_err();
            assert!(why.contains(want), "{prefix}: {why}");
        }
    }

    #[test]
    fn joining() {
        for (base, below, want) in [
            ("/", "/", "/"),
            ("/", "/a", "/a"),
            ("/b", "/", "/b"),
            ("/b", "/a", "/b/a"),
        ] {
            assert_eq!(joined(base, below), want);
        }
    }
}
