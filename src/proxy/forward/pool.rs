//! The pool of connections to upstreams: opened for an attempt, and kept for the next one.

mod authorities;
mod connection;
mod connector;
mod group;
pub(super) mod happy_eyeballs;
mod limit;
mod opening;
mod recovery;

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use pingora::protocols::{ALPN, Stream};
use pingora::{Error, ErrorType};

use super::deadline::{Deadline, Deadlines};
use super::error::{self, describe};
use super::http2::Http2Connection;
use crate::gateway::{HttpVersion, PeerAddress, Upstream};
use group::lock;
use happy_eyeballs::{Connecting, Outcome, RaceError};
use limit::{Limit, LimitReached};
use recovery::RecoveryProbes;

pub(super) use connection::{Acquired, Lease, PooledConnection};
pub(super) use connector::{Connector, connect_plain};
pub(super) use group::ConnectionGroup;
pub(super) use limit::Permit;

/// How often overdue exchanges are looked for.
const TICK: Duration = Duration::from_millis(100);
/// Every how many of these rounds the idle connections are looked through.
const SWEEP: u32 = 10;

/// Every connection to an upstream, and how they are opened.
#[derive(Default)]
pub struct UpstreamPool {
    deadlines: Arc<Deadlines>,
    limit: Limit,
    recovery: Arc<RecoveryProbes>,
    pub(super) connector: Arc<Connector>,
    /// Those of all upstreams. A request finds its own at its upstream.
    groups: Mutex<Vec<Arc<ConnectionGroup>>>,
    idle_count: Arc<AtomicUsize>,
}

/// Which versions of HTTP a connection may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Versions {
    Http1,
    /// Over https by ALPN, over http by prior knowledge.
    Http2,
    /// Whichever ALPN gives.
    Alpn,
}

/// A connection that was opened.
pub(super) enum Opened {
    Http1(PooledConnection),
    Http2(Http2Connection),
}

impl Versions {
    /// Those for a request to this upstream. `needs_http1`: HTTP/2 cannot carry it.
    pub(super) fn of(upstream: &Upstream, needs_http1: impl FnOnce() -> bool) -> Self {
        match upstream.url.http_version {
            HttpVersion::Http1 => Self::Http1,
            HttpVersion::Http2 => Self::Http2,
            HttpVersion::Auto if upstream.url.tls && !needs_http1() => Self::Alpn,
            HttpVersion::Auto => Self::Http1,
        }
    }

    pub(super) fn alpn(self) -> ALPN {
        match self {
            Self::Http1 => ALPN::H1,
            Self::Http2 => ALPN::H2,
            Self::Alpn => ALPN::H2H1,
        }
    }

    /// Whether HTTP/2 is spoken on a connection that was opened. An error: it should be, and the
    /// server does not.
    pub(super) fn is_http2(self, stream: &Stream, tls: bool) -> pingora::Result<bool> {
        let negotiated = stream.selected_alpn_proto() == Some(ALPN::H2);
        match self {
            Self::Http1 => Ok(false),
            Self::Http2 if tls && !negotiated => Err(error::invalid_response(error::NO_HTTP2)),
            Self::Http2 => Ok(true),
            Self::Alpn => Ok(negotiated),
        }
    }
}

impl UpstreamPool {
    /// The connections to an upstream.
    pub(super) fn group(&self, upstream: &Upstream) -> Arc<ConnectionGroup> {
        let find = || {
            let mut groups = lock(&self.groups);
            let known = groups.iter().find(|group| group.is_of(upstream)).cloned();
            known.unwrap_or_else(|| {
                let group = Arc::new(ConnectionGroup::new(upstream, &self.idle_count));
                groups.push(group.clone());
                group
            })
        };
        let found = upstream.extension(|| Box::new(find()));
        found.downcast_ref().cloned().unwrap_or_else(find)
    }

    /// Opens a connection to the address whose turn it is, or to another one of the upstream's: TLS
    /// included. Over HTTP/2, several requests share it. An error: none of them took it.
    pub(super) async fn open(
        self: &Arc<Self>,
        group: &Arc<ConnectionGroup>,
        upstream: &Arc<Upstream>,
        turn: &PeerAddress,
        versions: Versions,
    ) -> pingora::Result<Acquired> {
        if versions != Versions::Http1 {
            return self.open_shared(group, upstream, turn, versions).await;
        }
        match self.connect(group, upstream, turn, versions, None).await? {
            Opened::Http1(connection) => Ok(Acquired::Http1(connection)),
            Opened::Http2(_) => Error::e_explain(ErrorType::InternalError, "HTTP/2 unasked"),
        }
    }

    /// Opens a connection that is for one client alone, which its PROXY header names.
    pub(super) async fn open_for_client(
        &self,
        group: &ConnectionGroup,
        upstream: &Arc<Upstream>,
        turn: &PeerAddress,
        versions: Versions,
        header: Bytes,
    ) -> pingora::Result<Acquired> {
        let opened = self.connect(group, upstream, turn, versions, Some(header));
        match opened.await? {
            Opened::Http1(connection) => Ok(Acquired::Http1(connection)),
            Opened::Http2(connection) => connection
                .reserve()
                .map(Acquired::Http2)
                .ok_or_else(|| error::invalid_response(error::NO_STREAMS)),
        }
    }

    async fn connect(
        &self,
        group: &ConnectionGroup,
        upstream: &Arc<Upstream>,
        turn: &PeerAddress,
        versions: Versions,
        proxy_header: Option<Bytes>,
    ) -> pingora::Result<Opened> {
        let connect = |address: PeerAddress, beside| {
            let permit = match self.permit(upstream, beside) {
                Err(_) if beside => return None,
                permit => permit,
            };
            let header = proxy_header.clone();
            let connecting: Connecting<'_, _, _> = Box::pin(async move {
                let permit = permit?;
                let connecting =
                    self.connector
                        .connect(upstream, &address, versions.alpn(), header);
                self.begin(
                    group,
                    upstream,
                    connecting.await?,
                    address,
                    permit,
                    versions,
                )
                .await
            });
            Some(connecting)
        };
        let order = upstream.addresses_in_order(Some(turn));
        let within = upstream.settings.connect_timeout;
        let note = |address: &PeerAddress, outcome: Outcome<'_, Box<Error>>| {
            let outcome = match outcome {
                Outcome::Connected => Outcome::Connected,
                Outcome::Failed(error) => Outcome::Failed(&**error),
                Outcome::Slow => Outcome::Slow,
            };
            self.note(upstream, address, outcome);
        };
        match happy_eyeballs::race(order, within, connect, note).await {
            Ok((_, opened)) => Ok(opened),
            Err(RaceError::Failed(error)) => Err(error),
            Err(RaceError::TimedOut) => Error::e_explain(ErrorType::ConnectTimedout, "connecting"),
            Err(RaceError::NoAddress) => {
                Error::e_explain(ErrorType::Custom(error::UNRESOLVED), "no address")
            }
        }
    }

    /// Begins HTTP on a stream to this address.
    async fn begin(
        &self,
        group: &ConnectionGroup,
        upstream: &Upstream,
        stream: Stream,
        address: PeerAddress,
        permit: Permit,
        versions: Versions,
    ) -> pingora::Result<Opened> {
        let http2 = versions.is_http2(&stream, upstream.url.tls)?;
        if versions == Versions::Alpn {
            group.set_negotiated_http1(!http2);
        }
        if http2 {
            let made = Http2Connection::handshake(stream, address, permit, &self.deadlines);
            let connection = made.await?;
            return match connection.max_streams() {
                0 => Err(error::invalid_response(error::NO_STREAMS)),
                _ => Ok(Opened::Http2(connection)),
            };
        }
        let deadline = Arc::new(Deadline::new());
        self.deadlines.watch(&deadline);
        let lease = Lease {
            deadline,
            address,
            reused: false,
            on_trial_until: None,
            _permit: permit,
        };
        Ok(Opened::Http1(PooledConnection { stream, lease }))
    }

    /// Takes note of what came of an address. One that failed is tried last until a connection to
    /// it can be made.
    fn note(&self, upstream: &Arc<Upstream>, address: &PeerAddress, outcome: Outcome<'_, Error>) {
        let why = match outcome {
            Outcome::Connected => return upstream.addresses.mark_working(address),
            Outcome::Failed(error) if error::is_local(error.etype()) => return,
            Outcome::Failed(error) => describe(error),
            Outcome::Slow => "no connection in time".to_owned(),
        };
        if upstream.addresses.mark_failed(address, &why) {
            self.recovery.add(upstream, address);
        }
    }

    /// An upstream took a connection at this address and closed it without a response.
    pub(super) fn connection_broke(
        &self,
        upstream: &Arc<Upstream>,
        address: &PeerAddress,
        error: &Error,
    ) {
        if error::is_broken(error) {
            self.note(upstream, address, Outcome::Failed(error));
        }
    }

    /// Sets how many connections there may be in all. Those that are open stay.
    pub fn set_limit(&self, most: usize) {
        self.limit.set(most);
    }

    /// Whether so many are open that one should not wait for a single client.
    pub(super) fn is_over_half_full(&self, upstream: &Upstream) -> bool {
        self.limit.is_over_half_full(upstream)
    }

    /// Leave to open one more. Idle ones go, if need be, but not for one `beside` another.
    fn permit(&self, upstream: &Upstream, beside: bool) -> pingora::Result<Permit> {
        loop {
            let full = match self.limit.enter(upstream) {
                Ok(permit) => return Ok(permit),
                Err(_) if beside => return Err(Error::new(ErrorType::Custom(error::AT_LIMIT))),
                Err(full) => full,
            };
            if !self.close_longest_idle(full, upstream) {
                self.limit.log_reached(full, upstream);
                return Err(Error::new(ErrorType::Custom(error::AT_LIMIT)));
            }
        }
    }

    /// Closes the connection that has been idle longest of those that count towards the limit;
    /// `false`: none is idle.
    fn close_longest_idle(&self, full: LimitReached, upstream: &Upstream) -> bool {
        let counts = |group: &&Arc<ConnectionGroup>| match full {
            LimitReached::Backend => group.is_of_backend(upstream),
            LimitReached::All => true,
        };
        let groups = lock(&self.groups);
        let longest = groups
            .iter()
            .filter(counts)
            .filter_map(|group| Some((group.longest_idle()?, group)))
            .max_by_key(|(idle, _)| *idle);
        let longest = longest.map(|(_, group)| group.clone());
        drop(groups);
        longest.is_some_and(|group| group.close_longest_idle())
    }

    /// Ends overdue exchanges and closes idle connections for as long as the process lives: what is
    /// in flight during a shutdown has its deadlines too.
    pub async fn run(self: &Arc<Self>) {
        let mut tick = tokio::time::interval(TICK);
        loop {
            for _ in 0..SWEEP {
                tick.tick().await;
                self.deadlines.check();
            }
            let groups = lock(&self.groups).clone();
            groups.iter().for_each(|group| group.sweep());
            drop(groups);
            // What no upstream has any more, and no client is bound to.
            lock(&self.groups).retain(|group| Arc::strong_count(group) > 1 || !group.is_empty());
            self.recovery.begin(&self.connector);
        }
    }
}
