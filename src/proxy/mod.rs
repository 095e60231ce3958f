//! The proxy: Pingora's filters, thin. Route, authenticate, forward, log.
//!
//! Each filter translates between Pingora and the rooms that decide: [`crate::gateway`] knows where a request belongs, [`crate::auth`] who it is from.

mod authenticate;
mod context;
mod echo;
mod head;
mod headers;
mod respond;
mod upstream;
mod withheld;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};

use crate::gateway::{self, Live, Target};
use crate::telemetry::access;

use authenticate::authenticate;
use context::Context;
use head::Head;
use headers::X_REQUEST_ID;
use respond::Refusal;
use upstream::Connector;

pub use upstream::Deadlines;

/// The edge: what Pingora calls for each request.
#[derive(Debug)]
pub struct Edge {
    live: Arc<Live>,
    connector: Arc<Connector>,
    in_flight: Arc<AtomicUsize>,
}

impl Edge {
    /// An edge over a live gateway. `in_flight` counts its requests.
    pub fn new(live: Arc<Live>, deadlines: Arc<Deadlines>, in_flight: Arc<AtomicUsize>) -> Self {
        Self {
            live,
            connector: Arc::new(Connector(deadlines)),
            in_flight,
        }
    }

    /// Decides what becomes of a request: `Ok` when it may go on to its backend.
    async fn admit(&self, session: &mut Session, ctx: &mut Context) -> Result<(), Refusal> {
        let gateway = self.live.gateway();
        self.look_at_peer(session, ctx, &gateway);
        let head = Head::read(session)?;
        let request = session.req_header_mut();
        if request.method == Method::TRACE {
            return Err(Refusal::method_not_allowed(&[]));
        }
        headers::strip_reserved(request, gateway.claim_headers());
        if head.path == "*" {
            return Err(Refusal::no_route());
        }
        let path =
            std::str::from_utf8(&head.path).map_err(|_| gateway::PathError::ForbiddenByte)?;
        let path = ctx.path.insert(gateway::canonical(path)?.into_owned());

        let request = session.req_header();
        let local = headers::inet(session.server_addr());
        let found = local
            .and_then(|local| gateway.routes(local))
            .and_then(|routes| routes.find(&head.host(), path, &request.method))
            .ok_or_else(Refusal::no_route)?;
        let route = ctx.route.insert(found.route.clone());
        ctx.head = Some(head);

        let query = ctx
            .head
            .as_ref()
            .and_then(|head| std::str::from_utf8(head.query.as_deref()?).ok());
        let chain = &route.pipeline.chain;
        ctx.identity = authenticate(session, chain, query, ctx.client).await?;
        let request = session.req_header();
        if let Some(allowed) = found.allowed {
            return Err(Refusal::method_not_allowed(&allowed));
        }
        let length = request
            .headers
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok());
        if length.is_some_and(|length: u64| length > route.endpoint.max_body_size) {
            return Err(Refusal::body_too_large());
        }
        ctx.turn = Some(route.pipeline.turn());
        Ok(())
    }

    fn look_at_peer(&self, session: &Session, ctx: &mut Context, gateway: &gateway::Gateway) {
        let request = session.req_header();
        ctx.version = request.version;
        ctx.peer = headers::inet(session.client_addr());
        if let Some(peer) = ctx.peer.map(|peer| peer.ip().to_canonical()) {
            ctx.peer_is_trusted = gateway.trusts(peer);
            ctx.client = Some(headers::client(&request.headers, peer, |address| {
                gateway.trusts(address)
            }));
        }
        let given = if ctx.peer_is_trusted {
            headers::given_request_id(&request.headers)
        } else {
            None
        };
        ctx.request_id =
            given.or_else(|| HeaderValue::from_str(&format!("{:032x}", fastrand::u128(..))).ok());
    }
}

#[async_trait]
impl ProxyHttp for Edge {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context::new(&self.in_flight)
    }

    /// None: Pingora would compress nothing, at a cost for every request.
    fn init_downstream_modules(&self, _: &mut pingora::modules::http::HttpModules) {}

    async fn request_filter(
        &self,
        session: &mut Session,
        ctx: &mut Context,
    ) -> pingora::Result<bool> {
        session.set_pipelining_enabled(true);
        if let Err(refusal) = self.admit(session, ctx).await {
            respond::refuse(session, ctx, refusal).await?;
            return Ok(true);
        }
        if headers::hops_are_spent(session.req_header()) {
            let response = ResponseHeader::build(StatusCode::NO_CONTENT, Some(4))?;
            respond::json(session, ctx, response, Bytes::new()).await?;
            return Ok(true);
        }
        let endpoint_echoes = ctx.route.as_ref().is_some_and(|route| route.echoes());
        let backend_echoes = ctx
            .backend()
            .is_some_and(|backend| matches!(backend.target, Target::Echo));
        if endpoint_echoes || backend_echoes {
            echo::answer(session, ctx).await?;
            return Ok(true);
        }
        Ok(false)
    }

    async fn upstream_peer(
        &self,
        _: &mut Session,
        ctx: &mut Context,
    ) -> pingora::Result<Box<HttpPeer>> {
        let upstream = ctx
            .upstream()
            .ok_or_else(|| Error::explain(ErrorType::InternalError, "no http backend to try"))?;
        let address = upstream.addresses.next().ok_or_else(|| {
            Error::explain(
                ErrorType::Custom(UNRESOLVED),
                upstream.settings.host.clone(),
            )
        })?;
        Ok(upstream::peer(upstream, address, self.connector.clone()))
    }

    async fn connected_to_upstream(
        &self,
        _: &mut Session,
        _reused: bool,
        _: &HttpPeer,
        _fd: std::os::unix::io::RawFd,
        digest: Option<&Digest>,
        ctx: &mut Context,
    ) -> pingora::Result<()> {
        let total = ctx
            .upstream()
            .and_then(|upstream| upstream.settings.total_timeout);
        ctx.total_deadline = total.map(|total| ctx.started + total);
        ctx.answered = false;
        ctx.deadline = upstream::deadline_of(digest);
        if let Some(deadline) = &ctx.deadline {
            deadline.set(ctx.total_deadline);
        }
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Context,
    ) -> pingora::Result<()> {
        let upstream = ctx.upstream();
        if let (Some(upstream), Some(route), Some(path)) = (upstream, &ctx.route, &ctx.path) {
            let query = ctx.forwarded_query();
            let target = target(
                &upstream.settings.base_path,
                &route.endpoint.path_prefix,
                path,
                query.as_deref(),
            );
            request.set_raw_path(&target)?;
        }
        headers::prepare(request, ctx, upstream)
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Context,
    ) -> pingora::Result<()> {
        if session.was_upgraded() {
            return Ok(());
        }
        ctx.body_bytes += body.as_ref().map_or(0, |bytes| bytes.len() as u64);
        let limit = ctx
            .route
            .as_ref()
            .map_or(0, |route| route.endpoint.max_body_size);
        if ctx.body_bytes > limit {
            return Error::e_explain(
                ErrorType::HTTPStatus(413),
                "request body over max_body_size",
            );
        }
        if end_of_stream && !ctx.answered {
            let head_timeout = ctx
                .upstream()
                .map_or(Duration::MAX, |upstream| upstream.settings.head_timeout);
            let head_due = Instant::now().checked_add(head_timeout);
            let due = [head_due, ctx.total_deadline].into_iter().flatten().min();
            if let Some(deadline) = &ctx.deadline {
                deadline.set(due);
            }
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        _: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> pingora::Result<()> {
        let informational = response.status.is_informational()
            && response.status != StatusCode::SWITCHING_PROTOCOLS;
        if !informational {
            ctx.answered = true;
            if let Some(deadline) = &ctx.deadline {
                deadline.set(ctx.total_deadline);
            }
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        _: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> pingora::Result<()> {
        if let Some(id) = &ctx.request_id {
            response.insert_header(X_REQUEST_ID, id.clone())?;
        }
        Ok(())
    }

    /// Nothing was sent, so any request may try the next backend.
    fn fail_to_connect(
        &self,
        _: &mut Session,
        _: &HttpPeer,
        ctx: &mut Context,
        mut e: Box<Error>,
    ) -> Box<Error> {
        log_failure(ctx, &e);
        let others = ctx
            .route
            .as_ref()
            .map_or(0, |route| route.pipeline.backends().saturating_sub(1));
        e.set_retry(ctx.attempt < others.max(max_retries(ctx)));
        ctx.attempt += 1;
        e
    }

    /// Something may have been sent: only an idempotent request whose body is still at hand, and only while no answer has begun.
    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        mut e: Box<Error>,
        ctx: &mut Context,
        client_reused: bool,
    ) -> Box<Error> {
        let overdue = ctx
            .deadline
            .as_ref()
            .is_some_and(|deadline| deadline.passed());
        let upstream_failed = *e.esource() == ErrorSource::Upstream && !overdue;
        let repeatable = upstream_failed
            && session.req_header().method.is_idempotent()
            && !session.retry_buffer_truncated()
            && session.response_written().is_none();
        if upstream_failed {
            log_failure(ctx, &e);
        }
        // A kept connection that the upstream had closed meanwhile says nothing about the upstream: it does not count.
        e.retry.decide_reuse(client_reused);
        let stale_connection = client_reused && e.retry();
        e.set_retry(repeatable && (stale_connection || ctx.attempt < max_retries(ctx)));
        if !stale_connection {
            ctx.attempt += 1;
        }
        e
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        e: &Error,
        ctx: &mut Context,
    ) -> FailToProxy {
        let refusal = refusal_for(e, ctx);
        let reason = refusal
            .as_ref()
            .map_or("client_gone", |refusal| refusal.reason);
        ctx.reason = Some(reason);
        let mut error_code = 0;
        if let (Some(refusal), None) = (refusal, session.response_written()) {
            error_code = refusal.status;
            session.set_keepalive(None);
            if let Err(error) = respond::refuse(session, ctx, refusal).await {
                log::debug!("the client was gone before it could be answered: {error}");
            }
        }
        FailToProxy {
            error_code,
            can_reuse_downstream: false,
        }
    }

    /// Ours says more, and leaves the query out, which may hold a secret.
    fn suppress_error_log(&self, _: &Session, _: &Context, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _: &Session,
        _: &Context,
        _: &Error,
        _: pingora_proxy::ProxyWarnLogContext,
    ) -> bool {
        true
    }

    fn request_summary(&self, session: &Session, ctx: &Context) -> String {
        let path = ctx.path.as_deref().unwrap_or("-");
        format!("{} {path}", session.req_header().method)
    }

    async fn logging(&self, session: &mut Session, _: Option<&Error>, ctx: &mut Context) {
        if !access::enabled() {
            return;
        }
        let request = session.req_header();
        access::write(&access::Record {
            client: ctx.client,
            method: request.method.as_str(),
            path: ctx.path.as_deref(),
            version: ctx.version,
            status: session
                .response_written()
                .map(|response| response.status.as_u16()),
            bytes: session.body_bytes_sent(),
            duration: ctx.started.elapsed(),
            pipeline: ctx.route.as_ref().map(|route| &*route.pipeline.name),
            upstream: ctx.backend().map(|backend| &*backend.name),
            auth: ctx
                .identity
                .as_ref()
                .map(|identity| identity.method().as_str()),
            subject: ctx
                .identity
                .as_ref()
                .and_then(|identity| identity.subject()?.to_str().ok()),
            reason: ctx.reason,
            request_id: ctx.request_id.as_ref().and_then(|id| id.to_str().ok()),
        });
    }
}

const UNRESOLVED: &str = "upstream name not resolved";

/// The backend's own path, what follows the prefix, and the query byte for byte.
fn target(base: &str, prefix: &str, path: &str, query: Option<&[u8]>) -> Vec<u8> {
    let base = base.strip_suffix('/').unwrap_or(base);
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    let rest = path.strip_prefix(prefix).unwrap_or(path);
    let mut target = Vec::with_capacity(base.len() + rest.len() + query.map_or(0, <[u8]>::len) + 2);
    target.extend_from_slice(base.as_bytes());
    target.extend_from_slice(rest.as_bytes());
    if target.is_empty() {
        target.push(b'/');
    }
    if let Some(query) = query {
        target.push(b'?');
        target.extend_from_slice(query);
    }
    target
}

fn max_retries(ctx: &Context) -> usize {
    ctx.upstream()
        .map_or(0, |upstream| upstream.settings.max_retries as usize)
}

/// What the client is told of an error; `None` when there is no client to tell.
fn refusal_for(error: &Error, ctx: &Context) -> Option<Refusal> {
    if ctx
        .deadline
        .as_ref()
        .is_some_and(|deadline| deadline.passed())
    {
        return Some(Refusal::too_slow("upstream_timeout"));
    }
    Some(match (error.etype(), error.esource()) {
        (ErrorType::HTTPStatus(413), _) => Refusal::body_too_large(),
        (ErrorType::Custom(UNRESOLVED), _) => Refusal::unresolved(),
        (ErrorType::ConnectTimedout, ErrorSource::Upstream) => {
            Refusal::too_slow("upstream_connect_timeout")
        }
        (ErrorType::ReadTimedout | ErrorType::WriteTimedout, ErrorSource::Upstream) => {
            Refusal::too_slow("upstream_timeout")
        }
        (
            ErrorType::ConnectRefused | ErrorType::ConnectError | ErrorType::ConnectNoRoute,
            ErrorSource::Upstream,
        ) => Refusal::unreachable("upstream_unreachable"),
        (_, ErrorSource::Upstream) => Refusal::unreachable("upstream_error"),
        (ErrorType::ReadTimedout, ErrorSource::Downstream) => Refusal::body_incomplete(),
        (
            ErrorType::WriteError
            | ErrorType::ReadError
            | ErrorType::ConnectionClosed
            | ErrorType::WriteTimedout,
            ErrorSource::Downstream,
        ) => {
            return None;
        }
        (_, ErrorSource::Downstream) => Refusal::malformed("client_error"),
        _ => Refusal::internal("internal_error"),
    })
}

fn log_failure(ctx: &Context, error: &Error) {
    let (Some(route), Some(backend)) = (&ctx.route, ctx.backend()) else {
        return;
    };
    log::warn!(
        "pipeline {}: upstream {} failed on attempt {}: {error}",
        route.pipeline.name,
        backend.name,
        ctx.attempt + 1
    );
}

#[cfg(test)]
mod tests {
    use super::target;

    #[test]
    fn the_upstream_sees_its_own_path_and_what_follows_the_prefix() {
        for (base, prefix, path, query, expected) in [
            ("/base", "/api", "/api/x/y", Some("q=1"), "/base/x/y?q=1"),
            ("/base", "/api", "/api", None, "/base"),
            ("/base", "/api", "/api/", None, "/base/"),
            ("/", "/api", "/api", None, "/"),
            ("/", "/api", "/api/x", Some(""), "/x?"),
            ("/", "/", "/api/x", Some("a?b"), "/api/x?a?b"),
            ("/base", "/", "/", None, "/base/"),
            ("/base", "/", "/x", None, "/base/x"),
        ] {
            let target = target(base, prefix, path, query.map(str::as_bytes));
            assert_eq!(
                String::from_utf8_lossy(&target),
                expected,
                "{base} {prefix} {path}"
            );
        }
    }
}
