//! The proxy: Pingora's filters, thin. Route, authenticate, forward, log.
//!
//! Each filter translates between Pingora and the rooms that decide: [`crate::gateway`] knows where a request belongs, [`crate::auth`] who it is from,
//! [`crate::policy`] whether it may pass.

mod admit;
mod answer;
mod authorities;
mod checks;
mod connection;
mod context;
mod cut;
mod echo;
mod explain;
mod failure;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod head;
mod headers;
mod probe;
mod progress;
mod record;
mod respond;
mod target;
mod upstream;
mod withheld;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{StatusCode, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};

use crate::gateway::{Live, Target};

use context::Context;
use upstream::Connections;

pub use checks::Checks;
pub use connection::{Connection, Served};
pub use cut::Cut;
pub use explain::{End, Explanation};
pub use probe::Probe;
pub use progress::{Clock, Limits, Phase, Progress, Spare};
pub use upstream::Deadlines;

/// How long a client may take none of its answer, and send nothing of its body.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The edge: what Pingora calls for each request.
#[derive(Debug)]
pub struct Edge {
    live: Arc<Live>,
    connections: Connections,
    probe: Option<Probe>,
}

impl Edge {
    /// An edge over a live gateway.
    pub fn new(live: Arc<Live>, deadlines: Arc<Deadlines>) -> Self {
        Self {
            live,
            connections: Connections::new(deadlines),
            probe: None,
        }
    }

    /// Answers this probe with 204, on every network, without a word in the log.
    pub fn answering(mut self, probe: Option<Probe>) -> Self {
        self.probe = probe;
        self
    }
}

#[async_trait]
impl ProxyHttp for Edge {
    /// In a box: Pingora moves it from place to place.
    type CTX = Box<Context>;

    fn new_ctx(&self) -> Self::CTX {
        Box::new(Context::new(self.live.metrics().in_flight()))
    }

    /// None: Pingora would compress nothing, at a cost for every request.
    fn init_downstream_modules(&self, _: &mut pingora::modules::http::HttpModules) {}

    async fn request_filter(
        &self,
        session: &mut Session,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<bool> {
        if session.as_http1().is_none() {
            // One stream may stall while its connection does not.
            session.set_write_timeout(Some(PATIENCE));
        } else {
            let body = head::body_length(session);
            if let Some(connection) = Connection::of(session.digest()) {
                connection.progress().head_is_complete(body);
            }
        }
        ctx.peer = headers::inet(session.client_addr()).or(ctx.peer);
        if let Some(probe) = &self.probe
            && let Some(asked) = probe.asked(session.req_header(), ctx.peer)
        {
            probe.answer_to(asked, session, ctx).await?;
            return Ok(true);
        }
        session.set_pipelining_enabled(true);
        // A client that has said all it has to say may close its half and wait for the answer (RFC 9112 section 9.6).
        session.set_abort_on_close(false);
        ctx.local = headers::inet(session.server_addr()).or(ctx.local);
        ctx.tls |= session
            .digest()
            .is_some_and(|digest| digest.ssl_digest.is_some());
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
        session: &mut Session,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<Box<HttpPeer>> {
        loop {
            if ctx.moves_on {
                ctx.choose(&session.req_header().headers);
            }
            let upstream = ctx.upstream().ok_or_else(|| {
                Error::explain(ErrorType::InternalError, "no http backend to try")
            })?;
            if let Some(address) = upstream.address() {
                return Ok(self.connections.peer(upstream, address));
            }
            let host = upstream.url.host.clone();
            failure::count(ctx, "unresolved");
            ctx.blame(failure::UNRESOLVED);
            ctx.give_up();
            if failure::all_tried(ctx) {
                return Error::e_explain(ErrorType::Custom(failure::UNRESOLVED), host);
            }
        }
    }

    async fn connected_to_upstream(
        &self,
        session: &mut Session,
        _reused: bool,
        _: &HttpPeer,
        _fd: std::os::unix::io::RawFd,
        digest: Option<&Digest>,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<()> {
        let total = ctx
            .upstream()
            .and_then(|upstream| upstream.settings.total_timeout);
        ctx.total_deadline = total.map(|total| ctx.started + total);
        ctx.sent = false;
        ctx.answered = false;
        ctx.deadline = upstream::deadline_of(digest);
        if let Some(deadline) = &ctx.deadline {
            deadline.begin(ctx.total_deadline);
        }
        if !session.is_body_empty() {
            ctx.await_body();
        }
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<()> {
        let upstream = ctx.upstream();
        let mut parts = headers::take(request);
        headers::prepare(&mut parts, ctx, upstream);
        target::send(parts, target::of(ctx, upstream), request)
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<()> {
        if session.was_upgraded() {
            return Ok(());
        }
        if end_of_stream && body.as_ref().is_some_and(Bytes::is_empty) {
            // HTTP/2 may end a body with an empty frame; Pingora would end the chunked body twice for it, the second time in front of the next request.
            *body = None;
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
        ctx.sent |= end_of_stream;
        match end_of_stream {
            _ if ctx.answered => {}
            true => ctx.await_head(),
            false => ctx.await_body(),
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<()> {
        if !answer::is_framed_plainly(&response.headers) {
            return Err(failure::invalid_response("framing"));
        }
        let asked = || session.req_header().headers.contains_key(header::UPGRADE);
        if response.status == StatusCode::SWITCHING_PROTOCOLS && !asked() {
            // The client would read on for another response: the upstream could make up whole ones.
            return Err(failure::invalid_response(
                "a switch of protocols that nobody asked for",
            ));
        }
        let informational = response.status.is_informational()
            && response.status != StatusCode::SWITCHING_PROTOCOLS;
        let mut parts = answer::take(response);
        answer::strip_hop_by_hop(&mut parts.headers);
        if !informational {
            failure::judge(ctx, parts.status);
            ctx.answered = true;
            if answer::is_bodiless(&session.req_header().method, &parts) {
                ctx.rest();
            } else {
                ctx.await_bytes();
            }
            answer::complete(&mut parts.headers, ctx);
        }
        *response = parts.into();
        Ok(())
    }

    fn upstream_response_body_filter(
        &self,
        _: &mut Session,
        _: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<Option<Duration>> {
        if end_of_stream {
            ctx.rest();
        } else {
            ctx.await_bytes();
        }
        Ok(None)
    }

    /// Nothing was sent, so any request may try the next upstream.
    fn fail_to_connect(
        &self,
        _: &mut Session,
        _: &HttpPeer,
        ctx: &mut Self::CTX,
        mut e: Box<Error>,
    ) -> Box<Error> {
        failure::log_failure(ctx, &e);
        if failure::is_ours(&e) {
            // Another upstream would need a descriptor as well.
            e.set_retry(false);
            return e;
        }
        failure::count(ctx, failure::kind(&e));
        ctx.blame(&failure::reason(&e));
        let others_left = !failure::all_tried_but_this(ctx);
        e.set_retry(others_left || ctx.tried.len() < failure::max_retries(ctx));
        ctx.give_up();
        e
    }

    /// Something may have been sent: only an idempotent request whose body is still at hand, and only while no answer has begun.
    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        mut e: Box<Error>,
        ctx: &mut Self::CTX,
        client_reused: bool,
    ) -> Box<Error> {
        let cut = ctx.is_overdue();
        let overdue = cut && !failure::is_slow_client(ctx);
        let upstream_failed = *e.esource() == ErrorSource::Upstream && !cut;
        let repeatable = upstream_failed
            && session.req_header().method.is_idempotent()
            && !session.retry_buffer_truncated()
            && session.response_written().is_none();
        e.retry.decide_reuse(client_reused);
        let stale_connection = client_reused && e.retry();
        if upstream_failed {
            failure::log_failure(ctx, &e);
        }
        if overdue {
            failure::log_overdue(ctx);
            failure::count(ctx, "timeout");
            if ctx.sent && !ctx.answered {
                ctx.blame("no answer in time");
            }
        } else if upstream_failed {
            failure::note(ctx, &e, stale_connection, repeatable);
        }
        let tries_left = ctx.tried.len() < failure::max_retries(ctx);
        e.set_retry(repeatable && (stale_connection || tries_left));
        if !stale_connection {
            ctx.give_up();
        }
        e
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        e: &Error,
        ctx: &mut Self::CTX,
    ) -> FailToProxy {
        let refusal = failure::refusal_for(e, ctx);
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
    fn suppress_error_log(&self, _: &Session, _: &Self::CTX, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _: &Session,
        _: &Self::CTX,
        _: &Error,
        _: pingora_proxy::ProxyWarnLogContext,
    ) -> bool {
        true
    }

    fn request_summary(&self, session: &Session, ctx: &Self::CTX) -> String {
        let path = ctx.path.as_deref().unwrap_or("-");
        format!("{} {path}", session.req_header().method)
    }

    async fn logging(&self, session: &mut Session, _: Option<&Error>, ctx: &mut Self::CTX) {
        if !ctx.probe {
            record::finished(session, ctx, self.live.metrics());
        }
    }
}
