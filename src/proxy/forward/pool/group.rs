//! The connections to one upstream: idle ones over HTTP/1.1, and those over HTTP/2, which carry
//! many requests. Each upstream has a lock of its own.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::connection::{Acquired, Lease, PooledConnection, is_quiet};
use super::opening::Opening;
use super::{Opened, Versions};
use crate::gateway::{
    Addresses, HttpVersion, OpenConnections, PeerAddress, ProxyProtocol, Upstream,
};
use crate::proxy::forward::deadline::IDLE;
use crate::proxy::forward::http2::{Http2Connection, MAX_STREAMS, Slot};

/// Most idle HTTP/1.1 connections that are kept, to all upstreams.
pub(super) const MAX_IDLE: usize = 1024;

/// The connections to one upstream. It outlives configurations: what they change of an upstream is
/// in its [`GroupKey`].
pub(crate) struct ConnectionGroup {
    key: GroupKey,
    /// Those of its name: connections to one that has left them are closed.
    addresses: Arc<Addresses>,
    /// The one that has waited least is last.
    idle: Mutex<Vec<PooledConnection>>,
    /// Idle HTTP/1.1 connections to all upstreams.
    idle_count: Arc<AtomicUsize>,
    http2: Mutex<Vec<Http2Connection>>,
    /// Whether ALPN gave HTTP/1.1 the last time.
    negotiated_http1: AtomicBool,
    room_of_next: AtomicUsize,
    pub(super) openings: Mutex<Vec<Opening>>,
}

/// What a connection may be used for.
#[derive(Debug)]
struct GroupKey {
    /// Tells the backend.
    backend: Arc<OpenConnections>,
    host: String,
    port: u16,
    socket: Option<Arc<Path>>,
    /// With TLS: the authorities that signed its certificate; `None` inside: the system's.
    tls: Option<Option<u64>>,
    http_version: HttpVersion,
    proxy_protocol: Option<ProxyProtocol>,
}

impl GroupKey {
    fn of(upstream: &Upstream) -> Self {
        let url = &upstream.url;
        Self {
            backend: upstream.connections.clone(),
            host: url.host.clone(),
            port: url.port,
            socket: url.socket.clone(),
            tls: tls_of(upstream),
            http_version: url.http_version,
            proxy_protocol: upstream.settings.send_proxy_protocol,
        }
    }

    fn is_of(&self, upstream: &Upstream) -> bool {
        let url = &upstream.url;
        Arc::ptr_eq(&self.backend, &upstream.connections)
            && (&self.host, self.port, &self.socket) == (&url.host, url.port, &url.socket)
            && self.tls == tls_of(upstream)
            && self.http_version == url.http_version
            && self.proxy_protocol == upstream.settings.send_proxy_protocol
    }
}

fn tls_of(upstream: &Upstream) -> Option<Option<u64>> {
    let roots = upstream.roots.as_ref().map(|roots| roots.id);
    upstream.url.tls.then_some(roots)
}

impl ConnectionGroup {
    pub(super) fn new(upstream: &Upstream, idle_count: &Arc<AtomicUsize>) -> Self {
        Self {
            key: GroupKey::of(upstream),
            addresses: upstream.addresses.clone(),
            idle: Mutex::default(),
            idle_count: idle_count.clone(),
            http2: Mutex::default(),
            negotiated_http1: AtomicBool::new(false),
            room_of_next: AtomicUsize::new(MAX_STREAMS),
            openings: Mutex::default(),
        }
    }

    /// Whether its connections are what another one to this upstream would be.
    pub(super) fn is_of(&self, upstream: &Upstream) -> bool {
        self.key.is_of(upstream)
    }

    /// Whether it is one of this upstream's backend.
    pub(super) fn is_of_backend(&self, upstream: &Upstream) -> bool {
        Arc::ptr_eq(&self.key.backend, &upstream.connections)
    }

    /// Takes a connection to this address that is there; `None`: there is none.
    pub(crate) fn take(&self, address: &PeerAddress, versions: Versions) -> Option<Acquired> {
        let http2 = || self.reserve(address).map(Acquired::Http2);
        let http1 = || self.take_idle(address).map(Acquired::Http1);
        match versions {
            Versions::Http1 => http1(),
            Versions::Http2 => http2(),
            Versions::Alpn => http2().or_else(http1),
        }
    }

    /// Takes an idle HTTP/1.1 connection to this address that the upstream has left alone: one that
    /// is closed, or has something to read, is none to send a request on.
    fn take_idle(&self, address: &PeerAddress) -> Option<PooledConnection> {
        loop {
            let mut idle = lock(&self.idle);
            let fits = |lease: &Lease| lease.address == *address && !lease.is_on_trial();
            let at = idle.iter().rposition(|it| fits(&it.lease))?;
            let mut connection = idle.remove(at);
            drop(idle);
            self.idle_count.fetch_sub(1, Ordering::Relaxed);
            if connection.wakes_quiet() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for another request, unless there are enough.
    pub(crate) fn put(&self, mut connection: PooledConnection) {
        connection.lease.deadline.rest();
        connection.lease.reused = true;
        if self.idle_count.fetch_add(1, Ordering::Relaxed) < MAX_IDLE {
            lock(&self.idle).push(connection);
        } else {
            self.idle_count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Takes room on an HTTP/2 connection to this address.
    fn reserve(&self, address: &PeerAddress) -> Option<Slot> {
        let all = lock(&self.http2);
        let mut fitting = all.iter().filter(|it| it.address() == address);
        fitting.find_map(Http2Connection::reserve)
    }

    /// Keeps a connection that was opened for whoever waits for it; its address.
    pub(super) fn keep(&self, opened: Opened) -> PeerAddress {
        match opened {
            Opened::Http1(connection) => {
                let address = connection.lease.address.clone();
                self.put(connection);
                address
            }
            Opened::Http2(connection) => {
                let address = connection.address().clone();
                self.room_of_next
                    .store(connection.max_streams(), Ordering::Relaxed);
                lock(&self.http2).push(connection);
                address
            }
        }
    }

    /// Takes note of what ALPN gave.
    pub(super) fn set_negotiated_http1(&self, http1: bool) {
        self.negotiated_http1.store(http1, Ordering::Relaxed);
    }

    /// How many requests the next HTTP/2 connection will have room for, as the last one had.
    pub(super) fn room_of_next(&self) -> usize {
        self.room_of_next.load(Ordering::Relaxed)
    }

    /// Whether ALPN gave HTTP/1.1 the last time: each request opens a connection of its own.
    pub(super) fn negotiated_http1(&self) -> bool {
        self.negotiated_http1.load(Ordering::Relaxed)
    }

    /// For how long the one has been idle that has been so longest; `None`: none is.
    pub(super) fn longest_idle(&self) -> Option<Duration> {
        self.longest_idle_http1().max(self.longest_idle_http2())
    }

    fn longest_idle_http1(&self) -> Option<Duration> {
        // The last one has come last.
        let idle = lock(&self.idle);
        Some(idle.first()?.lease.deadline.rested())
    }

    fn longest_idle_http2(&self) -> Option<Duration> {
        let all = lock(&self.http2);
        all.iter().filter_map(Http2Connection::idle_for).max()
    }

    /// Closes the one that has been idle longest; `false`: none is.
    pub(super) fn close_longest_idle(&self) -> bool {
        let (http1, http2) = (self.longest_idle_http1(), self.longest_idle_http2());
        if http1 >= http2 {
            let mut idle = lock(&self.idle);
            let closed = (!idle.is_empty()).then(|| idle.remove(0));
            drop(idle);
            self.idle_count
                .fetch_sub(usize::from(closed.is_some()), Ordering::Relaxed);
            return closed.is_some();
        }
        let mut all = lock(&self.http2);
        let idle = (0..all.len()).filter_map(|at| Some((all[at].idle_for()?, at)));
        let longest = idle.max().map(|(_, at)| at);
        let closed = longest.map(|at| all.remove(at));
        drop(all);
        if let Some(closed) = &closed {
            closed.close();
        }
        closed.is_some()
    }

    /// Closes those that the upstream has closed, that have been idle for too long, or whose
    /// address is none of the upstream's any more. An HTTP/2 connection that goes ends with its
    /// last exchange.
    pub(super) fn sweep(&self) {
        let has_left = |address: &PeerAddress| !self.addresses.has(address);
        let mut idle = lock(&self.idle);
        let is_over = |PooledConnection { stream, lease }: &mut PooledConnection| {
            lease.deadline.passed() || has_left(&lease.address) || !is_quiet(stream)
        };
        let closed: Vec<_> = idle.extract_if(.., is_over).collect();
        drop(idle);
        self.idle_count.fetch_sub(closed.len(), Ordering::Relaxed);
        // Closing takes its time.
        drop(closed);
        let mut http2 = lock(&self.http2);
        let is_over = |it: &mut Http2Connection| {
            it.is_closing() || has_left(it.address()) || it.idle_for().is_some_and(|it| it >= IDLE)
        };
        let closed: Vec<_> = http2.extract_if(.., is_over).collect();
        drop(http2);
        drop(closed);
    }

    /// Whether there is no connection that could be used.
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.idle).is_empty() && lock(&self.http2).is_empty()
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
