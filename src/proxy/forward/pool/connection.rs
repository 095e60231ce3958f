//! Connections to upstreams as attempts get them.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Instant;

use http::Version;
use pingora::protocols::Stream;
use tokio::io::AsyncReadExt;
use tokio::task::coop::unconstrained;

use super::limit::Permit;
use crate::gateway::PeerAddress;
use crate::proxy::forward::deadline::Deadline;
use crate::proxy::forward::http2::Slot;

/// What one attempt sends its request on.
pub(crate) enum Acquired {
    /// An HTTP/1.1 connection, to itself.
    Http1(PooledConnection),
    /// Room on an HTTP/2 connection.
    Http2(Slot),
}

impl Acquired {
    pub(crate) fn version(&self) -> Version {
        match self {
            Self::Http1(_) => Version::HTTP_11,
            Self::Http2(_) => Version::HTTP_2,
        }
    }

    pub(crate) fn address(&self) -> &PeerAddress {
        match self {
            Self::Http1(connection) => &connection.lease.address,
            Self::Http2(slot) => slot.address(),
        }
    }

    pub(crate) fn deadline(&self) -> &Arc<Deadline> {
        match self {
            Self::Http1(connection) => &connection.lease.deadline,
            Self::Http2(slot) => &slot.deadline,
        }
    }

    /// Whether its connection has served another request before.
    pub(crate) fn reused(&self) -> bool {
        match self {
            Self::Http1(connection) => connection.lease.reused,
            Self::Http2(slot) => slot.reused,
        }
    }
}

/// An HTTP/1.1 connection to an upstream.
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

/// What belongs to an HTTP/1.1 connection beside its stream.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) deadline: Arc<Deadline>,
    pub(crate) address: PeerAddress,
    /// Whether it has served a request before.
    pub(crate) reused: bool,
    /// Until then it shows whether anything more comes, and no request gets it; `None`: it has
    /// nothing to show.
    pub(crate) on_trial_until: Option<Instant>,
    /// Counts it for as long as it lives.
    pub(super) _permit: Permit,
}

impl Lease {
    pub(super) fn is_on_trial(&self) -> bool {
        self.on_trial_until
            .is_some_and(|until| Instant::now() < until)
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
