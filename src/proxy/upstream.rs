//! Connections to upstreams: opened for an attempt, and kept for the next one.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
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
use pingora::{Error, ErrorType};
use tokio::net::TcpStream;

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
    /// With TLS: whose certificate was shown, and the authorities that vouched for it; `None`: the system's.
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
    deadlines: Arc<Deadlines>,
    authorities: Authorities,
    /// Made when it is first needed: it holds the system's certificates.
    transport: OnceLock<TransportConnector>,
    idle: Idle,
}

impl Connections {
    /// One that was kept; `None`: there is none.
    pub(super) fn kept(&self, upstream: &Upstream, address: SocketAddr) -> Option<Link> {
        self.idle
            .take(address, |purpose| purpose.fits(upstream, address))
    }

    /// Keeps one for another request. Its exchange must be over, and it must be fit for another one.
    pub(super) fn keep(&self, link: Link) {
        self.idle.put(link);
    }

    /// Opens one, TLS included.
    pub(super) async fn open(
        &self,
        upstream: &Upstream,
        address: SocketAddr,
    ) -> pingora::Result<Link> {
        let transport = self.transport.get_or_init(|| TransportConnector::new(None));
        let stream = transport.new_stream(&self.peer(upstream, address)).await?;
        let deadline = deadline_of(&stream).ok_or_else(|| {
            Error::explain(ErrorType::InternalError, "a connection without a deadline")
        })?;
        Ok(Link {
            stream,
            deadline,
            purpose: Purpose::new(upstream, address),
        })
    }

    fn peer(&self, upstream: &Upstream, address: SocketAddr) -> HttpPeer {
        let (settings, url) = (&upstream.settings, &upstream.url);
        let server_name = if url.tls {
            url.host.clone()
        } else {
            String::new()
        };
        let mut peer = HttpPeer::new(address, url.tls, server_name);
        let options = &mut peer.options;
        options.custom_l4 = Some(Arc::new(Connector(self.deadlines.clone())));
        options.total_connection_timeout = Some(settings.connect_timeout);
        options.connection_timeout = Some(settings.connect_timeout);
        if let Some(roots) = &upstream.roots {
            options.ca = Some(self.authorities.of(roots));
        }
        peer
    }

    /// Cuts overdue connections and closes idle ones for as long as the process lives: what is in flight during a shutdown has its deadlines too.
    pub async fn run(&self) {
        let mut tick = tokio::time::interval(TICK);
        loop {
            for _ in 0..SWEEP {
                tick.tick().await;
                self.deadlines.check();
            }
            self.idle.sweep();
        }
    }
}

/// Opens connections that have a deadline.
#[derive(Debug)]
struct Connector(Arc<Deadlines>);

#[async_trait]
impl Connect for Connector {
    async fn connect(&self, addr: &PeerAddr) -> pingora::Result<Socket> {
        let addr = addr.as_inet().ok_or_else(|| {
            Error::explain(
                ErrorType::InternalError,
                "upstream address is not an internet address",
            )
        })?;
        let tcp = TcpStream::connect(addr).await.map_err(|error| {
            let kind = failure::kind_of_connect(&error);
            Error::because(kind, format!("connecting to {addr}"), error)
        })?;
        let socket = socket2::SockRef::from(&tcp).try_clone().map_err(|error| {
            let kind = failure::kind_of_connect(&error);
            Error::because(kind, "second handle of the upstream socket", error)
        })?;
        let deadline = Arc::new(Deadline::new(socket));
        self.0.watch(&deadline);
        let mut stream = Socket::from(tcp);
        // The place that Pingora has for what a connection brings along; no proxy is involved.
        let head = Box::new(ResponseHeader::build(200, Some(0))?);
        stream.set_proxy_digest(ProxyDigest::new(head, Some(Box::new(deadline))));
        Ok(stream)
    }
}

fn deadline_of(stream: &Stream) -> Option<Arc<Deadline>> {
    let digest = stream.get_proxy_digest()?;
    digest.user_data.as_ref()?.downcast_ref().cloned()
}
