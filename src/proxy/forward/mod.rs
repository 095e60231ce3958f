//! A request on its way to an upstream, and the response on its way back.
//!
//! Pingora would do this as well, in two halves with channels between them and room for a cache, at
//! a third of all that a request costs. The client's end is a session of Pingora's nevertheless,
//! and an upstream's over HTTP/1.1: what is a head, where a body ends, and whether a connection can
//! be used again is theirs to say. Over HTTP/2 the upstream's end is a stream of [`http2`].

mod attempt;
mod chunk_watch;
pub(crate) mod connection_auth;
mod deadline;
mod duplex;
mod error;
mod exchange;
pub(crate) mod failure;
pub(crate) mod headers;
mod health_checks;
mod http1;
mod http2;
mod pool;
mod proxy_header;
mod response_head;
pub(crate) mod stripped_credentials;
mod trailers;
pub(crate) mod upstream_request;
mod upstream_stream;
mod websocket;

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Version, header};
use pingora::{Error, ErrorSource, ErrorType};
use pingora_proxy::Session;
use tokio::time::{sleep, timeout_at};

use super::request::context::Context;
use super::request::{body, debug_log};
use super::streams::OpenStreams;
use crate::gateway::{PeerAddress, Upstream};
use crate::listener::Connection;
use attempt::Attempt;
use connection_auth::BoundConnection;
use error::{DRAINED, REFUSED, UNPROCESSED};
use exchange::Exchange;
use pool::{Acquired, ConnectionGroup, PooledConnection, Versions};

pub use health_checks::HealthChecks;
pub use pool::UpstreamPool;

/// Attempts for one request. Those that count are bounded per backend; this bounds how many dead
/// kept connections one request may meet.
const MAX_ATTEMPTS: u32 = 16;
/// How often one request may meet an HTTP/2 connection that is about to be closed. A server that
/// closes each after a few requests gives up most of those that are on it.
const MAX_UNPROCESSED: u32 = 100;
/// How long a request waits that an upstream has refused, times how often it has done so.
const REFUSED_PAUSE: Duration = Duration::from_millis(5);

/// Forwards requests to upstreams.
pub(crate) struct Forwarder {
    pool: Arc<UpstreamPool>,
    streams: Arc<OpenStreams>,
}

impl Forwarder {
    pub(crate) fn new(pool: Arc<UpstreamPool>, streams: Arc<OpenStreams>) -> Self {
        Self { pool, streams }
    }

    /// Forwards a request: to the upstream that was selected for it, and to others while that fails
    /// and it may be sent again.
    pub(crate) async fn forward(
        &self,
        session: &mut Session,
        ctx: &mut Context,
    ) -> pingora::Result<()> {
        pin!(body::read_first_part(session, &mut ctx.body)).await?;
        if let Some(client) = exclusive_connection(session, ctx)
            && let Some(bound) =
                BoundConnection::of(client).filter(|bound| bound.is_authenticated())
        {
            let headers = &session.req_header().headers;
            ctx.select_fitting(headers, |upstream| bound.is_to(&self.pool.group(upstream)));
        }
        let (mut attempts, mut unprocessed) = (1, 0);
        loop {
            let outcome = pin!(self.attempt(session, ctx)).await;
            match outcome {
                Err(error) if error.retry() => match error.etype() {
                    ErrorType::Custom(UNPROCESSED) if unprocessed < MAX_UNPROCESSED => {
                        unprocessed += 1;
                    }
                    kind if attempts < MAX_ATTEMPTS => {
                        if *kind == ErrorType::Custom(REFUSED) {
                            sleep(REFUSED_PAUSE * attempts).await;
                        }
                        attempts += 1;
                    }
                    _ => return Err(error),
                },
                outcome => return outcome,
            }
        }
    }

    async fn attempt(&self, session: &mut Session, ctx: &mut Context) -> pingora::Result<()> {
        let (upstream, address) = resolved_upstream(session, ctx)?;
        ctx.selection.attempts += 1;
        ctx.selection.address = Some(address.clone());
        ctx.selection.protocol = None;
        let group = self.pool.group(&upstream);
        let versions = Versions::of(&upstream, || needs_http1(session));
        let bound = exclusive_connection(session, ctx)
            .and_then(|client| BoundConnection::of(client)?.take(&group));
        let is_bound = bound.is_some();
        let mut ready = bound.map(Acquired::Http1);
        let proxy_header = proxy_header::for_client(&upstream, ctx)?;
        let names_client = proxy_header.is_some();
        // A connection that is upgraded serves nothing else afterwards: one of its own costs no
        // more than the next request's would, and is not about to be closed for being idle.
        let is_upgrade = || versions == Versions::Http1 && session.is_upgrade_req();
        if !names_client && !is_upgrade() {
            ready = ready.or_else(|| group.take(&address, versions));
        }
        let connection = match ready {
            Some(connection) => connection,
            // In a box: most requests need no room for it.
            None => {
                let opening = async {
                    let (pool, turn) = (&self.pool, &address);
                    match proxy_header {
                        None => pool.open(&group, &upstream, turn, versions).await,
                        Some(header) => {
                            pool.open_for_client(&group, &upstream, turn, versions, header)
                                .await
                        }
                    }
                };
                let opening = Box::pin(opening);
                let opened = match ctx.total_deadline(upstream.settings.total_timeout) {
                    Some(due) => timeout_at(due.into(), opening).await,
                    None => Ok(opening.await),
                };
                match opened {
                    Ok(Ok(connection)) => connection,
                    Ok(Err(error)) => return Err(failure::not_connected(ctx, error)),
                    Err(_) => return Err(failure::overdue_connecting(ctx)),
                }
            }
        };
        ctx.selection.address = Some(connection.address().clone());
        ctx.selection.protocol = Some(connection.version());
        debug_log::attempt(ctx, connection.reused());
        let mut attempt = Attempt::begin(upstream, &connection, session.is_body_empty(), ctx);
        let deadline = attempt.deadline().clone();
        let mut exchange = Exchange::new(connection, session, &mut attempt, &self.streams);
        let outcome = deadline.enforce(pin!(exchange.run(session, ctx))).await;
        ctx.selection.head_arrived = exchange.attempt.head_arrived();
        match outcome {
            Some(Ok(())) => {}
            failed => {
                drop(exchange);
                let error = failed.and_then(Result::err);
                let error = error.unwrap_or_else(|| attempt.mark_overdue());
                self.note_broken(session, &attempt, &error);
                return Err(failure::broken_off(session, ctx, &attempt, error));
            }
        }
        ctx.body.drain = exchange.request_abandoned;
        let trial = exchange.trial;
        let authenticated = exchange.authenticates_connection || is_bound && !names_client;
        let Some(connection) = pin!(exchange.finish()).await else {
            return Ok(());
        };
        if !authenticated && !names_client {
            keep(&group, connection, trial);
        } else if (authenticated || !self.pool.is_over_half_full(&attempt.upstream))
            && let Some(client) = exclusive_connection(session, ctx)
        {
            BoundConnection::bind(client, connection, group, authenticated);
        }
        Ok(())
    }

    /// Tells the pool, and the client's connection, of an attempt that was broken off.
    fn note_broken(&self, session: &Session, attempt: &Attempt, error: &Error) {
        if attempt.head_has_arrived() {
            return;
        }
        if !attempt.reused && attempt.is_fault_of_upstream(error) {
            self.pool
                .connection_broke(&attempt.upstream, &attempt.address, error);
        }
        let client_left = *error.esource() == ErrorSource::Downstream
            && !matches!(error.etype(), ErrorType::HTTPStatus(_));
        // Over HTTP/2 the client may open another stream at once, though an upstream of HTTP/1.1
        // may go on with the request that nobody waits for any more.
        if client_left
            && attempt.version == Version::HTTP_11
            && session.as_http1().is_none()
            && let Some(connection) = Connection::of(session.digest())
        {
            connection.request_abandoned(attempt.upstream.settings.head_timeout);
        }
    }
}

/// Keeps a connection for the next request, which gets it after the `trial`.
fn keep(group: &ConnectionGroup, mut connection: PooledConnection, trial: Duration) {
    let until = (!trial.is_zero()).then(|| Instant::now() + trial);
    connection.lease.on_trial_until = until;
    group.put(connection);
}

/// The upstream of the next attempt, and the address whose turn it is. An error: no upstream that
/// is left has one.
fn resolved_upstream(
    session: &Session,
    ctx: &mut Context,
) -> pingora::Result<(Arc<Upstream>, PeerAddress)> {
    loop {
        if ctx.selection.needs_new_upstream() {
            ctx.select_upstream(&session.req_header().headers);
        }
        let upstream = ctx.backend().and_then(|backend| backend.upstream());
        let upstream = upstream.ok_or_else(|| Error::new(ErrorType::Custom(DRAINED)))?;
        if let Some(address) = upstream.address() {
            return Ok((upstream.clone(), address));
        }
        failure::not_resolved(ctx)?;
    }
}

/// Whether a request is none for HTTP/2: it asks for another protocol, or authenticates the
/// connection.
fn needs_http1(session: &Session) -> bool {
    let headers = &session.req_header().headers;
    session.is_upgrade_req() || connection_auth::authenticates(headers, header::AUTHORIZATION)
}

/// The client's connection, if all requests on it are one client's.
fn exclusive_connection<'a>(session: &'a Session, ctx: &Context) -> Option<&'a Arc<Connection>> {
    Connection::of(session.digest()).filter(|_| !ctx.connection.is_shared())
}
