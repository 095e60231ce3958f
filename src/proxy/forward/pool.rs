//! Connections to upstreams: opened for an attempt, and kept for the next one.

mod authorities;
pub(crate) mod happy_eyeballs;
pub(crate) mod idle;
mod limit;
mod recovery;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

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

use super::deadline::{Deadline, Deadlines};
use super::failure;
use crate::gateway::{Addresses, Upstream};
use authorities::Authorities;
use happy_eyeballs::{Attempt, Outcome, RaceError};
use idle::Idle;
use limit::{Limit, LimitReached, Permit};
use recovery::RecoveryProbes;

/// How often overdue exchanges are looked for.
const TICK: Duration = Duration::from_millis(100);
/// Every how many of these rounds the idle connections are looked through.
const SWEEP: u32 = 10;

/// A connection to an upstream.
pub(crate) struct Link {
    pub(crate) stream: Stream,
    pub(crate) deadline: Arc<Deadline>,
    pub(crate) purpose: Purpose,
    pub(crate) permit: Permit,
}

impl Link {
    /// Whether another one to this upstream, at this address, would be the same.
    pub(crate) fn fits(&self, upstream: &Upstream, address: SocketAddr) -> bool {
        self.permit.is_of(upstream) && self.purpose.fits(upstream, address)
    }
}

/// What a connection may be used for.
#[derive(Debug)]
pub(crate) struct Purpose {
    pub(crate) address: SocketAddr,
    /// Those of the upstream's name: idle connections to one that has left them are closed.
    pub(crate) addresses: Arc<Addresses>,
    /// With TLS: whose certificate was shown, and the authorities that vouched for it; `None`: the
    /// system's.
    pub(crate) tls: Option<(String, Option<u64>)>,
}

impl Purpose {
    fn new(upstream: &Upstream, address: SocketAddr) -> Self {
        let roots = upstream.roots.as_ref().map(|roots| roots.id);
        let url = &upstream.url;
        Self {
            address,
            addresses: upstream.addresses.clone(),
            tls: url.tls.then(|| (url.host.clone(), roots)),
        }
    }

    fn fits(&self, upstream: &Upstream, address: SocketAddr) -> bool {
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
    deadlines: Deadlines,
    limit: Limit,
    pub(crate) recovery: RecoveryProbes,
    authorities: Authorities,
    transport: OnceCell<TransportConnector>,
    idle: Idle,
}

impl Connections {
    /// One that was kept; `None`: there is none.
    pub(crate) fn kept(&self, upstream: &Upstream, address: SocketAddr) -> Option<Link> {
        self.idle.take(address, |link| link.fits(upstream, address))
    }

    /// Keeps one for another request. Its exchange must be over, and it must be fit for another
    /// one.
    pub(crate) fn keep(&self, link: Link) {
        self.idle.put(link);
    }

    /// Opens one to the address whose turn it is, or to another one of the upstream's: TLS included.
    /// An error: none of them took it.
    pub(crate) async fn open(
        &self,
        upstream: &Arc<Upstream>,
        turn: SocketAddr,
    ) -> pingora::Result<Link> {
        let connect = |address, beside| {
            let permit = match self.permit(upstream, beside) {
                Err(_) if beside => return None,
                permit => permit,
            };
            let attempt: Attempt<'_, _, _> =
                Box::pin(async move { Ok((permit?, self.connect(upstream, address).await?)) });
            Some(attempt)
        };
        let order = upstream.addresses_in_order(Some(turn));
        let within = upstream.settings.connect_timeout;
        let note = |address, outcome: Outcome<'_, Box<Error>>| {
            let outcome = match outcome {
                Outcome::Connected => Outcome::Connected,
                Outcome::Failed(error) => Outcome::Failed(&**error),
                Outcome::Slow => Outcome::Slow,
            };
            self.note(upstream, address, outcome);
        };
        let (address, (permit, stream)) =
            match happy_eyeballs::race(order, within, connect, note).await {
                Ok(made) => made,
                Err(RaceError::Failed(error)) => return Err(error),
                Err(RaceError::TimedOut) => {
                    return Error::e_explain(ErrorType::ConnectTimedout, "connecting");
                }
                Err(RaceError::NoAddress) => {
                    return Error::e_explain(ErrorType::Custom(failure::UNRESOLVED), "no address");
                }
            };
        let deadline = Arc::new(Deadline::new());
        self.deadlines.watch(&deadline);
        Ok(Link {
            stream,
            deadline,
            purpose: Purpose::new(upstream, address),
            permit,
        })
    }

    /// Takes note of what came of an address. One that failed is tried last until a connection to it
    /// can be made.
    fn note(&self, upstream: &Arc<Upstream>, address: SocketAddr, outcome: Outcome<'_, Error>) {
        let why = match outcome {
            Outcome::Connected => return upstream.addresses.mark_working(address),
            Outcome::Failed(error) if failure::is_ours(error) => return,
            Outcome::Failed(error) => failure::reason(error),
            Outcome::Slow => "no connection in time".to_owned(),
        };
        if upstream.addresses.mark_failed(address, &why) {
            self.recovery.add(upstream, address);
        }
    }

    /// An upstream took a connection at this address and closed it without an answer.
    pub(crate) fn connection_broke(
        &self,
        upstream: &Arc<Upstream>,
        address: SocketAddr,
        error: &Error,
    ) {
        if failure::is_broken(error) {
            self.note(upstream, address, Outcome::Failed(error));
        }
    }

    /// Opens one to this address, that is neither counted nor kept.
    pub(crate) async fn connect(
        &self,
        upstream: &Upstream,
        address: SocketAddr,
    ) -> pingora::Result<Stream> {
        if upstream.url.tls {
            let transport = self.transport().await?;
            return transport.new_stream(&self.peer(upstream, address)).await;
        }
        Ok(Box::new(connect(address).await?))
    }

    /// Sets how many connections there may be in all. Those that are open stay.
    pub fn set_limit(&self, most: usize) {
        self.limit.set(most);
    }

    /// Leave to open one more. Idle ones go, if need be, but not for one `beside` another.
    fn permit(&self, upstream: &Upstream, beside: bool) -> pingora::Result<Permit> {
        loop {
            let full = match self.limit.enter(upstream) {
                Ok(permit) => return Ok(permit),
                Err(_) if beside => return Err(Error::new(ErrorType::Custom(failure::AT_LIMIT))),
                Err(full) => full,
            };
            let closed = self.idle.close_one(|link| match full {
                LimitReached::Backend => link.permit.is_of(upstream),
                LimitReached::All => true,
            });
            if !closed {
                self.limit.log_reached(full, upstream);
                return Err(Error::new(ErrorType::Custom(failure::AT_LIMIT)));
            }
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

    fn peer(&self, upstream: &Upstream, address: SocketAddr) -> HttpPeer {
        let settings = &upstream.settings;
        let mut peer = HttpPeer::new(address, true, upstream.url.host.clone());
        let options = &mut peer.options;
        options.custom_l4 = Some(Arc::new(Connector));
        options.total_connection_timeout = Some(settings.connect_timeout);
        if let Some(roots) = &upstream.roots {
            options.ca = Some(self.authorities.of(roots));
        }
        peer
    }

    /// Ends overdue exchanges and closes idle ones for as long as the process lives: what is in
    /// flight during a shutdown has its deadlines too.
    pub async fn run(self: &Arc<Self>) {
        let mut tick = tokio::time::interval(TICK);
        loop {
            for _ in 0..SWEEP {
                tick.tick().await;
                self.deadlines.check();
            }
            self.idle.sweep();
            self.recovery.begin(self);
        }
    }
}

/// Opens a connection, without TLS.
async fn connect(address: SocketAddr) -> pingora::Result<Socket> {
    let failed = |context: &'static str| {
        move |error| Error::because(failure::kind_of_connect(&error), context, error)
    };
    let tcp = TcpStream::connect(address).await;
    let tcp = tcp.map_err(failed("connecting"))?;
    tcp.set_nodelay(true).map_err(failed("setting it up"))?;
    Ok(Socket::from(tcp))
}

/// The same, for Pingora's TLS.
#[derive(Debug)]
struct Connector;

#[async_trait]
impl Connect for Connector {
    async fn connect(&self, address: &PeerAddr) -> pingora::Result<Socket> {
        let address = address.as_inet().ok_or_else(|| {
            Error::explain(
                ErrorType::InternalError,
                "upstream address is not an internet address",
            )
        })?;
        connect(*address).await
    }
}
