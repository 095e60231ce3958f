//! Whether a request may go on to its backend: head, path, route, stages, limits, in this order.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use http::Method;
use pingora_proxy::Session;

use super::client_url::ClientUrl;
use super::context::Context;
use super::head::{self, Head};
use super::rejection::Rejection;
use super::trace_context::TraceContext;
use super::{client_address, forwarded, header_rules, id, reserved_headers, shadow};
use crate::auth::{Admission, Chain, RequestTarget, Trace};
use crate::gateway::{self, Live, Match, Route, Stage};
use crate::listener::Connection;
use crate::policy::{
    ConcurrencyLimits, Denial, DeniedBy, Finding, RateLimits, RequestOrigin, preflighted_method,
};
use crate::telemetry::spans::{self, Tracer};

/// Decides what becomes of a request: `Ok` when it may go on to its backend.
pub(crate) async fn admit(
    live: &Live,
    session: &mut Session,
    ctx: &mut Context,
    trace: &mut Trace,
) -> Result<(), Rejection> {
    let gateway = live.gateway();
    identify_client(session, ctx, &gateway);
    if let Some(rejection) = over_limit(session, ctx) {
        return Err(rejection);
    }
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
    if let Some(port) = ctx.https_port(&gateway, &request.headers) {
        return Err(Rejection::redirect_to_https(&head, port));
    }
    let path = std::str::from_utf8(&head.path).map_err(|_| gateway::PathError::ForbiddenByte)?;
    let path = ctx.path.insert(gateway::canonical(path)?.into_owned());

    let request = session.req_header();
    let local = ctx.connection.local;
    let routes = local.and_then(|local| gateway.routes(local));
    let host = head.host();
    let preflighted = preflighted_method(&request.method, &request.headers);
    let document = local.and_then(|local| gateway.resource_document(local, &host, path));
    if let Some(document) = document {
        let method = preflighted.as_ref().unwrap_or(&request.method);
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Err(Rejection::method_not_allowed(&[
                &Method::GET,
                &Method::HEAD,
            ]));
        }
        ctx.resource_document = Some(document.clone());
        return Ok(());
    }
    let find = |path: &str| {
        let by = |method: &Method| routes.and_then(|routes| routes.find(&host, path, method));
        match &preflighted {
            None => by(&request.method),
            Some(asked) => route_of_preflight(by(&Method::OPTIONS), || by(asked)),
        }
    };
    let found = find(path).ok_or_else(Rejection::not_found)?;
    let route = found.route;
    if found.confusable.is_some() {
        return Err(gateway::PathError::ConfusableRoute.into());
    }
    ctx.other_paths = gateway::other_readings(path);
    for other in &ctx.other_paths {
        let same = find(other)
            .is_some_and(|other| Arc::ptr_eq(other.route, route) && other.confusable.is_none());
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
        let mut parts = head::take_parts(request);
        reserved_headers::strip(&mut parts.headers, further);
        *request = parts.into();
    }
    ctx.route = Some(route.clone());
    ctx.head = Some(head);
    ctx.preflight = preflighted.is_some() && route.pipeline.cors().is_some();

    pin!(run_stages(live, session, ctx, route, trace)).await?;
    if ctx.preflight {
        return Ok(());
    }
    if let Some(allowed) = found.allowed {
        return Err(Rejection::method_not_allowed(&allowed));
    }
    if head::has_unknown_expectation(&session.req_header().headers) {
        return Err(Rejection::unknown_expectation());
    }
    if head::body_length(session).is_some_and(|length| length > route.endpoint.max_body_size) {
        return Err(Rejection::body_too_large());
    }
    enter(live, route.pipeline.concurrency_limits(), ctx, trace)?;
    pin!(count(live, route.pipeline.final_rate_limits(), ctx, trace)).await?;
    shadow::count(live, ctx, route, trace);
    ctx.select_upstream(&session.req_header().headers);
    ctx.gateway = Some(gateway);
    Ok(())
}

/// The route of a preflight: that of the method that it asks for, if pages of other origins may use
/// it, unless a route at the same place names OPTIONS.
fn route_of_preflight<'r>(
    own: Option<Match<'r, Arc<Route>>>,
    asked: impl FnOnce() -> Option<Match<'r, Arc<Route>>>,
) -> Option<Match<'r, Arc<Route>>> {
    let names_options = |route: &Route| route.endpoint.methods.contains(&Method::OPTIONS);
    let is_named = own.as_ref().is_some_and(|own| names_options(own.route));
    if is_named && own.as_ref().is_some_and(|own| own.allowed.is_none()) {
        return own;
    }
    asked()
        .filter(|asked| asked.route.pipeline.cors().is_some())
        .or(own)
}

/// Whether a request passes the steps of its pipeline. A preflight has passed with the step that
/// answers it.
async fn run_stages(
    live: &Live,
    session: &mut Session,
    ctx: &mut Context,
    route: &Route,
    trace: &mut Trace,
) -> Result<(), Rejection> {
    for stage in route.pipeline.stages() {
        match stage {
            Stage::Authenticate(chain) => {
                let found = pin!(authenticate(session, ctx, chain, trace)).await?;
                ctx.admitted.extend(found.admitted);
                ctx.verified.add(found.verified);
                ctx.dpop_nonce = ctx.dpop_nonce.take().or(found.nonce);
            }
            Stage::Policies(rules) => {
                let facts = ctx.facts(session.req_header(), route);
                let noted = |finding: Finding<'_>| trace.detail(|| finding.to_string());
                let decided = rules.decide(&facts, noted);
                let allows = |rule| format!("rule {rule:?} allows");
                trace.step(rules.step(), || describe_decision(&decided, allows));
                decided.map_err(Denial::from)?;
            }
            Stage::PathFilter(filter) => {
                let decided = filter.decide(&ctx.facts(session.req_header(), route));
                let allows = |pattern| format!("pattern {pattern:?} allows");
                trace.step(filter.step(), || describe_decision(&decided, allows));
                decided.map_err(Denial::from)?;
            }
            Stage::LogDump(dump) => {
                dump.log(&ctx.facts(session.req_header(), route));
                trace.step(dump.step(), || "written to the log".to_owned());
            }
            Stage::Cors(cors) => {
                let origin = cors.classify_origin(&session.req_header().headers);
                trace.step(cors.step(), || describe_origin(origin).to_owned());
                if ctx.preflight {
                    return match origin {
                        RequestOrigin::Allowed => Ok(()),
                        _ => Err(Rejection::origin_not_allowed()),
                    };
                }
            }
            Stage::Headers(step, rules) => trace.step(step, || header_rules::describe(rules)),
            Stage::Shadow(shadow) => {
                pin!(shadow::try_out(live, session, ctx, route, shadow, trace)).await;
            }
            Stage::RateLimits(limits) => pin!(count(live, limits, ctx, trace)).await?,
        }
    }
    Ok(())
}

/// Counts a request, unless it is only explained.
async fn count(
    live: &Live,
    limits: &RateLimits,
    ctx: &mut Context,
    trace: &mut Trace,
) -> Result<(), Denial> {
    if limits.is_empty() {
        return Ok(());
    }
    // A password may have been hashed since the request began.
    let (limiters, requester, now) = (live.limiters(), ctx.requester(), Instant::now());
    let (fields, found) = if trace.is_explain() {
        let (room, verdict) = limits.peek(limiters, &requester, now);
        for room in room {
            trace.limit(room.name, || room.to_string());
        }
        verdict
    } else {
        match limits.try_take(limiters, &requester, now) {
            Some(verdict) => verdict,
            None => Box::pin(limits.take_shared(limiters, &requester)).await,
        }
    };
    if let Some(fields) = fields {
        ctx.rate_limit_fields = Some(fields.after(ctx.rate_limit_fields.take()));
    }
    found
}

/// Lets a request be in flight, unless it is only explained.
fn enter(
    live: &Live,
    limits: &ConcurrencyLimits,
    ctx: &mut Context,
    trace: &mut Trace,
) -> Result<(), Denial> {
    let (limiters, requester) = (live.limiters(), ctx.requester());
    let entered = if trace.is_explain() {
        let (room, found) = limits.peek(limiters, &requester);
        for room in room {
            trace.limit(room.name, || room.to_string());
        }
        found
    } else {
        limits
            .enter(limiters, &requester)
            .map(|permits| ctx.concurrency_permits = permits)
    };
    // What is refused for being one too many says nothing of how often.
    entered.inspect_err(|_| ctx.rate_limit_fields = None)
}

fn identify_client(session: &mut Session, ctx: &mut Context, gateway: &gateway::Gateway) {
    let request = session.req_header_mut();
    ctx.connection.uses_forwarded = gateway.uses_forwarded();
    if let Some(peer) = ctx.connection.peer.map(|peer| peer.ip().to_canonical()) {
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
    // What anybody may say of it would have everything behind the edge recorded.
    if !(ctx.connection.peer_is_trusted && context.parent.is_some()) {
        context.sampled = spans::tracer().is_some_and(Tracer::samples);
    }
    ctx.trace_context = Some(context);
}

fn describe_origin(origin: RequestOrigin) -> &'static str {
    match origin {
        RequestOrigin::Absent => "no page of another origin has sent it",
        RequestOrigin::Allowed => "pages of this origin may read the answer",
        RequestOrigin::NotAllowed => "no page of this origin may read the answer",
    }
}

/// What a step that looks at no credential has decided, in words.
fn describe_decision<'d, T: Copy>(
    decided: &Result<T, DeniedBy<'d>>,
    allows: impl FnOnce(T) -> String,
) -> String {
    match decided {
        Ok(by) => allows(*by),
        Err(denied) => denied.to_string(),
    }
}

/// What a client is told that has as many requests in progress as it may. A request over HTTP/1 has
/// been counted with its connection, where that was accepted; a connection over HTTP/2 carries
/// many, and one of a trusted proxy many people's.
fn over_limit(session: &Session, ctx: &mut Context) -> Option<Rejection> {
    let connection = Connection::of(session.digest())?;
    if !ctx.connection.peer_is_trusted {
        if session.as_http1().is_some() {
            return None;
        }
        if connection.has_too_many_abandoned() {
            return Some(Rejection::too_many_cancelled());
        }
        ctx.client_permit = connection.limits().enter(ctx.client);
        return ctx
            .client_permit
            .is_none()
            .then(Rejection::too_many_in_progress);
    }
    // What a proxy asks on its own account is not a client's.
    let peer = ctx.connection.peer.map(|peer| peer.ip().to_canonical());
    if ctx.client.is_none() || ctx.client != peer {
        ctx.client_permit = connection.limits().enter(ctx.client);
        if ctx.client_permit.is_none() {
            return Some(Rejection::too_many_in_progress());
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
    trace: &mut Trace,
) -> Result<Admission, Rejection> {
    let request = session.req_header();
    let url = ClientUrl {
        ctx,
        headers: &request.headers,
    };
    let auth_request = ctx.auth_request(&request.headers, Some(target(&request.method, &url)));
    if !chain.may_wait(&auth_request) {
        return Ok(chain.admit(&auth_request, trace).await?);
    }
    let (method, headers) = (request.method.clone(), request.headers.clone());
    let url = ClientUrl {
        ctx,
        headers: &headers,
    };
    let auth_request = ctx.auth_request(&headers, Some(target(&method, &url)));
    let admitted = chain.admit(&auth_request, trace);
    if !session.is_body_empty() {
        return Ok(admitted.await?);
    }
    session.set_abort_on_close(true);
    let admission = tokio::select! {
        biased;
        admission = admitted => Ok(admission?),
        _ = session.read_body_or_idle(true) => Err(Rejection::client_gone()),
    };
    session.set_abort_on_close(false);
    admission
}

/// What a proof has to be for.
fn target<'a>(method: &'a Method, url: &'a ClientUrl<'_>) -> RequestTarget<'a> {
    RequestTarget {
        method,
        url,
        proof: &url.ctx.proof,
    }
}
