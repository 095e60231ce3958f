//! Opens connections to upstreams, TLS included.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pingora::connectors::TransportConnector;
use pingora::connectors::l4::Connect;
use pingora::protocols::l4::socket::SocketAddr as PeerAddr;
use pingora::protocols::l4::stream::Stream as Socket;
use pingora::protocols::{ALPN, Stream};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, OrErr};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::authorities::Authorities;
use crate::gateway::{PeerAddress, Upstream};
use crate::proxy::forward::error;

/// How soon a unix socket whose backlog is full is tried again.
const BACKLOG_RETRY: Duration = Duration::from_millis(10);

/// What opens connections: they are neither counted nor kept here.
#[derive(Default)]
pub(crate) struct Connector {
    authorities: Authorities,
    transport: OnceCell<TransportConnector>,
}

impl Connector {
    /// Opens a connection to this address. `alpn`: what is offered over TLS. `proxy_header`: what
    /// is sent before anything else.
    pub(crate) async fn connect(
        &self,
        upstream: &Upstream,
        address: &PeerAddress,
        alpn: ALPN,
        proxy_header: Option<Bytes>,
    ) -> pingora::Result<Stream> {
        match address {
            PeerAddress::Inet(address) if upstream.url.tls => {
                let transport = self.transport().await?;
                transport
                    .new_stream(&self.peer(upstream, *address, alpn, proxy_header))
                    .await
            }
            _ => Ok(Box::new(connect_plain(address, proxy_header).await?)),
        }
    }

    /// What speaks TLS. Made when it is first needed, and off the workers: it reads the system's
    /// certificates, which takes as long as a thousand requests.
    async fn transport(&self) -> pingora::Result<&TransportConnector> {
        let make = || async {
            spawn_blocking(|| TransportConnector::new(None))
                .await
                .or_err(ErrorType::InternalError, "reading the certificates")
        };
        self.transport.get_or_try_init(make).await
    }

    fn peer(
        &self,
        upstream: &Upstream,
        address: SocketAddr,
        alpn: ALPN,
        proxy_header: Option<Bytes>,
    ) -> HttpPeer {
        let settings = &upstream.settings;
        let mut peer = HttpPeer::new(address, true, upstream.url.host.clone());
        let options = &mut peer.options;
        options.alpn = alpn;
        options.custom_l4 = Some(Arc::new(TcpConnector { proxy_header }));
        options.total_connection_timeout = Some(settings.connect_timeout);
        if let Some(roots) = &upstream.roots {
            options.ca = Some(self.authorities.of(roots));
        }
        peer
    }
}

/// Opens a connection, without TLS, and sends this header on it.
pub(crate) async fn connect_plain(
    address: &PeerAddress,
    proxy_header: Option<Bytes>,
) -> pingora::Result<Socket> {
    let mut socket = match address {
        PeerAddress::Inet(address) => connect_tcp(*address).await,
        PeerAddress::Unix(path) => connect_unix(path).await,
    }?;
    send(&mut socket, proxy_header).await?;
    Ok(socket)
}

async fn send(socket: &mut Socket, proxy_header: Option<Bytes>) -> pingora::Result<()> {
    let Some(header) = proxy_header else {
        return Ok(());
    };
    let sent = async {
        socket.write_all(&header).await?;
        socket.flush().await
    };
    let failed = |error| Error::because(ErrorType::ConnectError, "sending the PROXY header", error);
    sent.await.map_err(failed)
}

async fn connect_unix(path: &Path) -> pingora::Result<Socket> {
    loop {
        match UnixStream::connect(path).await {
            Ok(stream) => return Ok(Socket::from(stream)),
            // Too many wait to be accepted. TCP would try again by itself; the caller's time-out
            // bounds both.
            Err(error) if error.kind() == ErrorKind::WouldBlock => sleep(BACKLOG_RETRY).await,
            Err(error) => {
                let kind = error::kind_of_connect(&error);
                return Err(Error::because(kind, "connecting", error));
            }
        }
    }
}

async fn connect_tcp(address: SocketAddr) -> pingora::Result<Socket> {
    let failed = |context: &'static str| {
        move |error| Error::because(error::kind_of_connect(&error), context, error)
    };
    let tcp = TcpStream::connect(address).await;
    let tcp = tcp.map_err(failed("connecting"))?;
    tcp.set_nodelay(true).map_err(failed("setting it up"))?;
    Ok(Socket::from(tcp))
}

/// The same, for Pingora's TLS.
#[derive(Debug)]
struct TcpConnector {
    proxy_header: Option<Bytes>,
}

#[async_trait]
impl Connect for TcpConnector {
    async fn connect(&self, address: &PeerAddr) -> pingora::Result<Socket> {
        let address = address.as_inet().ok_or_else(|| {
            Error::explain(
                ErrorType::InternalError,
                "upstream address is not an internet address",
            )
        })?;
        let mut socket = connect_tcp(*address).await?;
        send(&mut socket, self.proxy_header.clone()).await?;
        Ok(socket)
    }
}
