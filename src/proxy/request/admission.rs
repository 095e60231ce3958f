//! Whether a request may go on to its backend: head, path, route, stages, limits, in this order.

use std::pin::pin;

use http::Method;
use pingora_proxy::Session;

use super::context::Context;
use super::head::{self, Head};
use super::rejection::Rejection;
use super::routing::{self, Destination};
use super::{client, reserved_headers, shadow, stages};
use crate::auth::Trace;
use crate::gateway::{self, Gateway, Live, Route};
use crate::listener::Connection;
use crate::policy::{ConcurrencyLimits, Denial};

/// Decides what becomes of a request: `Ok` when it may go on to its backend.
pub(crate) async fn admit(
    live: &Live,
    session: &mut Session,
    ctx: &mut Context,
    trace: &mut Trace,
) -> Result<(), Rejection> {
    let gateway = live.gateway();
    client::identify(session, ctx, &gateway);
    client::count_in_progress(session, ctx)?;
    let head = read_head(session, ctx, &gateway)?;
    let (matched, is_preflight) = match routing::find(&gateway, session, ctx, &head)? {
        Destination::Route {
            matched,
            is_preflight,
        } => (matched, is_preflight),
        Destination::ResourceDocument(document) => {
            ctx.resource_document = Some(document.clone());
            return Ok(());
        }
    };
    let route = matched.route;
    strip_claims_of_cloud(session, &gateway, route);
    ctx.route = Some(route.clone());
    ctx.head = Some(head);
    ctx.preflight = is_preflight && route.pipeline.cors().is_some();

    pin!(stages::run(live, session, ctx, route, trace)).await?;
    if ctx.preflight {
        return Ok(());
    }
    if let Some(allowed) = matched.allowed {
        return Err(Rejection::method_not_allowed(&allowed));
    }
    if head::has_unknown_expectation(&session.req_header().headers) {
        return Err(Rejection::unknown_expectation());
    }
    if head::body_length(session).is_some_and(|length| length > route.endpoint.max_body_size) {
        return Err(Rejection::body_too_large());
    }
    enter(live, route.pipeline.concurrency_limits(), ctx, trace)?;
    let limits = route.pipeline.final_rate_limits();
    pin!(stages::count(live, limits, ctx, trace)).await?;
    shadow::count(live, ctx, route, trace);
    ctx.select_upstream(&session.req_header().headers);
    ctx.gateway = Some(gateway);
    Ok(())
}

/// Reads the head, strips what no client may set, and notes the canonical path.
fn read_head(
    session: &mut Session,
    ctx: &mut Context,
    gateway: &Gateway,
) -> Result<Head, Rejection> {
    let tls = ctx.connection.local.and_then(|local| gateway.tls(local));
    if let Some(auth) = tls.and_then(|tls| tls.client_auth.as_ref()) {
        ctx.connection.certificate =
            Connection::of(session.digest()).map(|connection| (connection.clone(), auth.clone()));
    }
    let head = Head::read(session)?;
    if session.req_header().method == Method::TRACE {
        return Err(Rejection::method_not_allowed(&[]));
    }
    let request = session.req_header_mut();
    let mut parts = head::take_parts(request);
    let claims = gateway.claim_headers();
    ctx.ambiguous_names = reserved_headers::strip_reserved(
        &mut parts.headers,
        claims,
        ctx.connection.peer_is_trusted,
        ctx.connection.uses_forwarded,
    );
    *request = parts.into();
    if head.path == "*" {
        return Err(Rejection::not_found());
    }
    if let Some(port) = ctx.https_port(gateway, &request.headers) {
        return Err(Rejection::redirect_to_https(&head, port));
    }
    let path = std::str::from_utf8(&head.path).map_err(|_| gateway::PathError::ForbiddenByte)?;
    ctx.path = Some(gateway::canonical(path)?.into_owned());
    Ok(head)
}

/// Strips the headers that the cloud's pipelines fill from claims, on routes of theirs.
fn strip_claims_of_cloud(session: &mut Session, gateway: &Gateway, route: &Route) {
    let names = gateway.extra_claim_headers(&route.pipeline);
    if !names.is_empty() {
        let request = session.req_header_mut();
        let mut parts = head::take_parts(request);
        reserved_headers::strip(&mut parts.headers, names);
        *request = parts.into();
    }
}

/// Lets a request be in flight, unless it is only explained.
fn enter(
    live: &Live,
    limits: &ConcurrencyLimits,
    ctx: &mut Context,
    trace: &mut Trace,
) -> Result<(), Denial> {
    match limits.enter_or_peek(live.limiters(), &ctx.requester(), trace) {
        Ok(permits) => ctx.concurrency_permits = permits,
        Err(denial) => {
            // What is refused for being one too many says nothing of how often.
            ctx.rate_limit_fields = None;
            return Err(denial);
        }
    }
    Ok(())
}
