//! The header of the PROXY protocol, versions 1 and 2: a load balancer in front says with it whom
//! it speaks for, before anything else on the connection, TLS included.
//!
//! <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pingora::protocols::l4::socket::SocketAddr as PeerAddr;
use pingora::protocols::l4::stream::Stream as Socket;
use pingora::protocols::{GetSocketDigest, SocketDigest};
use ppp::v2::{Addresses, Protocol};
use ppp::{v1, v2};
use thiserror::Error;
use tokio::io::{AsyncRead, ReadBuf};

/// With its CRLF.
const MAX_V1: usize = 107;
/// Signature, command, family, length.
const V2_FIXED: usize = 16;
/// With its fields (TLVs), which are read and ignored. HAProxy and nginx send far less.
const MAX_V2: usize = 4096;
const V1_PREFIX: &[u8] = b"PROXY ";

/// Why there is no header.
#[derive(Debug, Error)]
pub(super) enum Error {
    #[error("the connection ended before its header")]
    Ended,
    #[error("no PROXY header of version 1 or 2")]
    Malformed,
    #[error("the PROXY header is longer than {MAX_V2} bytes")]
    TooLong,
}

/// Reads the header, and makes its source the peer of the socket. The bytes behind it stay to be
/// read.
pub(super) async fn read(socket: &mut Socket) -> Result<(), Error> {
    let mut read = Vec::new();
    let header = loop {
        let more = poll_fn(|context| poll_more(socket, context, &mut read)).await;
        if !more.unwrap_or(false) {
            return Err(Error::Ended);
        }
        if let Some(header) = parse(&read)? {
            break header;
        }
    };
    socket.rewind(&read[header.length..]);
    if let Some(source) = header.source {
        let digest = SocketDigest::from_raw_fd(socket.as_raw_fd());
        // It was made just now.
        let _ = digest.peer_addr.set(Some(PeerAddr::Inet(source)));
        socket.set_socket_digest(digest);
    }
    Ok(())
}

/// Whether anything was read. No memory is held for it meanwhile.
fn poll_more(
    socket: &mut Socket,
    context: &mut Context<'_>,
    read: &mut Vec<u8>,
) -> Poll<io::Result<bool>> {
    let mut room = [MaybeUninit::uninit(); 512];
    let mut room = ReadBuf::uninit(&mut room);
    ready!(Pin::new(socket).poll_read(context, &mut room))?;
    read.extend_from_slice(room.filled());
    Poll::Ready(Ok(!room.filled().is_empty()))
}

#[derive(Debug, PartialEq, Eq)]
struct Header {
    length: usize,
    /// `None`: the proxy speaks for itself (`LOCAL`), does not know (`UNKNOWN`, `AF_UNSPEC`), or
    /// speaks for somebody who did not come over TCP.
    source: Option<SocketAddr>,
}

/// The header that these bytes begin with; `None`: it is not whole.
fn parse(bytes: &[u8]) -> Result<Option<Header>, Error> {
    if begins(bytes, v2::PROTOCOL_PREFIX) {
        return parse_v2(bytes);
    }
    if !begins(bytes, V1_PREFIX) {
        return Err(Error::Malformed);
    }
    let within = &bytes[..bytes.len().min(MAX_V1)];
    let Some(end) = memchr::memmem::find(within, b"\r\n").map(|at| at + 2) else {
        return if within.len() < MAX_V1 {
            Ok(None)
        } else {
            Err(Error::Malformed)
        };
    };
    let header = v1::Header::try_from(&bytes[..end]).map_err(|_| Error::Malformed)?;
    let source = match header.addresses {
        v1::Addresses::Unknown => None,
        // A port in digits, which `u16` reads with a sign too.
        _ if bytes[..end].contains(&b'+') => return Err(Error::Malformed),
        v1::Addresses::Tcp4(ip) => Some((ip.source_address, ip.source_port).into()),
        v1::Addresses::Tcp6(ip) => Some((ip.source_address, ip.source_port).into()),
    };
    Ok(Some(Header {
        length: end,
        source,
    }))
}

fn parse_v2(bytes: &[u8]) -> Result<Option<Header>, Error> {
    let Some(fixed) = bytes.get(..V2_FIXED) else {
        return Ok(None);
    };
    let length = V2_FIXED + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > MAX_V2 {
        return Err(Error::TooLong);
    }
    // `LOCAL`: what else it says is to be ignored.
    const LOCAL: u8 = 0x20;
    let Some(whole) = bytes.get(..length) else {
        return Ok(None);
    };
    if fixed[12] == LOCAL {
        return Ok(Some(Header {
            length,
            source: None,
        }));
    }
    let header = v2::Header::try_from(whole).map_err(|_| Error::Malformed)?;
    let source = match (header.addresses, header.protocol) {
        (Addresses::Unspecified, _) => None,
        _ if header.tlvs().any(|field| field.is_err()) => return Err(Error::Malformed),
        (_, Protocol::Unspecified) => return Err(Error::Malformed),
        (Addresses::IPv4(ip), Protocol::Stream) => Some((ip.source_address, ip.source_port).into()),
        (Addresses::IPv6(ip), Protocol::Stream) => Some((ip.source_address, ip.source_port).into()),
        // Valid, and of no use here: to be taken for `AF_UNSPEC` (section 2.2).
        (Addresses::Unix(_), _) | (_, Protocol::Datagram) => None,
    };
    Ok(Some(Header { length, source }))
}

/// As far as there are bytes.
fn begins(bytes: &[u8], prefix: &[u8]) -> bool {
    let common = bytes.len().min(prefix.len());
    bytes[..common] == prefix[..common]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of version 2.
    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [v2::PROTOCOL_PREFIX, &[command, family], &length, body].concat()
    }

    const FOUR: &[u8] = &[203, 0, 113, 8, 127, 0, 0, 1, 0x12, 0x67, 0, 80];

    fn six() -> Vec<u8> {
        let source: std::net::Ipv6Addr = "2001:db8::7".parse().unwrap();
        [&source.octets()[..], &[0; 16], &[0, 1, 0, 2]].concat()
    }

    #[test]
    fn the_source_is_found_in_every_form() {
        let with_fields = [FOUR, b"\x04\0\x02ab\x20\0\x01x"].concat();
        let mixed = b"PROXY TCP6 ::ffff:203.0.113.7 ::1 1 2\r\n";
        for (bytes, source) in [
            (
                &b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 80\r\n"[..],
                Some("203.0.113.7:4711"),
            ),
            (
                b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n",
                Some("[2001:db8::7]:1"),
            ),
            (mixed, Some("[::ffff:203.0.113.7]:1")),
            (b"PROXY UNKNOWN\r\n", None),
            (b"PROXY UNKNOWN ffff::1 what ever\r\n", None),
            (&v2(0x21, 0x11, FOUR), Some("203.0.113.8:4711")),
            (&v2(0x21, 0x21, &six()), Some("[2001:db8::7]:1")),
            (&v2(0x21, 0x11, &with_fields), Some("203.0.113.8:4711")),
            (&v2(0x20, 0, b""), None),
            (&v2(0x20, 0x11, FOUR), None),
            (&v2(0x20, 0x99, b"abc"), None),
            (&v2(0x21, 0, b""), None),
            (&v2(0x21, 0x01, FOUR), None),
            (&v2(0x21, 0x12, FOUR), None),
            (&v2(0x21, 0x22, &six()), None),
            (&v2(0x21, 0x31, &[b'/'; 216]), None),
        ] {
            let source = source.map(|text| text.parse().unwrap());
            let whole = Some(Header {
                length: bytes.len(),
                source,
            });
            assert_eq!(parse(bytes).unwrap(), whole, "{}", bytes.escape_ascii());
            let behind = [bytes, b"\x16\x03\r\n\xff"].concat();
            assert_eq!(parse(&behind).unwrap(), whole, "with what follows");
            for end in 0..bytes.len() {
                let part = parse(&bytes[..end]).unwrap();
                assert_eq!(part, None, "{end} of {}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused_as_soon_as_it_can_be() {
        let long = format!("PROXY UNKNOWN {}", "x".repeat(MAX_V1));
        for bytes in [
            &b"G"[..],
            b"GET / HTTP/1.1\r\n",
            b"PROXY\r\n",
            b"proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
            b"PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
            b"PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n",
            b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n",
            b"PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n",
            b"PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n",
            b"PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n",
            b"PROXY TCP6 ::1 ::1 1 +2\r\n",
            b"PROXY TCP4 1.1.1.01 2.2.2.2 1 2\r\n",
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n",
            b"PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n",
            b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n\r\n",
            b"PROXY TCP4 \xff 2.2.2.2 1 2\r\n",
            long.as_bytes(),
            b"\r\n\r\n\0\r\nQUIX",
            b"\r\nGET / HTTP/1.1\r\n",
            b"\x16\x03\x01",
            &v2(0x11, 0x11, FOUR),
            &v2(0x22, 0x11, FOUR),
            &v2(0x21, 0x11, &FOUR[..11]),
            &v2(0x21, 0x51, FOUR),
            &v2(0x21, 0x13, FOUR),
            &v2(0x21, 0x10, FOUR),
            &v2(0x21, 0x11, &[FOUR, b"\x04"].concat()),
            &v2(0x21, 0x11, &[FOUR, b"\x04\0\x03ab"].concat()),
            &v2(0x21, 0x31, &[b'/'; 215]),
            &v2(0x21, 0x11, &[0; MAX_V2])[..V2_FIXED],
        ] {
            assert!(parse(bytes).is_err(), "{}", bytes.escape_ascii());
        }
        let longest = v2(
            0x21,
            0x11,
            &[FOUR, &[0; MAX_V2 - V2_FIXED - FOUR.len()]].concat(),
        );
        assert!(parse(&longest).unwrap().is_some());
    }
}
