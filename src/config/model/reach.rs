//! What may be connected to on behalf of Runbeam Cloud, address by address.
//!
//! The cloud may send requests anywhere, but not to what trusts this machine for being near: the
//! metadata service of a cloud provider, the Management API. An address is looked at in every
//! spelling that a network may read it in, after names are resolved, and again whenever they are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use ipnet::IpNet;

/// Metadata services whose address is not link-local: AWS, Google, Alibaba, Azure, Oracle.
const METADATA: [IpAddr; 5] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

/// What may be connected to on behalf of the cloud: for its backends, and for the URLs in its
/// steps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Reach {
    /// Where the Management API listens.
    pub management: Option<SocketAddr>,
    /// `runbeam.backend_allow`. `None`: whatever is not refused anyway.
    pub allow: Option<Vec<IpNet>>,
}

/// Why an address is not connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// `169.254.0.0/16`, `fe80::/10`.
    #[error("a link-local address, where metadata services are")]
    LinkLocal,
    /// A metadata service elsewhere.
    #[error("the address of a metadata service")]
    Metadata,
    /// Multicast and broadcast.
    #[error("a multicast or broadcast address")]
    Multicast,
    /// `0.0.0.0/8`, `::`.
    #[error("an unspecified address")]
    Unspecified,
    /// The port of the Management API at an address of this host.
    #[error("the Management API")]
    Management,
    /// `unix:PATH`.
    #[error("a unix socket")]
    UnixSocket,
    /// Not in `runbeam.backend_allow`.
    #[error("an address outside of runbeam.backend_allow")]
    NotAllowed,
}

impl Reach {
    /// Whether an address may be connected to.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn check(&self, address: SocketAddr) -> Result<(), Unreachable> {
        let ip = address.ip().to_canonical();
        for ip in [Some(ip), embedded(ip)].into_iter().flatten() {
            let own = self.management.filter(|own| own.port() == address.port());
            if own.is_some_and(|own| own.ip().to_canonical() == ip || is_of_this_host(ip)) {
                return Err(Unreachable::Management);
            }
            if let Some(refused) = refused(ip) {
                return Err(refused);
            }
        }
        let allows = |nets: &Vec<IpNet>| nets.iter().any(|net| net.contains(&ip));
        match self.allow.as_ref().is_none_or(allows) {
            true => Ok(()),
            false => Err(Unreachable::NotAllowed),
        }
    }
}

fn refused(ip: IpAddr) -> Option<Unreachable> {
    let (link_local, unspecified, multicast) = match ip {
        IpAddr::V4(v4) => (
            v4.is_link_local(),
            v4.octets()[0] == 0,
            v4.is_multicast() || v4.is_broadcast(),
        ),
        IpAddr::V6(v6) => (
            v6.is_unicast_link_local(),
            v6.is_unspecified(),
            v6.is_multicast(),
        ),
    };
    if link_local {
        Some(Unreachable::LinkLocal)
    } else if unspecified {
        Some(Unreachable::Unspecified)
    } else if multicast {
        Some(Unreachable::Multicast)
    } else {
        METADATA.contains(&ip).then_some(Unreachable::Metadata)
    }
}

/// The IPv4 address that an IPv6 address leads to: compatible (RFC 4291), translated (RFC 2765),
/// NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056). A mapped one is canonical already.
fn embedded(ip: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(v6) = ip else { return None };
    let four = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
    };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0 | 0xffff, 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            four(high, low)
        }
        // A prefix of the operator's own below 64:ff9b:1::/48: behind a /48 the octets go around
        // the one in the middle, behind a /96 they are the last ones.
        [0x64, 0xff9b, 1, high, low, rest, 0, 0] if rest & 0xff == 0 && low >> 8 == 0 => {
            let [c, _] = rest.to_be_bytes();
            four(high, low << 8 | u16::from(c))
        }
        [0x64, 0xff9b, 1, .., high, low] => four(high, low),
        [0x2002, high, low, ..] => four(high, low),
        _ => None,
    }
}

/// Whether an address is one of this machine's.
fn is_of_this_host(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(reach: &Reach, address: &str) -> Option<Unreachable> {
        reach.check(address.parse().unwrap()).err()
    }

    #[test]
    fn what_nobody_may_reach_in_every_spelling() {
        use Unreachable::{LinkLocal, Metadata, Multicast, Unspecified};
        let reach = Reach::default();
        for (ip, why) in [
            ("169.254.169.254", LinkLocal),
            ("169.254.0.1", LinkLocal),
            ("169.254.255.255", LinkLocal),
            ("224.0.0.1", Multicast),
            ("239.255.255.250", Multicast),
            ("255.255.255.255", Multicast),
            ("0.0.0.0", Unspecified),
            ("0.1.2.3", Unspecified),
            ("100.100.100.200", Metadata),
            ("168.63.129.16", Metadata),
            ("192.0.0.192", Metadata),
        ] {
            let [a, b, c, d] = ip.parse::<Ipv4Addr>().unwrap().octets();
            let (high, low) = (format!("{a:02x}{b:02x}"), format!("{c:02x}{d:02x}"));
            let mut spellings = vec![
                format!("{ip}:80"),
                format!("[::ffff:{ip}]:80"),
                format!("[::ffff:{high}:{low}]:80"),
                format!("[::ffff:0:{ip}]:80"),
                format!("[64:ff9b::{ip}]:80"),
                format!("[64:ff9b:1::{ip}]:80"),
                format!("[64:ff9b:1:{a:02x}{b:02x}:{c:02x}:{d:02x}00::]:80"),
                format!("[64:ff9b:1:7:8:9:{high}:{low}]:80"),
                format!("[2002:{high}:{low}::1]:80"),
            ];
            spellings.push(format!("[::{ip}]:80"));
            for spelling in spellings {
                assert_eq!(check(&reach, &spelling), Some(why), "{ip} as {spelling}");
            }
        }
        for (ip, why) in [
            ("fe80::1", LinkLocal),
            ("febf::1", LinkLocal),
            ("ff02::1", Multicast),
            ("::", Unspecified),
            ("fd00:ec2::254", Metadata),
            ("fd20:ce::254", Metadata),
        ] {
            assert_eq!(check(&reach, &format!("[{ip}]:80")), Some(why), "{ip}");
        }
        for address in [
            "10.0.0.5:80",
            "127.0.0.1:80",
            "169.253.1.1:80",
            "192.168.0.1:80",
            "[::1]:80",
            "[fd00::5]:80",
            "[fec0::1]:80",
            "[2001:db8::a9fe:a9fe]:80",
            "[64:ff9b::10.0.0.5]:80",
            "[::ffff:10.0.0.5]:80",
        ] {
            assert_eq!(check(&reach, address), None, "{address}");
        }
    }

    #[test]
    fn the_management_port_at_any_address_of_this_host() {
        for management in [
            "127.0.0.1:9090",
            "0.0.0.0:9090",
            "[::]:9090",
            "10.0.0.5:9090",
        ] {
            let reach = Reach {
                management: management.parse().ok(),
                allow: None,
            };
            for here in [
                "127.0.0.1",
                "127.9.9.9",
                "[::1]",
                "[::ffff:127.0.0.1]",
                "[::127.0.0.1]",
                "[64:ff9b::127.0.0.1]",
            ] {
                let refused = check(&reach, &format!("{here}:9090"));
                assert_eq!(
                    refused,
                    Some(Unreachable::Management),
                    "{here} {management}"
                );
                assert_eq!(check(&reach, &format!("{here}:9091")), None, "{here}");
            }
            assert_eq!(check(&reach, "192.0.2.6:9090"), None, "another host");
        }
        let reach = Reach {
            management: "10.0.0.5:9090".parse().ok(),
            allow: None,
        };
        for own in [
            "10.0.0.5:9090",
            "[::ffff:10.0.0.5]:9090",
            "[64:ff9b::10.0.0.5]:9090",
        ] {
            assert_eq!(check(&reach, own), Some(Unreachable::Management), "{own}");
        }
    }

    #[test]
    fn the_operator_can_narrow_it_and_not_widen() {
        let allowing = |nets: &[&str]| Reach {
            management: None,
            allow: Some(nets.iter().map(|net| net.parse().unwrap()).collect()),
        };
        let reach = allowing(&["10.1.0.0/16", "fd00::/8", "169.254.0.0/16", "64:ff9b::/96"]);
        for inside in [
            "10.1.2.3:80",
            "[::ffff:10.1.2.3]:80",
            "[fd00::1]:1",
            "[64:ff9b::808:808]:1",
        ] {
            assert_eq!(check(&reach, inside), None, "{inside}");
        }
        for outside in [
            "10.2.0.1:80",
            "127.0.0.1:80",
            "[::1]:80",
            "[2001:db8::1]:80",
        ] {
            assert_eq!(
                check(&reach, outside),
                Some(Unreachable::NotAllowed),
                "{outside}"
            );
        }
        let refused = check(&reach, "169.254.169.254:80");
        assert_eq!(refused, Some(Unreachable::LinkLocal));
        let refused = check(&allowing(&[]), "10.1.2.3:80");
        assert_eq!(
            refused,
            Some(Unreachable::NotAllowed),
            "an empty list allows nothing"
        );
    }
}
