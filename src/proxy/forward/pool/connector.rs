//! Opens connections to upstreams, TLS included.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use pingora::connectors::TransportConnector;
use pingora::connectors::l4::Connect;
use pingora::protocols::Stream;
use pingora::protocols::l4::socket::SocketAddr as PeerAddr;
use pingora::protocols::l4::stream::Stream as Socket;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, OrErr};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use super::authorities::Authorities;
use crate::gateway::Upstream;
use crate::proxy::forward::error;

/// What opens connections: they are neither counted nor kept here.
#[derive(Default)]
pub(crate) struct Connector {
    authorities: Authorities,
    transport: OnceCell<TransportConnector>,
}

impl Connector {
    /// Opens a connection to this address.
    pub(crate) async fn connect(
        &self,
        upstream: &Upstream,
        address: SocketAddr,
    ) -> pingora::Result<Stream> {
        if upstream.url.tls {
            let transport = self.transport().await?;
            return transport.new_stream(&self.peer(upstream, address)).await;
        }
        Ok(Box::new(connect_tcp(address).await?))
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

    fn peer(&self, upstream: &Upstream, address: SocketAddr) -> HttpPeer {
        let settings = &upstream.settings;
        let mut peer = HttpPeer::new(address, true, upstream.url.host.clone());
        let options = &mut peer.options;
        options.custom_l4 = Some(Arc::new(TcpConnector));
        options.total_connection_timeout = Some(settings.connect_timeout);
        if let Some(roots) = &upstream.roots {
            options.ca = Some(self.authorities.of(roots));
        }
        peer
    }
}

/// Opens a connection, without TLS.
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
struct TcpConnector;

#[async_trait]
impl Connect for TcpConnector {
    async fn connect(&self, address: &PeerAddr) -> pingora::Result<Socket> {
        let address = address.as_inet().ok_or_else(|| {
            Error::explain(
                ErrorType::InternalError,
                "upstream address is not an internet address",
            )
        })?;
        connect_tcp(*address).await
    }
}
