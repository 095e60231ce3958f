//! One request on its way to an upstream, and its answer on the way back.
//!
//! Pingora would do this as well, in two halves with channels between them and room for a cache, at
//! a third of all that a request costs. Both ends are sessions of Pingora's nevertheless: what is a
//! head, where a body ends, and whether a connection can be used again is theirs to say.

pub(crate) mod connection_auth;
pub(crate) mod deadline;
mod duplex;
mod exchange;
pub(crate) mod failure;
pub(crate) mod headers;
pub(crate) mod health_checks;
pub(crate) mod pool;
mod response;
pub(crate) mod stripped_credentials;
pub(crate) mod target;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::header;
use pingora::{Error, ErrorSource, ErrorType};
use pingora_proxy::Session;
use tokio::time::timeout;

use crate::listener::Connection;
use crate::proxy::Edge;
use crate::proxy::body_rate::BodyRate;
use crate::proxy::request::context::Context;
use connection_auth::Bound;
use exchange::Exchange;
use pool::Link;

/// Attempts for one request. Those that count are bounded per backend; this bounds how many dead
/// kept connections one request may meet.
const MAX_ATTEMPTS: usize = 16;
/// How long a connection waits for a body behind an answer that has none. Some servers send one,
/// and nobody else may take it for an answer.
const SUSPICION: Duration = Duration::from_millis(250);
/// How long the upstream is not connected to while nothing of the body has come.
const BODY_PATIENCE: Duration = Duration::from_millis(100);

impl Edge {
    /// Forwards a request: to the upstream that was chosen for it, and to others while that fails
    /// and it may be sent again.
    pub(crate) async fn forward(
        &self,
        session: &mut Session,
        ctx: &mut Context,
    ) -> pingora::Result<()> {
        await_body(session, ctx).await?;
        if let Some(client) = binding(session, ctx)
            && let Some(bound) = Bound::of(&client).filter(|bound| bound.is_held())
        {
            ctx.choose_bound(bound);
        }
        let mut attempts = 1;
        loop {
            match self.attempt(session, ctx).await {
                Err(error) if error.retry() && attempts < MAX_ATTEMPTS => attempts += 1,
                outcome => return outcome,
            }
        }
    }

    async fn attempt(&self, session: &mut Session, ctx: &mut Context) -> pingora::Result<()> {
        let (upstream, address) = loop {
            if ctx.moves_on {
                ctx.choose(&session.req_header().headers);
            }
            let upstream = ctx.backend().and_then(|backend| backend.upstream());
            let upstream = upstream.ok_or_else(|| {
                Error::explain(ErrorType::InternalError, "no http backend to try")
            })?;
            if let Some(address) = upstream.address() {
                break (upstream.clone(), address);
            }
            let host = upstream.url.host.clone();
            failure::count(ctx, "unresolved");
            ctx.blame(failure::UNRESOLVED);
            ctx.give_up();
            if failure::all_tried(ctx) {
                return Error::e_explain(ErrorType::Custom(failure::UNRESOLVED), host);
            }
        };
        ctx.upstream_address = Some(address);
        let client = binding(session, ctx);
        let bound = client
            .as_ref()
            .and_then(|client| Bound::of(client)?.take(&upstream));
        let is_bound = bound.is_some();
        let (link, kept) = match bound.or_else(|| self.connections.kept(&upstream, address)) {
            Some(link) => (link, true),
            // In a box: most requests need no room for it.
            None => match Box::pin(self.connections.open(&upstream, address)).await {
                Ok(link) => (link, false),
                Err(error) => return Err(failure::not_connected(ctx, error)),
            },
        };
        let Link {
            stream,
            deadline,
            purpose,
            permit,
        } = link;
        ctx.upstream_address = Some(purpose.address);
        ctx.begin(deadline.clone(), session.is_body_empty());
        let patience = upstream.settings.read_timeout;
        let mut exchange = Exchange::new(stream, session, patience);
        let outcome = deadline.enforce(exchange.run(session, ctx)).await;
        let outcome = outcome.unwrap_or_else(|| Err(failure::overdue(ctx)));
        if let Err(error) = outcome {
            note_given_up(session, ctx, &error);
            if !kept && !ctx.answered && failure::is_upstreams(ctx, &error) {
                self.connections
                    .connection_broke(&upstream, purpose.address, &error);
            }
            return Err(failure::broken_off(session, ctx, error, kept));
        }
        ctx.lingers = exchange.stopped;
        let (suspicious, binds) = (exchange.suspicious, exchange.binds || is_bound);
        let Some(stream) = exchange.leftover().await else {
            return Ok(());
        };
        let link = Link {
            stream,
            deadline,
            purpose,
            permit,
        };
        match client {
            Some(client) if binds => Bound::bind(&client, link, &upstream),
            _ if binds => {}
            _ => self.keep(link, suspicious),
        }
        Ok(())
    }

    /// Keeps a connection for the next request; a suspicious one not before it has shown that
    /// nothing more comes.
    fn keep(&self, link: Link, suspicious: bool) {
        if !suspicious {
            self.connections.keep(link);
            return;
        }
        let connections = self.connections.clone();
        tokio::spawn(async move {
            tokio::time::sleep(SUSPICION).await;
            // Nobody gets it from there if there is something to read.
            connections.keep(link);
        });
    }
}

/// Waits for the first part of a body: until then, or for a moment, nobody upstream needs to know of
/// the request. Who switches protocols, or expects to be told to go on, has none to send yet.
async fn await_body(session: &mut Session, ctx: &mut Context) -> pingora::Result<()> {
    let head = session.req_header();
    let waits = session.is_upgrade_req() || head.headers.contains_key(header::EXPECT);
    if waits || session.is_body_done() {
        return Ok(());
    }
    // An attempt that fails leaves it to the next one.
    session.enable_retry_buffering();
    let reading = session.downstream_session.read_body_or_idle(false);
    let mut reading = pin!(BodyRate::read(&mut ctx.body_rate, reading));
    // Mostly it has come with the head, and there is nothing to register a timer for.
    let part = match at_once(reading.as_mut()).await {
        Some(part) => part,
        None => match timeout(BODY_PATIENCE, reading).await {
            Ok(part) => part,
            Err(_) => return Ok(()),
        },
    };
    ctx.first_part = part.map_err(|error| error.into_down())?;
    Ok(())
}

/// What is there without waiting.
pub(crate) async fn at_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// The client's connection, if one to an upstream may be bound to it.
fn binding(session: &Session, ctx: &Context) -> Option<Arc<Connection>> {
    let connection = Connection::of(session.digest())?;
    (!ctx.shares_connection()).then(|| connection.clone())
}

/// Takes note of a request over HTTP/2 that the client has given up while the upstream was at it:
/// the upstream may go on, though nobody waits for it any more.
fn note_given_up(session: &Session, ctx: &Context, error: &Error) {
    let is_client = *error.esource() == ErrorSource::Downstream;
    let left = is_client && !matches!(error.etype(), ErrorType::HTTPStatus(_));
    if left
        && !ctx.answered
        && session.as_http1().is_none()
        && let (Some(connection), Some(upstream)) =
            (Connection::of(session.digest()), ctx.upstream())
    {
        connection.gives_up(upstream.settings.head_timeout);
    }
}
