//! The phases of a request, in order, as [`App`](super::App) calls them.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, StatusCode};
use pingora::http::ResponseHeader;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};
use tokio::time::timeout;

use super::forward::connection_auth::BoundConnection;
use super::forward::{Forwarder, UpstreamPool, failure};
use super::local::probe::Probe;
use super::local::{echo, receiver, redirect, resource_document, respond};
use super::request::body_rate::BodyRate;
use super::request::context::Context;
use super::request::grpc::Call;
use super::request::rejection::Rejection;
use super::request::{admission, body, debug_log, head, record};
use super::streams::OpenStreams;
use crate::auth::Trace;
use crate::gateway::{Backend, Live, Service};
use crate::listener::{Connection, WRITE_TIMEOUT};

/// How long a client has to take the end of a response whose credential has ended.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The edge: an application of Pingora's that authenticates requests and forwards them.
pub struct Edge {
    pub(super) live: Arc<Live>,
    forwarder: Forwarder,
    streams: Arc<OpenStreams>,
    probe: Option<Probe>,
}

#[async_trait]
impl ProxyHttp for Edge {
    /// In a box: it is large, and held across every wait of a request.
    type CTX = Box<Context>;

    fn new_ctx(&self) -> Self::CTX {
        Box::new(Context::new(self.live.metrics().in_flight()))
    }

    async fn request_filter(
        &self,
        session: &mut Session,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<bool> {
        // What is awaited is pinned first, here and below: its state is made in its place then, and
        // by value it would be copied twice, level by level.
        let logs_debug = log::log_enabled!(log::Level::Debug);
        let mut trace = if logs_debug {
            Trace::for_log()
        } else {
            Trace::off()
        };
        let responded = pin!(self.try_respond(session, ctx, &mut trace)).await;
        if logs_debug {
            debug_log::admission(session, ctx, trace);
        }
        if !responded? {
            pin!(self.forwarder.forward(session, ctx)).await?;
        }
        Ok(true)
    }

    /// Never called: `request_filter` forwards what is to be forwarded.
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
        error: &Error,
        ctx: &mut Self::CTX,
    ) -> FailToProxy {
        let rejection = failure::rejection_for(error);
        ctx.reason = Some(rejection.as_ref().map_or("client_gone", |it| it.reason));
        let mut error_code = 0;
        if let Some(rejection) = rejection {
            let sent = if failure::response_has_begun(session) {
                let at_once = failure::is_end_of_credential(error);
                end_response(session, ctx, &rejection, at_once).await
            } else {
                error_code = rejection.status;
                session.set_keepalive(None);
                respond::reject(session, ctx, rejection).await
            };
            if let Err(error) = sent {
                let id = ctx.request_id();
                log::debug!("request {id}: the client left before it got its response: {error}");
            }
        }
        FailToProxy {
            error_code,
            can_reuse_downstream: false,
        }
    }

    async fn logging(&self, session: &mut Session, _: Option<&Error>, ctx: &mut Self::CTX) {
        ctx.shadow.release();
        if !ctx.is_probe {
            debug_log::end(session, ctx);
            record::write(session, ctx, self.live.metrics());
        }
        if ctx.body.drain {
            // The upstream has no part in it, and no limit.
            ctx.selection.pick = None;
            ctx.concurrency_permits = Default::default();
            body::drain(session).await;
        }
    }
}

impl Edge {
    /// An edge over a live gateway.
    pub fn new(live: Arc<Live>, pool: Arc<UpstreamPool>) -> Self {
        let streams = OpenStreams::new(live.clone());
        Self {
            live,
            forwarder: Forwarder::new(pool, streams.clone()),
            streams,
            probe: None,
        }
    }

    /// The responses under way that end with a credential.
    pub fn streams(&self) -> &Arc<OpenStreams> {
        &self.streams
    }

    /// Answers this probe with 204, on every network, and logs nothing of it.
    pub fn with_probe(mut self, probe: Option<Probe>) -> Self {
        self.probe = probe;
        self
    }

    /// Responds to a request that goes no further; `false`: it is to be forwarded.
    pub(super) async fn try_respond(
        &self,
        session: &mut Session,
        ctx: &mut Context,
        trace: &mut Trace,
    ) -> pingora::Result<bool> {
        begin(session, ctx);
        if let Some(probe) = &self.probe
            && let Some(asked) = probe.asked(session.req_header(), ctx.connection.peer)
        {
            probe.answer_to(asked, session, ctx).await?;
            return Ok(true);
        }
        let admitted = pin!(admission::admit(&self.live, session, ctx, trace)).await;
        if let Err(rejection) = admitted {
            if let Some(cause) = rejection.cause {
                log::debug!("request {}: refused: {cause}", ctx.request_id());
                trace.detail(|| cause.to_string());
            }
            respond::reject(session, ctx, rejection).await?;
            return Ok(true);
        }
        if let Some(document) = ctx.resource_document.take() {
            resource_document::answer(session, ctx, document).await?;
            return Ok(true);
        }
        if ctx.preflight {
            let response = ResponseHeader::build(StatusCode::NO_CONTENT, Some(8))?;
            respond::empty(session, ctx, response).await?;
            return Ok(true);
        }
        let request = session.req_header();
        if request.method == Method::OPTIONS && head::max_forwards(&request.headers) == Some(0) {
            let response = ResponseHeader::build(StatusCode::NO_CONTENT, Some(4))?;
            respond::json(session, ctx, response, Bytes::new()).await?;
            return Ok(true);
        }
        let route = ctx.route.clone();
        if let Some(receiver) = route.as_ref().and_then(|route| route.receiver.as_ref()) {
            pin!(receiver::answer(session, ctx, receiver, trace)).await?;
            return Ok(true);
        }
        match route.as_ref().map(|route| &route.endpoint.service) {
            Some(Service::Redirect(to)) => redirect::answer(session, ctx, to).await?,
            Some(Service::Echo) => echo::answer(session, ctx).await?,
            _ if ctx.backend().is_some_and(Backend::is_echo) => echo::answer(session, ctx).await?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Ends a response that was broken off; `at_once`: whether the client takes what it is sent or not.
async fn end_response(
    session: &mut Session,
    ctx: &mut Context,
    rejection: &Rejection,
    at_once: bool,
) -> pingora::Result<()> {
    if !at_once {
        return respond::end_call(session, ctx, rejection).await;
    }
    let ended = timeout(LAST_WORDS, pin!(respond::end_call(session, ctx, rejection))).await;
    if let Some(client) = &mut ctx.client_stream {
        client.cancel();
    }
    ended.unwrap_or(Ok(()))
}

/// Sets the session up, and takes note of what its connection says.
fn begin(session: &mut Session, ctx: &mut Context) {
    if session.as_http1().is_none() {
        // One stream may stall while its connection does not.
        session.set_write_timeout(Some(WRITE_TIMEOUT));
    } else if let Some(connection) = Connection::of(session.digest()) {
        connection.state().head_complete();
        if let Some(bound) = BoundConnection::of(connection) {
            bound.close_overdue();
        }
    }
    session.set_pipelining_enabled(true);
    // A client that has said all it has to say may close its half and wait for the response (RFC
    // 9112 section 9.6).
    session.set_abort_on_close(false);
    ctx.grpc = Call::of(session.req_header());
    ctx.body.rate = BodyRate::of(session, ctx.grpc.is_some());
    ctx.connection.read(session);
}
