//! What is kept of a request that is over: its metrics and its access record.

use std::borrow::Cow;

use pingora_proxy::Session;

use super::context::Context;
use super::head::Head;
use crate::listener::refused_path;
use crate::telemetry::{Metrics, access};

/// Counts it, and writes its record.
pub(crate) fn write(session: &Session, ctx: &Context, metrics: &Metrics) {
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
    if !access::enabled() {
        return;
    }
    let request = session.req_header();
    let path = match &ctx.path {
        Some(path) => Some(Cow::Borrowed(path.as_str())),
        None => refused_path(request.raw_path()).map(String::from_utf8_lossy),
    };
    access::write(&access::Record {
        client: ctx.client,
        host: ctx.head.as_ref().map(Head::written_host),
        method: request.method.as_str(),
        path: path.as_deref(),
        version: ctx.connection.version,
        status,
        bytes: ctx
            .client_stream
            .as_ref()
            .map_or_else(|| session.body_bytes_sent(), |client| client.sent),
        duration,
        pipeline: ctx.route.as_ref().map(|route| &*route.pipeline.name),
        backend: ctx.backend().map(|backend| &*backend.name),
        upstream: ctx.selection.address.as_ref(),
        upstream_protocol: ctx.selection.protocol,
        grpc_status: ctx.grpc.as_ref().and_then(|call| call.status),
        auth: ctx.identity().map(|identity| identity.method().as_str()),
        subject: ctx
            .identity()
            .and_then(|identity| identity.subject()?.to_str().ok()),
        reason: ctx.reason,
        request_id: ctx.request_id.as_ref().and_then(|id| id.to_str().ok()),
    });
}
