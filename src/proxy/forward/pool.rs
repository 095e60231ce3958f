//! The pool of connections to upstreams: opened for an attempt, and kept for the next one.

mod authorities;
mod connection;
mod connector;
pub(super) mod happy_eyeballs;
mod idle;
mod limit;
mod recovery;

use std::sync::Arc;
use std::time::Duration;

use pingora::{Error, ErrorType};

use super::deadline::{Deadline, Deadlines};
use super::error::{self, describe};
use crate::gateway::{PeerAddress, Upstream};
use happy_eyeballs::{Connecting, Outcome, RaceError};
use idle::Idle;
use limit::{Limit, LimitReached, Permit};
use recovery::RecoveryProbes;

pub(super) use connection::{Lease, PooledConnection};
pub(super) use connector::{Connector, connect_plain};

/// How often overdue exchanges are looked for.
const TICK: Duration = Duration::from_millis(100);
/// Every how many of these rounds the idle connections are looked through.
const SWEEP: u32 = 10;

/// Every connection to an upstream, and how they are opened.
#[derive(Default)]
pub struct UpstreamPool {
    deadlines: Deadlines,
    limit: Limit,
    recovery: Arc<RecoveryProbes>,
    pub(super) connector: Arc<Connector>,
    idle: Idle,
}

impl UpstreamPool {
    /// One that was kept; `None`: there is none.
    pub(super) fn take(
        &self,
        upstream: &Upstream,
        address: &PeerAddress,
    ) -> Option<PooledConnection> {
        self.idle
            .take(address, |lease| lease.fits(upstream, address))
    }

    /// Keeps one for another request. Its exchange must be over, and it must be fit for another
    /// one.
    pub(super) fn put(&self, connection: PooledConnection) {
        self.idle.put(connection);
    }

    /// Opens one to the address whose turn it is, or to another one of the upstream's: TLS
    /// included. An error: none of them took it.
    pub(super) async fn open(
        &self,
        upstream: &Arc<Upstream>,
        turn: &PeerAddress,
    ) -> pingora::Result<PooledConnection> {
        let connect = |address: PeerAddress, beside| {
            let permit = match self.permit(upstream, beside) {
                Err(_) if beside => return None,
                permit => permit,
            };
            let connecting: Connecting<'_, _, _> = Box::pin(async move {
                Ok((permit?, self.connector.connect(upstream, &address).await?))
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
        let (address, (permit, stream)) =
            match happy_eyeballs::race(order, within, connect, note).await {
                Ok(made) => made,
                Err(RaceError::Failed(error)) => return Err(error),
                Err(RaceError::TimedOut) => {
                    return Error::e_explain(ErrorType::ConnectTimedout, "connecting");
                }
                Err(RaceError::NoAddress) => {
                    return Error::e_explain(ErrorType::Custom(error::UNRESOLVED), "no address");
                }
            };
        let deadline = Arc::new(Deadline::new());
        self.deadlines.watch(&deadline);
        let lease = Lease {
            deadline,
            key: connection::PoolKey::new(upstream, address),
            permit,
        };
        Ok(PooledConnection { stream, lease })
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

    /// Leave to open one more. Idle ones go, if need be, but not for one `beside` another.
    fn permit(&self, upstream: &Upstream, beside: bool) -> pingora::Result<Permit> {
        loop {
            let full = match self.limit.enter(upstream) {
                Ok(permit) => return Ok(permit),
                Err(_) if beside => return Err(Error::new(ErrorType::Custom(error::AT_LIMIT))),
                Err(full) => full,
            };
            let closed = self.idle.close_one(|lease| match full {
                LimitReached::Backend => lease.permit.is_of(upstream),
                LimitReached::All => true,
            });
            if !closed {
                self.limit.log_reached(full, upstream);
                return Err(Error::new(ErrorType::Custom(error::AT_LIMIT)));
            }
        }
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
            self.recovery.begin(&self.connector);
        }
    }
}
