//! Connections that several requests wait for: one over HTTP/2 is room for all of them, so they
//! share its opening, and its failure.

use std::sync::Arc;

use pingora::{Error, ErrorType};
use tokio::sync::watch;

use super::connection::Acquired;
use super::group::{ConnectionGroup, lock};
use super::{Opened, UpstreamPool, Versions};
use crate::gateway::{PeerAddress, Upstream};
use crate::proxy::forward::error::{self, AT_LIMIT};

/// How often a request waits for another connection, where those before had no room left for it.
const MAX_ROUNDS: usize = 8;

/// What came of an opening: the address that the connection was made to.
type Outcome = Result<PeerAddress, Arc<Error>>;

/// A connection that is being opened.
pub(super) struct Opening {
    turn: PeerAddress,
    outcome: watch::Receiver<Option<Outcome>>,
    /// Requests that may still wait for it: it will have no room for more.
    room: usize,
}

impl UpstreamPool {
    /// Waits for room on a connection over HTTP/2, or for what ALPN gives instead.
    pub(super) async fn open_shared(
        self: &Arc<Self>,
        group: &Arc<ConnectionGroup>,
        upstream: &Arc<Upstream>,
        turn: &PeerAddress,
        versions: Versions,
    ) -> pingora::Result<Acquired> {
        for _ in 0..MAX_ROUNDS {
            if versions == Versions::Alpn && group.negotiated_http1() {
                match self.connect(group, upstream, turn, versions, None).await? {
                    Opened::Http1(connection) => return Ok(Acquired::Http1(connection)),
                    opened @ Opened::Http2(_) => {
                        if let Some(found) = group.take(&group.keep(opened), versions) {
                            return Ok(found);
                        }
                    }
                }
            }
            if let Some(found) = group.take(turn, versions) {
                return Ok(found);
            }
            let mut outcome = self.join(group, upstream, turn, versions);
            let address = match outcome.wait_for(Option::is_some).await.as_deref() {
                Ok(Some(Ok(address))) => address.clone(),
                Ok(Some(Err(error))) => return Err(error::again(error)),
                // The process is stopping.
                Ok(None) | Err(_) => return Err(Error::new_up(ErrorType::ConnectionClosed)),
            };
            if let Some(found) = group.take(&address, versions) {
                return Ok(found);
            }
        }
        Err(at_limit())
    }

    /// Waits for a connection that is being opened, if it will have room, else for another one.
    fn join(
        self: &Arc<Self>,
        group: &Arc<ConnectionGroup>,
        upstream: &Arc<Upstream>,
        turn: &PeerAddress,
        versions: Versions,
    ) -> watch::Receiver<Option<Outcome>> {
        let mut openings = lock(&group.openings);
        // One whose task has ended without a result is nobody's any more.
        openings.retain(|opening| opening.outcome.has_changed().is_ok());
        let has_room = |opening: &&mut Opening| opening.turn == *turn && opening.room > 0;
        if let Some(opening) = openings.iter_mut().find(has_room) {
            opening.room -= 1;
            return opening.outcome.clone();
        }
        let (result, outcome) = watch::channel(None);
        openings.push(Opening {
            turn: turn.clone(),
            outcome: outcome.clone(),
            room: group.room_of_next().saturating_sub(1),
        });
        drop(openings);
        let (pool, group) = (self.clone(), group.clone());
        let (upstream, turn) = (upstream.clone(), turn.clone());
        let own = outcome.clone();
        // A task of its own: whoever waits may leave.
        tokio::spawn(async move {
            let opened = match pool.connect(&group, &upstream, &turn, versions, None).await {
                Ok(opened) => Ok(group.keep(opened)),
                Err(error) => Err(Arc::from(error)),
            };
            lock(&group.openings).retain(|opening| !opening.outcome.same_channel(&own));
            result.send_replace(Some(opened));
        });
        outcome
    }
}

fn at_limit() -> Box<Error> {
    Error::new(ErrorType::Custom(AT_LIMIT))
}
