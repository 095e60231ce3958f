//! The client's address, behind trusted proxies.

use std::net::{IpAddr, Ipv6Addr};

use http::{HeaderMap, HeaderName};

/// Who came before, in the order of the hops.
pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// How the client came.
pub(crate) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// What host the client asked for.
pub(crate) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Whether this `X-Forwarded-Proto` says that the client came over TLS. Some proxies, such as
/// Traefik, write `wss` for a WebSocket.
pub(super) fn is_tls(proto: &[u8]) -> bool {
    proto.eq_ignore_ascii_case(b"https") || proto.eq_ignore_ascii_case(b"wss")
}

/// The client behind the trusted proxies: the rightmost entry of `X-Forwarded-For` that is not the
/// address of a trusted proxy, or the peer itself where the field is absent.
///
/// `None`: that entry is no address, so nobody knows who the client is. It is not the peer then:
/// an allow list that has the proxy's address would let anybody in, and everybody would be counted
/// as the proxy.
pub(crate) fn client(
    headers: &HeaderMap,
    peer: IpAddr,
    trusts: impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    match trusts(peer) {
        true => find_client(entries(headers), peer, trusts).0,
        false => Some(peer),
    }
}

/// The client that these entries name to a trusted peer, and how many of them stand behind its own.
pub(super) fn find_client<'a>(
    entries: impl DoubleEndedIterator<Item = &'a [u8]>,
    peer: IpAddr,
    trusts: impl Fn(IpAddr) -> bool,
) -> (Option<IpAddr>, usize) {
    let mut found = (Some(peer), 0);
    for (behind, entry) in entries.rev().enumerate() {
        found = (address(entry), behind);
        if !found.0.is_some_and(&trusts) {
            break;
        }
    }
    found
}

/// The entries of `X-Forwarded-For`. An empty one is one that a proxy could not fill in: whoever
/// skips it believes what the client wrote before it.
pub(super) fn entries(headers: &HeaderMap) -> impl DoubleEndedIterator<Item = &[u8]> {
    let values = headers.get_all(X_FORWARDED_FOR).iter();
    let split = values.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    split.map(<[u8]>::trim_ascii)
}

/// An entry as proxies write it: `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]`,
/// `[2001:db8::1]:4711`, or one of these in quotes (RFC 7239 section 6 has the same forms).
pub(crate) fn address(entry: &[u8]) -> Option<IpAddr> {
    let entry = std::str::from_utf8(entry).ok()?;
    let entry = match entry.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"')?,
        None => entry,
    };
    if let Some(bracketed) = entry.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        if !port.is_empty() && !is_port(port.strip_prefix(':')?) {
            return None;
        }
        return Some(IpAddr::from(address.parse::<Ipv6Addr>().ok()?).to_canonical());
    }
    let address = match entry.split_once(':') {
        // One colon: an address of version 6 has two at least.
        Some((address, port)) if !port.contains(':') => {
            if !address.contains('.') || !is_port(port) {
                return None;
            }
            address
        }
        _ => entry,
    };
    Some(address.parse::<IpAddr>().ok()?.to_canonical())
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_entry_is_an_address_with_or_without_a_port() {
        for (entry, expected) in [
            ("203.0.113.9", "203.0.113.9"),
            ("203.0.113.9:4711", "203.0.113.9"),
            ("203.0.113.9:0", "203.0.113.9"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("\"203.0.113.9\"", "203.0.113.9"),
            ("\"203.0.113.9:80\"", "203.0.113.9"),
            ("\"[2001:db8::1]:80\"", "2001:db8::1"),
            ("\"2001:db8::1\"", "2001:db8::1"),
            // An address of version 4 in either dress is the same client.
            ("::ffff:203.0.113.9", "203.0.113.9"),
            ("[::ffff:203.0.113.9]:80", "203.0.113.9"),
        ] {
            assert_eq!(address(entry.as_bytes()), Some(ip(expected)), "{entry}");
        }
    }

    #[test]
    fn what_is_no_address_is_none() {
        for entry in [
            "",
            "unknown",
            "_hidden",
            "-",
            "unix:",
            "localhost",
            "example.com:80",
            "203.0.113",
            "203.0.113.9.1",
            "203.0.113.256",
            "010.0.0.1",
            "0x7f.0.0.1",
            "2130706433",
            "203.0.113.9/32",
            "203.0.113.9:",
            "203.0.113.9:x",
            "203.0.113.9:+80",
            "203.0.113.9:65536",
            "203.0.113.9:80:80",
            "203.0.113.9 80",
            "203.0.113.9;a",
            "[203.0.113.9]",
            "[203.0.113.9]:80",
            "[2001:db8::1",
            "2001:db8::1]",
            "[2001:db8::1]80",
            "[2001:db8::1]:",
            "[2001:db8::1]:x",
            "[2001:db8::1]:65536",
            "[[2001:db8::1]]",
            "[]",
            "[]:80",
            ":80",
            "1:80",
            "fe80::1%eth0",
            "[fe80::1%25eth0]",
            "2001:db8::1::2",
            "\"203.0.113.9",
            "203.0.113.9\"",
            "\"\"",
            "\"",
            "\" 203.0.113.9\"",
            "'203.0.113.9'",
            "for=203.0.113.9",
            "203.0.113.9\0",
            "203.0.113.9\u{661}",
        ] {
            assert_eq!(address(entry.as_bytes()), None, "{entry:?}");
        }
        assert_eq!(address(b"203.0.113.9\xff"), None);
    }

    #[test]
    fn the_client_is_the_rightmost_address_that_is_not_trusted() {
        let trusts = |address: IpAddr| address.is_loopback();
        for (peer, forwarded, expected) in [
            ("9.9.9.9", &["1.1.1.1"][..], Some("9.9.9.9")),
            ("9.9.9.9", &["junk"], Some("9.9.9.9")),
            ("127.0.0.1", &[], Some("127.0.0.1")),
            (
                "127.0.0.1",
                &["1.1.1.1, 2.2.2.2, 127.0.0.2"],
                Some("2.2.2.2"),
            ),
            ("127.0.0.1", &["1.1.1.1", "2.2.2.2"], Some("2.2.2.2")),
            (
                "127.0.0.1",
                &["1.1.1.1:1, 2.2.2.2:2, 127.0.0.2:3"],
                Some("2.2.2.2"),
            ),
            ("127.0.0.1", &["junk, 2.2.2.2"], Some("2.2.2.2")),
            ("127.0.0.1", &["1.1.1.1, ::ffff:127.0.0.1"], Some("1.1.1.1")),
            ("127.0.0.1", &["127.0.0.2"], Some("127.0.0.2")),
            ("127.0.0.1", &["1.1.1.1, junk"], None),
            ("127.0.0.1", &["1.1.1.1, unknown, 127.0.0.2"], None),
            ("127.0.0.1", &["1.1.1.1, "], None),
            ("127.0.0.1", &["1.1.1.1", ""], None),
            ("127.0.0.1", &[""], None),
            ("127.0.0.1", &["1.1.1.1,,127.0.0.2"], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append(X_FORWARDED_FOR, HeaderValue::from_static(value));
            }
            assert_eq!(
                client(&headers, ip(peer), trusts),
                expected.map(ip),
                "{peer} {forwarded:?}"
            );
        }
    }
}
