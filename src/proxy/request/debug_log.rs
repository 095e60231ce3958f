//! The story of a request, at `debug`: its route, what each step made of it, where it went, how it
//! ended. `trace` adds the names of its fields; never a value.

use pingora_proxy::Session;

use super::context::Context;
use crate::auth::{Entry, Trace};

/// The route that was found, and what the steps of its pipeline made of the request.
pub(crate) fn admission(session: &Session, ctx: &Context, trace: Trace) {
    if ctx.is_probe {
        return;
    }
    let id = ctx.request_id();
    let request = session.req_header();
    if log::log_enabled!(log::Level::Trace) {
        let names: Vec<&str> = request.headers.keys().map(|name| name.as_str()).collect();
        log::trace!(
            "request {id}: {}, fields {}",
            request.method,
            names.join(", ")
        );
    }
    match &ctx.route {
        Some(route) => log::debug!(
            "request {id}: pipeline {}, endpoint {}",
            route.pipeline.name,
            route.endpoint.name
        ),
        None => log::debug!("request {id}: no route"),
    }
    for entry in trace.finish().0 {
        match entry {
            Entry::Step { name, outcome, .. } => {
                log::debug!("request {id}: step {name}: {outcome}")
            }
            Entry::Limit { name, outcome } => log::debug!("request {id}: limit {name}: {outcome}"),
        }
    }
    if let Some(upstream) = ctx.upstream() {
        log::debug!("request {id}: upstream {}", upstream.url.server());
    } else if let Some(reason) = ctx.reason {
        log::debug!("request {id}: rejected: {reason}");
    }
}

/// An attempt has a connection.
pub(crate) fn attempt(ctx: &Context, reused: bool) {
    if !log::log_enabled!(log::Level::Debug) {
        return;
    }
    let Some(address) = &ctx.selection.address else {
        return;
    };
    log::debug!(
        "request {}: attempt {} at {address} over {:?}, on a {} connection, after {:?}",
        ctx.request_id(),
        ctx.selection.attempts,
        ctx.selection.protocol.unwrap_or_default(),
        if reused { "kept" } else { "new" },
        ctx.started.elapsed()
    );
}

/// It is over.
pub(crate) fn end(session: &Session, ctx: &Context) {
    if !log::log_enabled!(log::Level::Debug) {
        return;
    }
    let id = ctx.request_id();
    let head = ctx.selection.head_arrived;
    let head = head.map_or_else(String::new, |at| {
        let after = at.saturating_duration_since(ctx.started);
        format!(", the head of the response after {after:?}")
    });
    let after = ctx.started.elapsed();
    match session.response_written() {
        Some(response) => log::debug!(
            "request {id}: {} after {after:?}{head}",
            response.status.as_u16()
        ),
        None => log::debug!("request {id}: without a response after {after:?}"),
    }
}
