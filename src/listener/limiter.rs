//! The connections of one listener: how many there may be, in all and of one client address, and
//! how long each may go without progress.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;

use super::WRITE_TIMEOUT;
use super::client_limits::ClientLimits;
use super::close_reason::{CloseReason, REFUSED_ADDRESS};
use super::connection::Connection;
use super::eviction::EvictionPool;
use super::state::Limits;
use crate::common::client_network;
use crate::config::Bind;
use crate::telemetry::NetworkMetrics;

const LIMITS: Limits = Limits {
    head: Duration::from_secs(10),
    // Pingora holds HTTP/1 to the same.
    idle: Duration::from_secs(60),
    write: WRITE_TIMEOUT,
};
/// A later head that takes less can be of a client in a hurry.
const SLOW_HEAD: Duration = Duration::from_secs(1);

/// Limits the connections of one listener.
#[derive(Debug)]
pub(super) struct ConnectionLimiter {
    bind: Bind,
    limit: AtomicUsize,
    clients: Arc<ClientLimits>,
    metrics: Arc<NetworkMetrics>,
    pools: Mutex<Pools>,
}

#[derive(Debug, Default)]
struct Pools {
    all: EvictionPool,
    by_address: HashMap<IpAddr, AddressPool, RandomState>,
}

/// The connections of one address, and how many of them are open.
#[derive(Debug, Default)]
struct AddressPool {
    connections: EvictionPool,
    open: Arc<AtomicUsize>,
}

/// While this lives, a connection counts, unless it was closed for a limit before.
#[derive(Debug)]
pub(super) struct Admission {
    limiter: Arc<ConnectionLimiter>,
    connection: Arc<Connection>,
}

impl ConnectionLimiter {
    pub(super) fn new(
        bind: Bind,
        limit: usize,
        clients: ClientLimits,
        metrics: Arc<NetworkMetrics>,
    ) -> Self {
        Self {
            bind,
            limit: limit.into(),
            clients: Arc::new(clients),
            metrics,
            pools: Mutex::default(),
        }
    }

    pub(super) fn network(&self) -> &str {
        &self.metrics.name
    }

    pub(super) fn metrics(&self) -> &NetworkMetrics {
        &self.metrics
    }

    pub(super) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    pub(super) fn clients(&self) -> &Arc<ClientLimits> {
        &self.clients
    }

    pub(super) fn is_bound_to(&self, local: SocketAddr) -> bool {
        self.bind == Bind::Tcp(local)
    }

    pub(super) fn is_unix(&self) -> bool {
        matches!(self.bind, Bind::Unix(_))
    }

    /// Whether it is bound to every address, at this port.
    pub(super) fn is_at_port(&self, port: u16) -> bool {
        matches!(self.bind, Bind::Tcp(bind) if bind.ip().is_unspecified() && bind.port() == port)
    }

    /// Admits a connection. If there are too many, another one is evicted; if all are busy, the new
    /// one is refused. The same holds among those of its address. `address`: whom it counts for;
    /// `None`: nobody, since it comes from a trusted proxy, which speaks for many.
    pub(super) fn admit(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        address: Option<IpAddr>,
    ) -> Option<Admission> {
        let mut open = self.metrics.open.fetch_add(1, Ordering::Relaxed) + 1;
        let mut pools = self.pools();
        let Pools { all, by_address } = &mut *pools;
        let mut pool =
            address.map(|address| by_address.entry(client_network(address)).or_default());
        if let Some(pool) = pool.as_deref_mut() {
            let Some(evicted) = self.make_room(pool) else {
                return self.refuse(REFUSED_ADDRESS);
            };
            open = open.saturating_sub(evicted);
        }
        if open > self.limit.load(Ordering::Relaxed) {
            let Some((evicted, reason)) = all.evict(SLOW_HEAD) else {
                return self.refuse("refused");
            };
            self.count_closed(&evicted, reason);
        }
        if let Some(pool) = pool {
            pool.push(connection);
        }
        all.push(connection.clone());
        drop(pools);
        Some(Admission {
            limiter: self.clone(),
            connection: connection.clone(),
        })
    }

    /// Makes room for one more connection of an address; how many were closed for it. `None`: all
    /// are busy.
    fn make_room(&self, pool: &mut AddressPool) -> Option<usize> {
        let Some(limit) = self.clients.per_address() else {
            return Some(0);
        };
        let mut closed = 0;
        while pool.open.load(Ordering::Relaxed) >= limit {
            // They harm nobody but each other, so not even a head that has just begun is spared.
            let (evicted, reason) = pool.connections.evict(Duration::ZERO)?;
            self.count_closed(&evicted, reason);
            closed += 1;
        }
        Some(closed)
    }

    fn refuse(&self, label: &'static str) -> Option<Admission> {
        self.metrics.open.fetch_sub(1, Ordering::Relaxed);
        self.metrics.count_closed(label);
        None
    }

    /// Closes what makes no progress, and forgets what is closed.
    pub(super) fn sweep(&self) {
        let mut pools = self.pools();
        pools.all.sweep(|connection| {
            if let Some(reason) = connection.state().timed_out(&LIMITS)
                && connection.state().close(reason)
            {
                self.count_closed(connection, reason);
            }
        });
        let by_address = &mut pools.by_address;
        by_address.retain(|_, pool| {
            pool.connections.sweep(|_| {});
            !pool.connections.is_empty()
        });
        // After a flood, its memory is not kept for the next one.
        if by_address.capacity() > 4 * by_address.len() + 1024 {
            by_address.shrink_to(2 * by_address.len());
        }
    }

    /// A connection was closed for a limit.
    fn count_closed(&self, connection: &Connection, reason: CloseReason) {
        self.release(connection);
        self.metrics.count_closed(reason.label());
    }

    /// A connection does not count any more.
    fn release(&self, connection: &Connection) {
        self.metrics.open.fetch_sub(1, Ordering::Relaxed);
        connection.release_address();
    }

    fn pools(&self) -> MutexGuard<'_, Pools> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AddressPool {
    fn push(&mut self, connection: &Arc<Connection>) {
        connection.count_for_address(self.open.clone());
        self.connections.push(connection.clone());
    }
}

impl Admission {
    /// Counts the connection for an address that was not known when it was accepted, as
    /// [`ConnectionLimiter::admit`] does; `false`: it was closed, or all of its address are busy.
    pub(super) fn count_for(&self, address: IpAddr) -> bool {
        let mut pools = self.limiter.pools();
        let pool = pools.by_address.entry(client_network(address));
        let pool = pool.or_default();
        // What is closed under this lock was released with it.
        let admitted =
            !self.connection.state().is_closed() && self.limiter.make_room(pool).is_some();
        if admitted {
            pool.push(&self.connection);
        }
        admitted
    }

    pub(super) fn network(&self) -> &str {
        self.limiter.network()
    }

    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let (limiter, connection) = (&self.limiter, &*self.connection);
        match connection.state().close_reason() {
            // Closed by its own stream, which does not know the limiter.
            Some(CloseReason::ClientGone) => limiter.release(connection),
            Some(
                reason @ (CloseReason::ResetFlood
                | CloseReason::HandshakeTimeout
                | CloseReason::Http2Error
                | CloseReason::ProxyHeader
                | CloseReason::RefusedAddress),
            ) => limiter.count_closed(connection, reason),
            _ if connection.state().finish() => limiter.release(connection),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
