//! Connections to upstreams: opened for an attempt, and kept for the next one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::connectors::TransportConnector;
use pingora::connectors::l4::Connect;
use pingora::http::ResponseHeader;
use pingora::protocols::l4::socket::SocketAddr as PeerAddr;
use pingora::protocols::l4::stream::Stream as Socket;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{GetProxyDigest, Stream};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, OrErr};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::authorities::Authorities;
use super::deadline::{Deadline, Deadlines};
use super::failure;
use super::idle::Idle;
use crate::gateway::Upstream;

/// How often overdue connections are looked for.
const TICK: Duration = Duration::from_millis(100);
/// Every how many of these rounds the idle connections are looked through.
const SWEEP: u32 = 10;

/// A connection to an upstream.
pub(super) struct Link {
    pub(super) stream: Stream,
    pub(super) deadline: Arc<Deadline>,
    pub(super) purpose: Purpose,
}

/// What a connection may be used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Purpose {
    pub(super) address: SocketAddr,
    /// With TLS: whose certificate was shown, and the authorities that vouched for it; `None`: the
    /// system's.
    pub(super) tls: Option<(String, Option<u64>)>,
}

impl Purpose {
    fn new(upstream: &Upstream, address: SocketAddr) -> Self {
        let roots = upstream.roots.as_ref().map(|roots| roots.id);
        let url = &upstream.url;
        Self {
            address,
            tls: url.tls.then(|| (url.host.clone(), roots)),
        }
    }

    /// Whether a connection to this upstream, at this address, would be the same.
    pub(super) fn fits(&self, upstream: &Upstream, address: SocketAddr) -> bool {
        let roots = upstream.roots.as_ref().map(|roots| roots.id);
        let same_tls = match &self.tls {
            Some((host, vouched)) => {
                upstream.url.tls && *host == upstream.url.host && *vouched == roots
            }
            None => !upstream.url.tls,
        };
        same_tls && self.address == address
    }
}

/// Every connection to an upstream, and how they are opened.
#[derive(Default)]
pub struct Connections {
    connector: Arc<Connector>,
    authorities: Authorities,
    transport: OnceCell<TransportConnector>,
    idle: Idle,
}

impl Connections {
    /// One that was kept; `None`: there is none.
    pub(super) fn kept(&self, upstream: &Upstream, address: SocketAddr) -> Option<Link> {
        self.idle
            .take(address, |purpose| purpose.fits(upstream, address))
    }

    /// Keeps one for another request. Its exchange must be over, and it must be fit for another
    /// one.
    pub(super) fn keep(&self, link: Link) {
        self.idle.put(link);
    }

    /// Opens one, TLS included.
    pub(super) async fn open(
        &self,
        upstream: &Upstream,
        address: SocketAddr,
    ) -> pingora::Result<Link> {
        let stream = if upstream.url.tls {
            let transport = self.transport().await?;
            transport.new_stream(&self.peer(upstream, address)).await?
        } else {
            let connecting = self.connector.open(address);
            match timeout(upstream.settings.connect_timeout, connecting).await {
                Ok(socket) => Box::new(socket?),
                Err(_) => return Error::err(ErrorType::ConnectTimedout),
            }
        };
        let deadline = deadline_of(&stream).ok_or_else(|| {
            Error::explain(ErrorType::InternalError, "a connection without a deadline")
        })?;
        Ok(Link {
            stream,
            deadline,
            purpose: Purpose::new(upstream, address),
        })
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
        options.custom_l4 = Some(self.connector.clone());
        options.total_connection_timeout = Some(settings.connect_timeout);
        if let Some(roots) = &upstream.roots {
            options.ca = Some(self.authorities.of(roots));
        }
        peer
    }

    /// Cuts overdue connections and closes idle ones for as long as the process lives: what is in
    /// flight during a shutdown has its deadlines too.
    pub async fn run(&self) {
        let mut tick = tokio::time::interval(TICK);
        loop {
            for _ in 0..SWEEP {
                tick.tick().await;
                self.connector.0.check();
            }
            self.idle.sweep();
        }
    }
}

/// Opens connections that have a deadline, without TLS.
#[derive(Debug, Default)]
struct Connector(Deadlines);

impl Connector {
    async fn open(&self, address: SocketAddr) -> pingora::Result<Socket> {
        let failed = |context: &'static str| {
            move |error| Error::because(failure::kind_of_connect(&error), context, error)
        };
        let tcp = TcpStream::connect(address).await;
        let tcp = tcp.map_err(failed("connecting"))?;
        tcp.set_nodelay(true).map_err(failed("setting it up"))?;
        let socket = socket2::SockRef::from(&tcp).try_clone();
        let socket = socket.map_err(failed("second handle of the upstream socket"))?;
        let deadline = Arc::new(Deadline::new(socket));
        self.0.watch(&deadline);
        let mut stream = Socket::from(tcp);
        // The place that Pingora has for what a connection brings along; no proxy is involved.
        let head = Box::new(ResponseHeader::build(200, Some(0))?);
        stream.set_proxy_digest(ProxyDigest::new(head, Some(Box::new(deadline))));
        Ok(stream)
    }
}

#[async_trait]
impl Connect for Connector {
    async fn connect(&self, address: &PeerAddr) -> pingora::Result<Socket> {
        let address = address.as_inet().ok_or_else(|| {
            Error::explain(
                ErrorType::InternalError,
                "upstream address is not an internet address",
            )
        })?;
        self.open(*address).await
    }
}

fn deadline_of(stream: &Stream) -> Option<Arc<Deadline>> {
    let digest = stream.get_proxy_digest()?;
    digest.user_data.as_ref()?.downcast_ref().cloned()
}
