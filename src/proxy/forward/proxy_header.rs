//! The PROXY header that an upstream gets, with `send_proxy_protocol`: whom a connection is for.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use pingora::{ErrorType, OrErr};
use ppp::{v1, v2};

use crate::gateway::{ProxyProtocol, Upstream};
use crate::proxy::request::context::Context;

/// For the client of a request: as far as it is known, else for none.
pub(super) fn for_client(upstream: &Upstream, ctx: &Context) -> pingora::Result<Option<Bytes>> {
    let Some(version) = upstream.settings.send_proxy_protocol else {
        return Ok(None);
    };
    let peer = ctx.connection.peer;
    let client = ctx.client.map(|client| {
        // Behind a proxy, its port is not told.
        let is_peer = |peer: &SocketAddr| peer.ip().to_canonical() == client;
        SocketAddr::new(client, peer.filter(is_peer).map_or(0, |peer| peer.port()))
    });
    write(version, client.zip(ctx.connection.local)).map(Some)
}

/// For what the edge asks on its own account, such as a health check.
pub(super) fn for_edge(upstream: &Upstream) -> pingora::Result<Option<Bytes>> {
    let version = upstream.settings.send_proxy_protocol;
    version.map(|version| write(version, None)).transpose()
}

/// `ends`: the client's address, and the one that it has connected to.
fn write(version: ProxyProtocol, ends: Option<(SocketAddr, SocketAddr)>) -> pingora::Result<Bytes> {
    let ends = ends.map(|(source, destination)| of_one_family(source, destination));
    match (version, ends) {
        (ProxyProtocol::V1, None) => Ok(Bytes::from_static(b"PROXY UNKNOWN\r\n")),
        (ProxyProtocol::V1, Some(ends)) => Ok(v1::Addresses::from(ends).to_string().into()),
        (ProxyProtocol::V2, ends) => {
            let header = match ends {
                None => v2::Builder::with_addresses(
                    v2::Version::Two | v2::Command::Local,
                    v2::Protocol::Unspecified,
                    v2::Addresses::Unspecified,
                ),
                Some(ends) => v2::Builder::with_addresses(
                    v2::Version::Two | v2::Command::Proxy,
                    v2::Protocol::Stream,
                    ends,
                ),
            };
            let header = header.build();
            let header = header.or_err(ErrorType::InternalError, "writing the PROXY header")?;
            Ok(header.into())
        }
    }
}

/// Both as IPv4 where both are, else both as IPv6.
fn of_one_family(source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
    let ends = [source, destination].map(|end| (end.ip().to_canonical(), end.port()));
    let version_4 = ends.iter().all(|(ip, _)| ip.is_ipv4());
    let [source, destination] = ends.map(|(ip, port)| match ip {
        IpAddr::V4(ip) if !version_4 => SocketAddr::new(ip.to_ipv6_mapped().into(), port),
        ip => SocketAddr::new(ip, port),
    });
    (source, destination)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_of_one_family() {
        let ends = |source: &str, destination: &str| {
            Some((source.parse().unwrap(), destination.parse().unwrap()))
        };
        for (ends, line) in [
            (None, "PROXY UNKNOWN\r\n"),
            (
                ends("203.0.113.7:4711", "192.0.2.1:80"),
                "PROXY TCP4 203.0.113.7 192.0.2.1 4711 80\r\n",
            ),
            (
                ends("203.0.113.7:0", "[::ffff:192.0.2.1]:80"),
                "PROXY TCP4 203.0.113.7 192.0.2.1 0 80\r\n",
            ),
            (
                ends("203.0.113.7:1", "[2001:db8::1]:80"),
                "PROXY TCP6 ::ffff:203.0.113.7 2001:db8::1 1 80\r\n",
            ),
        ] {
            let written = write(ProxyProtocol::V1, ends).unwrap();
            assert_eq!(written, line.as_bytes());
            let written = write(ProxyProtocol::V2, ends).unwrap();
            let read = v2::Header::try_from(&written[..]).unwrap();
            assert_eq!(read.command == v2::Command::Local, ends.is_none());
            let expected = ends.map(|(source, to)| of_one_family(source, to));
            let expected = expected.map_or(v2::Addresses::Unspecified, Into::into);
            assert_eq!(read.addresses, expected);
        }
    }
}
