//! Host and port of a request, as `Host`, `:authority` and an absolute-form target have them.

use std::net::Ipv6Addr;

/// Splits the port off, if there is one.
pub(super) fn split_port(authority: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memrchr(b':', authority) {
        Some(colon) if !authority[colon..].contains(&b']') => {
            (&authority[..colon], Some(&authority[colon + 1..]))
        }
        _ => (authority, None),
    }
}

/// A host name, an IPv4 address or a bracketed IPv6 address, with an optional port. No user
/// information.
pub(super) fn is_authority(authority: &[u8]) -> bool {
    let (host, port) = split_port(authority);
    port.is_none_or(is_port)
        && match host.strip_prefix(b"[") {
            Some(literal) => literal
                .strip_suffix(b"]")
                .and_then(|literal| std::str::from_utf8(literal).ok())
                .is_some_and(|literal| literal.parse::<Ipv6Addr>().is_ok()),
            None => is_name(host),
        }
}

fn is_port(port: &[u8]) -> bool {
    (1..=5).contains(&port.len())
        && port.iter().all(u8::is_ascii_digit)
        && port
            .iter()
            .fold(0, |port, digit| port * 10 + u32::from(digit - b'0'))
            <= 0xffff
}

fn is_name(host: &[u8]) -> bool {
    let is_sound = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    (1..=253).contains(&host.len()) && host.iter().all(is_sound)
}
