//! What is kept of a request that is over: its metrics, its access record, its audit event and its
//! span.

use std::borrow::Cow;
use std::time::Duration;

use http::HeaderValue;
use http::header::{REFERER, USER_AGENT};
use pingora_proxy::Session;

use super::context::Context;
use super::head::Head;
use super::trace_context::TraceContext;
use crate::listener::refused_path;
use crate::telemetry::spans::{self, Tracer};
use crate::telemetry::{Metrics, access, audit};

/// What is written of a request.
struct Wanted {
    /// Its access record.
    logged: bool,
    /// Whether that waits for steps in shadow, which decide whether and how it is logged.
    is_pending: bool,
    /// Its span.
    span: Option<(&'static Tracer, TraceContext)>,
    /// Its audit event: the reason of its refusal.
    audited: Option<&'static str>,
}

impl Wanted {
    fn of(ctx: &Context, status: Option<u16>, is_pending: bool, denied_in_shadow: bool) -> Self {
        let sampled = ctx.trace_context.filter(|context| context.sampled);
        let is_refusal = matches!(status, Some(400..500));
        Self {
            logged: access::enabled() && is_logged(ctx, status, denied_in_shadow),
            is_pending,
            span: spans::tracer().zip(sampled),
            audited: ctx.reason.filter(|_| is_refusal && audit::enabled()),
        }
    }

    fn is_nothing(&self) -> bool {
        !self.logged && !self.is_pending && self.span.is_none() && self.audited.is_none()
    }
}

/// Counts it, and writes what is wanted of it.
pub(crate) fn write(session: &Session, ctx: &mut Context, metrics: &Metrics) {
    let rejected_call = ctx.grpc.as_ref().and_then(|call| call.rejected_with);
    let status = session
        .response_written()
        .map(|response| rejected_call.unwrap_or(response.status.as_u16()));
    let duration = ctx.started.elapsed();
    let counters = match &ctx.route {
        Some(route) => &route.pipeline.metrics,
        None => metrics.unmatched(),
    };
    counters.count(status, duration, ctx.reason);
    let is_pending = access::enabled() && ctx.shadow.is_pending();
    let shadow = ctx.shadow.to_text();
    let wanted = Wanted::of(ctx, status, is_pending, shadow.is_some());
    if wanted.is_nothing() {
        return;
    }
    let path = match &ctx.path {
        Some(path) => Some(Cow::Borrowed(path.as_str())),
        None => refused_path(session.req_header().raw_path()).map(String::from_utf8_lossy),
    };
    let record = record(
        session,
        ctx,
        status,
        duration,
        path.as_deref(),
        shadow.as_deref(),
    );
    let deferred = is_pending.then(|| access::defer(&record)).flatten();
    if wanted.logged && !is_pending {
        access::write(&record);
    }
    if let Some(reason) = wanted.audited {
        audit_refusal(&record, reason);
    }
    if let Some((tracer, context)) = wanted.span {
        end_span(tracer, &context, ctx, &record);
    }
    if let Some(deferred) = deferred {
        write_when_settled(deferred, ctx, status, wanted.logged);
    }
}

fn record<'a>(
    session: &'a Session,
    ctx: &'a Context,
    status: Option<u16>,
    duration: Duration,
    path: Option<&'a str>,
    shadow: Option<&'a str>,
) -> access::Record<'a> {
    let request = session.req_header();
    let tls = session
        .digest()
        .and_then(|digest| digest.ssl_digest.as_ref());
    let field = |name| request.headers.get(name).map(HeaderValue::as_bytes);
    let head_arrived = ctx.selection.head_arrived;
    access::Record {
        client: ctx.client,
        host: ctx.head.as_ref().map(Head::written_host),
        method: request.method.as_str(),
        path,
        version: ctx.connection.version,
        tls: tls.map(|tls| &*tls.version),
        status,
        bytes: ctx
            .client_stream
            .as_ref()
            .map_or_else(|| session.body_bytes_sent(), |client| client.sent),
        duration,
        time_to_head: head_arrived.map(|at| at.saturating_duration_since(ctx.started)),
        pipeline: ctx.route.as_ref().map(|route| &*route.pipeline.name),
        backend: ctx.backend().map(|backend| &*backend.name),
        upstream: ctx.selection.address.as_ref(),
        upstream_protocol: ctx.selection.protocol,
        attempts: ctx.selection.attempts,
        grpc_status: ctx.grpc.as_ref().and_then(|call| call.status),
        auth: ctx.identity().map(|identity| identity.method().as_str()),
        subject: ctx
            .identity()
            .and_then(|identity| identity.subject()?.to_str().ok()),
        reason: ctx.reason,
        shadow,
        request_id: ctx.request_id.as_ref().and_then(|id| id.to_str().ok()),
        trace: ctx.trace_context.map(|context| context.trace),
        user_agent: field(USER_AGENT),
        referer: field(REFERER),
    }
}

fn audit_refusal(record: &access::Record<'_>, reason: &str) {
    let client = record.client.map(|client| client.to_string());
    audit::write(&audit::Event {
        event: audit::REFUSAL,
        from: client.as_deref(),
        who: record.subject,
        outcome: Some(reason),
        status: record.status,
        pipeline: record.pipeline,
        host: record.host,
        method: Some(record.method),
        path: record.path,
        id: record.request_id,
        ..audit::Event::default()
    });
}

fn end_span(tracer: &Tracer, context: &TraceContext, ctx: &Context, record: &access::Record<'_>) {
    let default_port = if record.tls.is_some() { 443 } else { 80 };
    let head = ctx.head.as_ref();
    let place = spans::SpanPlace {
        port: head.map(|head| head.port().unwrap_or(default_port)),
        trace: context.trace,
        span: context.span,
        parent: context.parent,
        route: ctx.route.as_ref().map(|route| &*route.endpoint.path_prefix),
        peer: ctx.connection.peer.map(|peer| peer.ip().to_canonical()),
    };
    tracer.end(&place, record);
}

/// Writes an access record once all steps in shadow have decided.
fn write_when_settled(
    record: access::DeferredRecord,
    ctx: &mut Context,
    status: Option<u16>,
    logged: bool,
) {
    let logged_if_denied = is_logged(ctx, status, true);
    let mut shadow = std::mem::take(&mut ctx.shadow);
    tokio::spawn(async move {
        shadow.settle().await;
        let shadow = shadow.to_text();
        if logged || logged_if_denied && shadow.is_some() {
            record.write(shadow.as_deref());
        }
    });
}

/// Whether the pipeline wants it in the access log; `denied_in_shadow` counts as an error.
fn is_logged(ctx: &Context, status: Option<u16>, denied_in_shadow: bool) -> bool {
    let Some(route) = &ctx.route else {
        return true;
    };
    let settings = route.pipeline.settings.access_log;
    match status {
        Some(..400) if ctx.reason.is_none() && !denied_in_shadow => {
            settings.sample >= 1.0 || fastrand::f64() < settings.sample
        }
        _ => settings.errors,
    }
}
