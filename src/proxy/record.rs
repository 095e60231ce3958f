//! What is kept of a request that is over: its counts and its access record.

use pingora_proxy::Session;

use super::context::Context;
use crate::telemetry::{Metrics, access};

/// Counts it, and writes its record.
pub(super) fn finished(session: &Session, ctx: &Context, metrics: &Metrics) {
    let status = session
        .response_written()
        .map(|response| response.status.as_u16());
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
    access::write(&access::Record {
        client: ctx.client,
        method: request.method.as_str(),
        path: ctx.path.as_deref(),
        version: ctx.version,
        status,
        bytes: session.body_bytes_sent(),
        duration,
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
