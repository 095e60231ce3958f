//! What Pingora calls for each request: its phases, in order.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::StatusCode;
use pingora::http::ResponseHeader;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};

use crate::auth::Trace;
use crate::gateway::{Live, Target};
use crate::listener::{Connection, WRITE_TIMEOUT};

use super::body_rate::BodyRate;
use super::forward::connection_auth::Bound;
use super::forward::pool::Connections;
use super::forward::{failure, headers};
use super::local::echo;
use super::local::probe::Probe;
use super::request::context::Context;
use super::request::{record, rejection};

/// The edge: what Pingora calls for each request.
pub struct Edge {
    pub(super) live: Arc<Live>,
    pub(super) connections: Arc<Connections>,
    probe: Option<Probe>,
}

impl Edge {
    /// An edge over a live gateway.
    pub fn new(live: Arc<Live>, connections: Arc<Connections>) -> Self {
        Self {
            live,
            connections,
            probe: None,
        }
    }

    /// Answers this probe with 204, on every network, without a word in the log.
    pub fn answering(mut self, probe: Option<Probe>) -> Self {
        self.probe = probe;
        self
    }

    /// Answers a request that goes no further; `false`: it is to be forwarded.
    pub(super) async fn answers(
        &self,
        session: &mut Session,
        ctx: &mut Context,
        trace: &mut Trace,
    ) -> pingora::Result<bool> {
        if session.as_http1().is_none() {
            // One stream may stall while its connection does not.
            session.set_write_timeout(Some(WRITE_TIMEOUT));
        } else if let Some(connection) = Connection::of(session.digest()) {
            connection.progress().head_is_complete();
            if let Some(bound) = Bound::of(connection) {
                bound.close_overdue();
            }
        }
        ctx.body_rate = BodyRate::of(session);
        ctx.peer = headers::inet(session.client_addr()).or(ctx.peer);
        if let Some(probe) = &self.probe
            && let Some(asked) = probe.asked(session.req_header(), ctx.peer)
        {
            probe.answer_to(asked, session, ctx).await?;
            return Ok(true);
        }
        session.set_pipelining_enabled(true);
        // A client that has said all it has to say may close its half and wait for the answer (RFC
        // 9112 section 9.6).
        session.set_abort_on_close(false);
        ctx.local = headers::inet(session.server_addr()).or(ctx.local);
        ctx.tls |= session
            .digest()
            .is_some_and(|digest| digest.ssl_digest.is_some());
        if let Err(refusal) = self.admit(session, ctx, trace).await {
            if let Some(cause) = refusal.cause {
                trace.detail(|| cause.to_string());
            }
            rejection::refuse(session, ctx, refusal).await?;
            return Ok(true);
        }
        if headers::hops_are_spent(session.req_header()) {
            let response = ResponseHeader::build(StatusCode::NO_CONTENT, Some(4))?;
            rejection::json(session, ctx, response, Bytes::new()).await?;
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
        if !self.answers(session, ctx, &mut Trace::off()).await? {
            self.forward(session, ctx).await?;
        }
        Ok(true)
    }

    /// Never asked: `request_filter` forwards what is to be forwarded.
    async fn upstream_peer(
        &self,
        _: &mut Session,
        _: &mut Self::CTX,
    ) -> pingora::Result<Box<HttpPeer>> {
        Error::e_explain(ErrorType::InternalError, "a request that was not forwarded")
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
        let ends_tunnel = session.was_upgraded() && ctx.is_overdue();
        ctx.reason = Some(if ends_tunnel {
            "tunnel_timeout"
        } else {
            reason
        });
        let mut error_code = 0;
        if let Some(refusal) = refusal.filter(|_| !rejection::has_begun(session)) {
            error_code = refusal.status;
            session.set_keepalive(None);
            if let Err(error) = rejection::refuse(session, ctx, refusal).await {
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

    async fn logging(&self, session: &mut Session, _: Option<&Error>, ctx: &mut Self::CTX) {
        if !ctx.probe {
            record::finished(session, ctx, self.live.metrics());
        }
        if ctx.lingers {
            // The upstream has no part in it.
            ctx.pick = None;
            rejection::linger(session).await;
        }
    }
}
