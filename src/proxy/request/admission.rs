//! Whether a request may go on to its backend: head, path, route, stages, limits, in this order.

use std::sync::Arc;

use http::Method;
use pingora_proxy::Session;

use super::context::Context;
use super::head::{self, Head};
use super::rejection::Refusal;
use super::{client_address, reserved_headers};
use crate::auth::{Admission, Chain};
use crate::gateway::{self, Stage};
use crate::listener::Connection;
use crate::proxy::Edge;
use crate::proxy::forward::headers;

impl Edge {
    /// Decides what becomes of a request: `Ok` when it may go on to its backend.
    pub(crate) async fn admit(
        &self,
        session: &mut Session,
        ctx: &mut Context,
    ) -> Result<(), Refusal> {
        let gateway = self.live.gateway();
        self.look_at_peer(session, ctx, &gateway);
        if let Some(refusal) = over_limit(session, ctx) {
            return Err(refusal);
        }
        let tls = ctx.local.and_then(|local| gateway.tls(local));
        if let Some(ca) = tls.and_then(|tls| tls.client_ca.as_ref()) {
            ctx.certificate =
                Connection::of(session.digest()).map(|connection| (connection.clone(), ca.clone()));
        }
        let head = Head::read(session)?;
        if session.req_header().method == Method::TRACE {
            return Err(Refusal::method_not_allowed(&[]));
        }
        let request = session.req_header_mut();
        let mut parts = headers::take(request);
        let claims = gateway.claim_headers();
        ctx.ambiguous_names =
            reserved_headers::strip_reserved(&mut parts.headers, claims, ctx.peer_is_trusted);
        *request = parts.into();
        if head.path == "*" {
            return Err(Refusal::no_route());
        }
        if let Some(port) = ctx.https_port(&gateway, &request.headers) {
            return Err(Refusal::https(&head, port));
        }
        let path =
            std::str::from_utf8(&head.path).map_err(|_| gateway::PathError::ForbiddenByte)?;
        let path = ctx.path.insert(gateway::canonical(path)?.into_owned());

        let request = session.req_header();
        let routes = ctx.local.and_then(|local| gateway.routes(local));
        let host = head.host();
        let find = |path: &str| routes.and_then(|routes| routes.find(&host, path, &request.method));
        let found = find(path).ok_or_else(Refusal::no_route)?;
        let route = found.route.clone();
        if found.confusable.is_some() {
            return Err(gateway::PathError::ConfusableRoute.into());
        }
        ctx.other_paths = gateway::other_readings(path);
        for other in &ctx.other_paths {
            let same = find(other).is_some_and(|other| {
                Arc::ptr_eq(other.route, &route) && other.confusable.is_none()
            });
            if !same {
                return Err(gateway::PathError::AmbiguousRoute.into());
            }
        }
        if !ctx.other_paths.is_empty()
            && route.pipeline.settings.reject_encoded_slashes
            && gateway::has_encoded_slash(path)
        {
            return Err(gateway::PathError::EncodedSlash.into());
        }
        let further = gateway.extra_claim_headers(&route.pipeline);
        if !further.is_empty() {
            let request = session.req_header_mut();
            let mut parts = headers::take(request);
            reserved_headers::strip(&mut parts.headers, further);
            *request = parts.into();
        }
        ctx.route = Some(route.clone());
        ctx.head = Some(head);

        for stage in route.pipeline.stages() {
            match stage {
                Stage::Authenticate(chain) => {
                    let found = authenticate(session, ctx, chain).await?;
                    ctx.identity = ctx.identity.take().or(found.identity);
                    ctx.verified.add(found.verified);
                }
                Stage::Policies(rules) => {
                    let facts = ctx.facts(session.req_header(), &route);
                    rules.decide(&facts, self.live.limiters())?;
                }
                Stage::PathFilter(filter) => {
                    filter.decide(&ctx.facts(session.req_header(), &route))?;
                }
                Stage::LogDump(dump) => dump.log(&ctx.facts(session.req_header(), &route)),
            }
        }
        if let Some(allowed) = found.allowed {
            return Err(Refusal::method_not_allowed(&allowed));
        }
        if head::body_length(session).is_some_and(|length| length > route.endpoint.max_body_size) {
            return Err(Refusal::body_too_large());
        }
        ctx.choose(&session.req_header().headers);
        Ok(())
    }

    fn look_at_peer(&self, session: &Session, ctx: &mut Context, gateway: &gateway::Gateway) {
        let request = session.req_header();
        ctx.version = request.version;
        if let Some(peer) = ctx.peer.map(|peer| peer.ip().to_canonical()) {
            ctx.peer_is_trusted = gateway.trusts(peer);
            ctx.client =
                client_address::client(&request.headers, peer, |address| gateway.trusts(address));
        }
        let given = if ctx.peer_is_trusted {
            headers::given_request_id(&request.headers)
        } else {
            None
        };
        ctx.request_id = given.or_else(headers::new_request_id);
    }
}

/// What a client is told that has as many requests in progress as it may. A request over HTTP/1 has
/// been counted with its connection, where that was accepted; a connection over HTTP/2 carries many,
/// and one of a trusted proxy many people's.
fn over_limit(session: &Session, ctx: &mut Context) -> Option<Refusal> {
    let connection = Connection::of(session.digest())?;
    if !ctx.peer_is_trusted {
        if session.as_http1().is_some() {
            return None;
        }
        if connection.is_overrun() {
            return Some(Refusal::given_up_too_often());
        }
        ctx.in_progress = connection.limits().enter(ctx.client);
        return ctx
            .in_progress
            .is_none()
            .then(Refusal::too_many_in_progress);
    }
    // What a proxy asks on its own account is not a client's.
    let peer = ctx.peer.map(|peer| peer.ip().to_canonical());
    if ctx.client.is_none() || ctx.client != peer {
        ctx.in_progress = connection.limits().enter(ctx.client);
        if ctx.in_progress.is_none() {
            return Some(Refusal::too_many_in_progress());
        }
    }
    None
}

/// Who the request is from. While a password waits to be hashed, the client is watched: once it is
/// gone, the work is withdrawn. (With a body on its way there is no telling.)
async fn authenticate(
    session: &mut Session,
    ctx: &Context,
    chain: &Chain,
) -> Result<Admission, Refusal> {
    let presented = ctx.presented(&session.req_header().headers);
    if !chain.may_wait(&presented) {
        return Ok(chain.admit(&presented).await?);
    }
    let headers = session.req_header().headers.clone();
    let presented = ctx.presented(&headers);
    let admitted = chain.admit(&presented);
    if !session.is_body_empty() {
        return Ok(admitted.await?);
    }
    session.set_abort_on_close(true);
    let admission = tokio::select! {
        biased;
        admission = admitted => Ok(admission?),
        _ = session.read_body_or_idle(true) => Err(Refusal::client_gone()),
    };
    session.set_abort_on_close(false);
    admission
}
