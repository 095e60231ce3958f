//! Under which address a client is counted.

use std::net::{IpAddr, Ipv6Addr};

/// The address that a client is counted under: of IPv6 its /64, since a single client has that many
/// addresses.
pub(crate) fn client_network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        IpAddr::V4(address) => IpAddr::V4(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_client_are_one() {
        for (address, network) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::"),
            ("2001:db8:0:1:2:3:4:5", "2001:db8:0:1::"),
        ] {
            let network: IpAddr = network.parse().unwrap();
            assert_eq!(client_network(address.parse().unwrap()), network);
        }
    }
}
