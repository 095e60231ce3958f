//! Connections to upstreams: the peer of an attempt, and the deadlines that Pingora has no setting for.
//!
//! Pingora knows one time-out for every read from an upstream, and registers a timer for each read. We need two: one until the response head, one between bytes. So
//! each connection keeps a second handle of its socket, and a watcher shuts the socket down when the head, the next bytes or the whole exchange is overdue. Costs on
//! a request: a few atomic stores.

use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora::connectors::l4::Connect;
use pingora::http::ResponseHeader;
use pingora::protocols::l4::socket::SocketAddr as PeerAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{Digest, GetProxyDigest};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};
use tokio::net::TcpStream;

use super::authorities::Authorities;
use super::failure;
use crate::gateway::Upstream;

/// How often overdue connections are looked for.
const TICK: Duration = Duration::from_millis(100);
/// How long an idle connection is kept for the next request.
const IDLE: Duration = Duration::from_secs(60);

/// When a connection is overdue.
#[derive(Debug)]
pub(super) struct Deadline {
    socket: socket2::Socket,
    clock: Instant,
    /// Milliseconds since `clock`; 0: none.
    due: AtomicU64,
    /// Milliseconds between bytes; 0: `due` stands whatever arrives.
    pause: AtomicU64,
    passed: AtomicBool,
}

impl Deadline {
    /// Sets the time at which the connection is cut, or `None` for never.
    pub(super) fn set(&self, due: Option<Instant>) {
        self.pause.store(0, Ordering::Relaxed);
        let due = due.map_or(0, |due| self.millis(due).max(1));
        self.due.store(due, Ordering::Release);
    }

    /// Another attempt has the connection now.
    pub(super) fn begin(&self, due: Option<Instant>) {
        self.passed.store(false, Ordering::Release);
        self.set(due);
    }

    /// The answer is over; the connection is kept for the next request, but not for ever.
    pub(super) fn rest(&self) {
        self.set(Instant::now().checked_add(IDLE));
    }

    /// Bytes have arrived, and the next ones may take this long.
    pub(super) fn set_pause(&self, pause: Duration, total: Option<Instant>) {
        let next = Instant::now().checked_add(pause);
        self.set([next, total].into_iter().flatten().min());
        let pause = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        self.pause.store(pause, Ordering::Relaxed);
    }

    /// Whether the connection was cut for being overdue.
    pub(super) fn passed(&self) -> bool {
        self.passed.load(Ordering::Acquire)
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.clock).as_millis()).unwrap_or(u64::MAX)
    }

    fn has_unread(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        matches!(self.socket.peek(&mut byte), Ok(1..))
    }

    fn check(&self, now: Instant) {
        let due = self.due.load(Ordering::Acquire);
        if due == 0 || self.millis(now) < due {
            return;
        }
        // Bytes that nobody has read yet: it is the client that is slow, not the upstream.
        let next = match self.pause.load(Ordering::Relaxed) {
            pause @ 1.. if self.has_unread() => due.saturating_add(pause),
            _ => 0,
        };
        // What arrived just now has changed `due`: then it was in time.
        let still = self
            .due
            .compare_exchange(due, next, Ordering::AcqRel, Ordering::Acquire);
        if still.is_ok() && next == 0 {
            self.passed.store(true, Ordering::Release);
            if let Err(error) = self.socket.shutdown(std::net::Shutdown::Both) {
                log::debug!("upstream connection was gone before it was cut: {error}");
            }
        }
    }
}

/// Every open connection to an upstream.
#[derive(Debug, Default)]
pub struct Deadlines(Mutex<Vec<Weak<Deadline>>>);

impl Deadlines {
    fn watch(&self, deadline: &Arc<Deadline>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Arc::downgrade(deadline));
    }

    fn check(&self) {
        let now = Instant::now();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|deadline| match deadline.upgrade() {
            Some(deadline) => {
                deadline.check(now);
                true
            }
            None => false,
        });
    }

    /// Cuts overdue connections for as long as the process lives: what is in flight during a shutdown has its deadlines too.
    pub async fn run(&self) {
        let mut tick = tokio::time::interval(TICK);
        loop {
            tick.tick().await;
            self.check();
        }
    }
}

/// Opens connections that have a deadline.
#[derive(Debug)]
struct Connector(Arc<Deadlines>);

#[async_trait]
impl Connect for Connector {
    async fn connect(&self, addr: &PeerAddr) -> pingora::Result<Stream> {
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
        let deadline = Arc::new(Deadline {
            socket,
            clock: Instant::now(),
            due: AtomicU64::new(0),
            pause: AtomicU64::new(0),
            passed: AtomicBool::new(false),
        });
        self.0.watch(&deadline);
        let mut stream = Stream::from(tcp);
        // The place that Pingora has for what a connection brings along; no proxy is involved.
        let head = Box::new(ResponseHeader::build(200, Some(0))?);
        stream.set_proxy_digest(ProxyDigest::new(head, Some(Box::new(deadline))));
        Ok(stream)
    }
}

/// The deadline of the connection that an attempt got.
pub(super) fn deadline_of(digest: Option<&Digest>) -> Option<Arc<Deadline>> {
    digest?
        .proxy_digest
        .as_ref()?
        .user_data
        .as_ref()?
        .downcast_ref::<Arc<Deadline>>()
        .cloned()
}

/// How connections to upstreams are opened.
#[derive(Debug)]
pub(super) struct Connections {
    connector: Arc<Connector>,
    authorities: Authorities,
}

impl Connections {
    pub(super) fn new(deadlines: Arc<Deadlines>) -> Self {
        Self {
            connector: Arc::new(Connector(deadlines)),
            authorities: Authorities::default(),
        }
    }

    /// The peer for one attempt.
    pub(super) fn peer(&self, upstream: &Upstream, address: SocketAddr) -> Box<HttpPeer> {
        let (settings, url) = (&upstream.settings, &upstream.url);
        let server_name = if url.tls {
            url.host.clone()
        } else {
            String::new()
        };
        let mut peer = HttpPeer::new(address, url.tls, server_name);
        let options = &mut peer.options;
        options.custom_l4 = Some(self.connector.clone());
        options.total_connection_timeout = Some(settings.connect_timeout);
        options.connection_timeout = Some(settings.connect_timeout);
        options.write_timeout = Some(settings.read_timeout);
        if let Some(roots) = &upstream.roots {
            options.ca = Some(self.authorities.of(roots));
            // Pingora tells kept connections apart by address and name, not by who vouched for them.
            peer.group_key = roots.id;
        }
        Box::new(peer)
    }
}
