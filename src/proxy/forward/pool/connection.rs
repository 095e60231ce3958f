//! A connection to an upstream, and what it may be used for.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use pingora::protocols::Stream;
use tokio::io::AsyncReadExt;
use tokio::task::coop::unconstrained;

use super::limit::Permit;
use crate::gateway::{Addresses, PeerAddress, Upstream};
use crate::proxy::forward::deadline::Deadline;

/// A connection to an upstream.
pub(crate) struct PooledConnection {
    pub(crate) stream: Stream,
    pub(crate) lease: Lease,
}

impl PooledConnection {
    /// Takes it out of its rest; `false`: its time is over, or something has come from the
    /// upstream, be it the end.
    pub(crate) fn wakes_quiet(&mut self) -> bool {
        self.lease.deadline.wake() && is_quiet(&mut self.stream)
    }
}

/// What belongs to a connection beside its stream.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) deadline: Arc<Deadline>,
    pub(crate) key: PoolKey,
    pub(super) permit: Permit,
}

impl Lease {
    /// Whether another connection to this upstream, at this address, would be the same.
    pub(crate) fn fits(&self, upstream: &Upstream, address: &PeerAddress) -> bool {
        self.permit.is_of(upstream) && self.key.fits(upstream, address)
    }
}

/// What a connection may be used for.
#[derive(Debug)]
pub(crate) struct PoolKey {
    pub(crate) address: PeerAddress,
    /// Those of the upstream's name: idle connections to one that has left them are closed.
    pub(super) addresses: Arc<Addresses>,
    /// With TLS: whose certificate was shown, and the authorities that signed it; `None`: the
    /// system's.
    pub(super) tls: Option<(String, Option<u64>)>,
}

impl PoolKey {
    pub(super) fn new(upstream: &Upstream, address: PeerAddress) -> Self {
        let roots = upstream.roots.as_ref().map(|roots| roots.id);
        let url = &upstream.url;
        Self {
            address,
            addresses: upstream.addresses.clone(),
            tls: url.tls.then(|| (url.host.clone(), roots)),
        }
    }

    fn fits(&self, upstream: &Upstream, address: &PeerAddress) -> bool {
        let roots = upstream.roots.as_ref().map(|roots| roots.id);
        let same_tls = match &self.tls {
            Some((host, trusted)) => {
                upstream.url.tls && *host == upstream.url.host && *trusted == roots
            }
            None => !upstream.url.tls,
        };
        same_tls && self.address == *address
    }
}

/// Whether nothing has come from the upstream, not even the end. Asks the system only after it has
/// said that something has.
pub(super) fn is_quiet(stream: &mut Stream) -> bool {
    let mut byte = [0];
    // Whatever else the task has read: otherwise all would be quiet once it has read its share.
    let reading = pin!(unconstrained(stream.read(&mut byte)));
    let mut context = Context::from_waker(Waker::noop());
    reading.poll(&mut context).is_pending()
}
