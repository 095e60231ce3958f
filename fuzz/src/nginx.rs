//! What nginx makes of a request path before it looks for a `location` (with `merge_slashes`, its
//! default): decode once, merge slashes, resolve dot segments.
//!
//! Written from its documentation and behaviour, and independent of the edge: the two are compared.

/// The path that nginx matches against, in bytes; `None`: it answers 400.
pub fn resolve(target: &[u8]) -> Option<Vec<u8>> {
    if target.first() != Some(&b'/') {
        return None;
    }
    let end = target.iter().position(|byte| matches!(byte, b'?' | b'#'));
    let decoded = decode(&target[..end.unwrap_or(target.len())])?;
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut is_directory = true;
    for segment in decoded.split(|byte| *byte == b'/') {
        is_directory = true;
        match segment {
            b"" | b"." => {}
            // Above the root there is nothing.
            b".." => drop(kept.pop()?),
            name => {
                kept.push(name);
                is_directory = false;
            }
        }
    }
    let mut path = vec![b'/'];
    path.extend(kept.join(&b'/'));
    if is_directory && path.last() != Some(&b'/') {
        path.push(b'/');
    }
    Some(path)
}

/// Decodes every escape once, whatever it stands for; only NUL is refused.
fn decode(path: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path.iter();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'%' => {
                let digits = [*rest.next()?, *rest.next()?];
                let digit = |digit: u8| char::from(digit).to_digit(16);
                u8::try_from(digit(digits[0])? << 4 | digit(digits[1])?).ok()?
            }
            byte => *byte,
        };
        if byte == 0 {
            return None;
        }
        out.push(byte);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::resolve;

    /// What nginx 1.22 answers with `return 200 $uri`.
    #[test]
    fn as_nginx_does() {
        for (target, expected) in [
            ("/", Some("/")),
            ("/a/b", Some("/a/b")),
            ("/a//b///c/", Some("/a/b/c/")),
            ("/a/./b/.", Some("/a/b/")),
            ("/a/../b", Some("/b")),
            ("/a/b/..", Some("/a/")),
            ("/a/b/../", Some("/a/")),
            ("/..", None),
            ("/a/../../b", None),
            ("/a//../b", Some("/b")),
            ("/%2e%2e/b", None),
            ("/a/%2E./b", Some("/b")),
            ("/a%2fb/%2e%2e", Some("/a/")),
            ("/a%2f%2e%2e%2fb", Some("/b")),
            ("/%252e%252e/b", Some("/%2e%2e/b")),
            ("/a%23b%3fc?d", Some("/a#b?c")),
            ("/a/..?b", Some("/")),
            ("/a/..#b", Some("/")),
            ("/a/..;/b", Some("/a/..;/b")),
            ("/a\\..\\b", Some("/a\\..\\b")),
            ("/%00", None),
            ("/%4", None),
            ("/%zz", None),
        ] {
            let found = resolve(target.as_bytes());
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{target}");
        }
    }
}
