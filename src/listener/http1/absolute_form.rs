//! A target in absolute form whose authority `Host` spells differently.
//!
//! A proxy takes the target's (RFC 9112 section 3.2.2). Pingora refuses a `Host` that is not the
//! same byte for byte. One that differs in the case of letters only, or in the port that the scheme
//! has anyway, names the same server (RFC 9110 section 4.2.3), so it gets the target's spelling.

/// The head with its target's authority in place of a `Host` that means the same; `None`: they are
/// equal already, or differ.
pub(super) fn with_host_from_target(head: &[u8]) -> Option<Vec<u8>> {
    let mut lines = head.split_inclusive(|byte| *byte == b'\n');
    let request_line = lines.next()?;
    let target = request_line.split(|byte| *byte == b' ').nth(1)?;
    let (authority, port) = authority(target)?;
    let mut at = request_line.len();
    let mut found = None;
    for line in lines {
        if let Some(name) = line.get(..5)
            && name.eq_ignore_ascii_case(b"host:")
        {
            let host = line[5..].trim_ascii();
            if found.is_some() || host == authority || !is_same(host, authority, port) {
                return None;
            }
            found = Some(at + 5..at + line.len());
        }
        at += line.len();
    }
    let found = found?;
    Some(
        [
            &head[..found.start],
            b" ",
            authority,
            b"\r\n",
            &head[found.end..],
        ]
        .concat(),
    )
}

/// The authority of a target in absolute form, and the port that its scheme has.
fn authority(target: &[u8]) -> Option<(&[u8], &'static [u8])> {
    let schemes: [(&[u8], &'static [u8]); 2] = [(b"http://", b":80"), (b"https://", b":443")];
    schemes.into_iter().find_map(|(scheme, port)| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        let end = rest
            .iter()
            .position(|byte| matches!(byte, b'/' | b'?' | b'#'));
        let authority = &rest[..end.unwrap_or(rest.len())];
        start
            .eq_ignore_ascii_case(scheme)
            .then_some((authority, port))
    })
}

fn is_same(one: &[u8], other: &[u8], port: &[u8]) -> bool {
    let bare = |authority| <[u8]>::strip_suffix(authority, port).unwrap_or(authority);
    bare(one).eq_ignore_ascii_case(bare(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_means_the_same_gets_the_spelling_of_the_target() {
        for (target, host, agreed) in [
            ("http://h/a", "h", false),
            ("http://H/a", "h", true),
            ("http://h", "H", true),
            ("HTTP://h:80/a", "h", true),
            ("http://h?a", "h:80", true),
            ("https://h/a", "H:443", true),
            ("http://[::1]:80/", "[::1]", true),
            ("http://h:81/a", "h", false),
            ("http://h:443/a", "h", false),
            ("https://h:80/a", "h", false),
            ("http://h/a", "i", false),
            ("http://h/a", "", false),
            ("http://user@h/a", "h", false),
            ("/a", "H", false),
            ("ftp://h/a", "H", false),
        ] {
            let head = |host: &str| {
                format!("GET {target} HTTP/1.1\r\nA: b\r\nhOst:{host} \r\nHosts: x\r\n\r\n")
            };
            let changed = with_host_from_target(head(host).as_bytes());
            let wanted = target.split('/').nth(2).unwrap_or_default();
            let wanted = wanted.split('?').next().unwrap_or_default();
            let wanted = head(&format!(" {wanted}")).replace(" \r\nHosts", "\r\nHosts");
            assert_eq!(
                changed,
                agreed.then(|| wanted.into_bytes()),
                "{target} {host}"
            );
        }
        let twice = b"GET http://h/ HTTP/1.1\r\nHost: H\r\nHost: H\r\n\r\n";
        assert_eq!(with_host_from_target(twice), None);
    }
}
