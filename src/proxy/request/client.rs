//! Who a request is from: the client behind trusted proxies, the request's id and its trace, and
//! whether the client has requests left.

use std::net::IpAddr;

use pingora_proxy::Session;

use super::context::Context;
use super::rejection::Rejection;
use super::trace_context::TraceContext;
use super::{client_address, forwarded, id};
use crate::gateway::Gateway;
use crate::listener::Connection;
use crate::telemetry::spans::{self, Tracer};

/// Notes who sends a request.
pub(super) fn identify(session: &mut Session, ctx: &mut Context, gateway: &Gateway) {
    let request = session.req_header_mut();
    ctx.connection.uses_forwarded = gateway.uses_forwarded();
    if let Some(peer) = peer(ctx) {
        ctx.connection.peer_is_trusted = gateway.trusts(peer);
        let trusts = |address| gateway.trusts(address);
        if ctx.connection.uses_forwarded && ctx.connection.peer_is_trusted {
            forwarded::reconcile(request, peer, trusts);
        }
        ctx.client = client_address::client(&request.headers, peer, trusts);
    }
    let given = if ctx.connection.peer_is_trusted {
        id::from_trusted_peer(&request.headers)
    } else {
        None
    };
    ctx.request_id = given.or_else(id::random);
    let mut context = TraceContext::of(&session.req_header().headers);
    // Of others, or every client could have all of its requests recorded.
    if !(ctx.connection.peer_is_trusted && context.parent.is_some()) {
        context.sampled = spans::tracer().is_some_and(Tracer::samples);
    }
    ctx.trace_context = Some(context);
}

/// Counts a request among those that its client has in progress. One over HTTP/1 was counted when
/// its connection was accepted; a connection over HTTP/2 carries many requests, and one of a
/// trusted proxy those of many clients.
pub(super) fn count_in_progress(session: &Session, ctx: &mut Context) -> Result<(), Rejection> {
    let Some(connection) = Connection::of(session.digest()) else {
        return Ok(());
    };
    if !ctx.connection.peer_is_trusted {
        if session.as_http1().is_some() {
            return Ok(());
        }
        if connection.has_too_many_abandoned() {
            return Err(Rejection::too_many_cancelled());
        }
    } else if ctx.client.is_some() && ctx.client == peer(ctx) {
        // A request that a proxy sends on its own account is no client's.
        return Ok(());
    }
    ctx.client_permit = connection.limits().enter(ctx.client);
    match ctx.client_permit {
        Some(_) => Ok(()),
        None => Err(Rejection::too_many_in_progress()),
    }
}

/// The address at the other end of the connection.
fn peer(ctx: &Context) -> Option<IpAddr> {
    ctx.connection.peer.map(|peer| peer.ip().to_canonical())
}
