//! What becomes of a request whose attempt failed: another attempt, or a response that says so.

use http::StatusCode;
use pingora::{Error, ErrorSource, ErrorType};
use pingora_proxy::Session;

use super::attempt::Attempt;
use super::error::{
    self, AT_LIMIT, CREDENTIAL_ENDED, DRAINED, NO_DESCRIPTOR, REFUSED, SHARED, UNPROCESSED,
    UNRESOLVED, describe,
};
use crate::listener::Malformed;
use crate::proxy::request::context::Context;
use crate::proxy::request::rejection::Rejection;

/// The kinds of error for an exchange that was ended because somebody took too long: the client
/// with its body, the upstream, both sides of a tunnel, which had nothing to say, or all together
/// for what the client of a call of gRPC waits.
const BODY_OVERDUE: &str = "request body overdue";
const UPSTREAM_OVERDUE: &str = "upstream overdue";
const TUNNEL_IDLE: &str = "tunnel idle";
const DEADLINE_EXCEEDED: &str = "deadline of a gRPC call exceeded";

/// Counts what a response says about its upstream. What a gateway would say counts as a failure:
/// something behind the upstream is gone, or it is too busy.
pub(super) fn record_outcome(ctx: &Context, status: StatusCode) {
    match status {
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            ctx.record_failure(&format!("it answered {}", status.as_u16()));
        }
        _ => ctx.record_success(),
    }
}

/// The selected upstream has no address. An error: no other one is left.
pub(super) fn not_resolved(ctx: &mut Context) -> pingora::Result<()> {
    let host = ctx.upstream().map(|upstream| upstream.url.host.clone());
    count(ctx, "unresolved");
    ctx.record_failure(UNRESOLVED);
    ctx.abandon_attempt();
    match ctx.has_untried_upstream(ctx.selection.failed_attempts()) {
        true => Ok(()),
        false => Error::e_explain(ErrorType::Custom(UNRESOLVED), host.unwrap_or_default()),
    }
}

/// An attempt got no connection. Nothing was sent, so any request may try the next upstream.
pub(super) fn not_connected(ctx: &mut Context, error: Box<Error>) -> Box<Error> {
    let mut error = error.into_up();
    let failed = ctx.selection.failed_attempts();
    let others_left = ctx.has_untried_upstream(failed + 1);
    if *error.etype() == ErrorType::Custom(AT_LIMIT) {
        // Another backend may have room, or a connection that is idle.
        error.set_retry(others_left);
        ctx.abandon_attempt();
        return error;
    }
    let why = describe(&error);
    log_failed_attempt(ctx, &why);
    if error::is_local(error.etype()) {
        // Another upstream would need a descriptor as well.
        error.set_retry(false);
        return error;
    }
    count(ctx, label(&error));
    ctx.record_failure(&why);
    error.set_retry(others_left || failed < max_retries(ctx));
    ctx.abandon_attempt();
    error
}

/// An attempt failed on its connection. Something may have been sent: only an idempotent request
/// whose body is still at hand may be sent again, and only while no response has begun.
pub(super) fn broken_off(
    session: &Session,
    ctx: &mut Context,
    attempt: &Attempt,
    mut error: Box<Error>,
) -> Box<Error> {
    if attempt.is_overdue() {
        let error = overdue(session, ctx, attempt);
        ctx.abandon_attempt();
        return error;
    }
    if let ErrorType::Custom(kind @ (UNPROCESSED | REFUSED)) = *error.etype() {
        return not_processed(session, ctx, kind, attempt.reused, error);
    }
    let upstream_failed = attempt.is_fault_of_upstream(&error);
    let repeatable = upstream_failed
        && session.req_header().method.is_idempotent()
        && !session.retry_buffer_truncated()
        && !response_has_begun(session);
    error.retry.decide_reuse(attempt.reused);
    // The upstream had closed it meanwhile, which says nothing about the upstream; but where nobody
    // may send the request again, the client has been failed, and that counts.
    let stale_connection = attempt.reused && error.retry();
    if *error.etype() == ErrorType::Custom(SHARED) {
        log_shared(ctx);
    }
    if upstream_failed {
        log_failed_attempt(ctx, &describe_broken(attempt, &error));
        if !stale_connection || !repeatable {
            count(ctx, label(&error));
        }
        if !stale_connection {
            ctx.record_failure(&describe(&error));
        }
    }
    let tries_left = ctx.selection.failed_attempts() < max_retries(ctx);
    error.set_retry(repeatable && (stale_connection || tries_left));
    if !stale_connection {
        ctx.abandon_attempt();
    }
    error
}

/// The upstream promised that it has done nothing with the request, so any may be sent again, as
/// long as its body is still at hand (RFC 9113 section 8.7). That says nothing against the upstream
/// where its connection was closing; one that refuses streams, or the first one on a connection, is
/// busy, and another one is asked.
fn not_processed(
    session: &Session,
    ctx: &mut Context,
    kind: &'static str,
    reused: bool,
    mut error: Box<Error>,
) -> Box<Error> {
    let repeatable = !session.retry_buffer_truncated() && !response_has_begun(session);
    error.set_retry(repeatable);
    if !repeatable {
        log_failed_attempt(ctx, &describe(&error));
        count(ctx, label(&error));
    }
    if !reused && kind == UNPROCESSED {
        ctx.record_failure(&describe(&error));
        error.etype = ErrorType::Custom(REFUSED);
    }
    if *error.etype() == ErrorType::Custom(REFUSED)
        && ctx.has_untried_upstream(ctx.selection.failed_attempts() + 1)
    {
        ctx.abandon_attempt();
    }
    error
}

/// The whole time of the exchange was over before there was a connection.
pub(super) fn overdue_connecting(ctx: &Context) -> Box<Error> {
    if ctx.grpc_deadline_exceeded() {
        return Error::new(ErrorType::Custom(DEADLINE_EXCEEDED));
    }
    log_failed_attempt(ctx, "no connection in time");
    count(ctx, "timeout");
    Error::new(ErrorType::Custom(UPSTREAM_OVERDUE))
}

/// Somebody took too long. Such a request is not sent again.
fn overdue(session: &Session, ctx: &Context, attempt: &Attempt) -> Box<Error> {
    let kind = if session.was_upgraded() {
        // Nobody has failed if neither side had anything to say.
        TUNNEL_IDLE
    } else if ctx.grpc_deadline_exceeded() {
        // It may be as short as the client likes, so it says nothing about the upstream.
        DEADLINE_EXCEEDED
    } else if attempt.body_is_overdue() {
        BODY_OVERDUE
    } else {
        log_failed_attempt(ctx, attempt.overdue_step());
        count(ctx, "timeout");
        if attempt.awaits_upstream() {
            ctx.record_failure("no response in time");
        }
        UPSTREAM_OVERDUE
    };
    Error::new(ErrorType::Custom(kind))
}

/// What the client is told of an error; `None` when there is no client to tell.
pub(crate) fn rejection_for(error: &Error) -> Option<Rejection> {
    use ErrorType::{
        ConnectError, ConnectNoRoute, ConnectRefused, ConnectTimedout, ConnectionClosed, Custom,
        HTTPStatus, InvalidCert, ReadError, ReadTimedout, TLSHandshakeFailure, WriteError,
        WriteTimedout,
    };
    if let Some(malformed) = Malformed::of(error) {
        return Some(Rejection::bad_request(malformed.reason()));
    }
    Some(match (error.etype(), error.esource()) {
        (HTTPStatus(413), _) => Rejection::body_too_large(),
        (Custom(BODY_OVERDUE), _) | (ReadTimedout, ErrorSource::Downstream) => {
            Rejection::body_timeout()
        }
        (Custom(DEADLINE_EXCEEDED), _) => Rejection::gateway_timeout("grpc_deadline"),
        (Custom(TUNNEL_IDLE), _) => Rejection::gateway_timeout("tunnel_timeout"),
        (Custom(UPSTREAM_OVERDUE), _) | (ReadTimedout | WriteTimedout, ErrorSource::Upstream) => {
            Rejection::gateway_timeout("upstream_timeout")
        }
        (ConnectTimedout, ErrorSource::Upstream) => {
            Rejection::gateway_timeout("upstream_connect_timeout")
        }
        (Custom(UNPROCESSED | REFUSED), _) => Rejection::upstream_busy(),
        (Custom(CREDENTIAL_ENDED), _) => Rejection::credential_ended(),
        (Custom(SHARED), _) => Rejection::bad_gateway("shared_connection"),
        (Custom(UNRESOLVED), _) => Rejection::upstream_unresolved(),
        (Custom(NO_DESCRIPTOR), _) => Rejection::too_many_connections("out_of_descriptors"),
        (Custom(DRAINED), _) => Rejection::upstreams_drained(),
        (Custom(AT_LIMIT), _) => Rejection::too_many_connections("upstream_connections"),
        (ConnectRefused | ConnectError | ConnectNoRoute, ErrorSource::Upstream) => {
            Rejection::bad_gateway("upstream_unreachable")
        }
        (TLSHandshakeFailure | InvalidCert, _) => Rejection::bad_gateway("upstream_tls"),
        (_, ErrorSource::Upstream) => Rejection::bad_gateway("upstream_error"),
        (WriteError | ReadError | ConnectionClosed | WriteTimedout, ErrorSource::Downstream) => {
            return None;
        }
        (_, ErrorSource::Downstream) => Rejection::bad_request("client_error"),
        _ => Rejection::internal_error(),
    })
}

/// Whether a credential has ended that let the request in.
pub(crate) fn is_end_of_credential(error: &Error) -> bool {
    *error.etype() == ErrorType::Custom(CREDENTIAL_ENDED)
}

/// Whether the client has got the beginning of a response. What merely informs it is none (RFC 9110
/// section 15.2), a switch of protocols is.
pub(crate) fn response_has_begun(session: &Session) -> bool {
    session.response_written().is_some_and(|response| {
        let status = response.status;
        !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS
    })
}

/// How often a request may be tried again at the selected backend.
fn max_retries(ctx: &Context) -> usize {
    ctx.upstream()
        .map_or(0, |upstream| upstream.settings.max_retries as usize)
}

/// What went wrong with an upstream: a stable label.
fn label(error: &Error) -> &'static str {
    match error.etype() {
        ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => "connect_timeout",
        ErrorType::ConnectRefused | ErrorType::ConnectError | ErrorType::ConnectNoRoute => {
            "unreachable"
        }
        ErrorType::TLSHandshakeFailure
        | ErrorType::InvalidCert
        | ErrorType::HandshakeError
        | ErrorType::TLSWantX509Lookup => "tls",
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => "timeout",
        _ => "error",
    }
}

/// Counts a failure of the selected upstream in the metrics of its backend.
fn count(ctx: &Context, label: &'static str) {
    if let Some(backend) = ctx.backend() {
        backend.metrics.count_failure(label);
    }
}

fn describe_broken(attempt: &Attempt, error: &Error) -> String {
    match error.etype() {
        ErrorType::ConnectionClosed if attempt.head_has_arrived() => {
            "connection closed in the middle of the response".to_owned()
        }
        _ => describe(error),
    }
}

/// One line for the operator: which request, which upstream, which attempt, why. Nothing of what
/// the upstream sent is in it: Pingora's own words for a head that is none hold all of it, cookies
/// included.
fn log_failed_attempt(ctx: &Context, why: &str) {
    let (Some(route), Some(backend), Some(upstream)) = (&ctx.route, ctx.backend(), ctx.upstream())
    else {
        return;
    };
    log::warn!(
        "request {}: pipeline {}: upstream {} failed on attempt {}: {}: {why}",
        ctx.request_id(),
        route.pipeline.name,
        backend.name,
        ctx.selection.failed_attempts() + 1,
        upstream.url.server(),
    );
}

/// The same, for a request or a response that would make the connection somebody's.
fn log_shared(ctx: &Context) {
    let (Some(route), Some(backend)) = (&ctx.route, ctx.backend()) else {
        return;
    };
    log::info!(
        "request {}: pipeline {}: upstream {}: rejected with 502, since NTLM and Negotiate \
         authenticate a connection, and this one (HTTP/2, or from trusted_proxies) may carry \
         requests of several clients",
        ctx.request_id(),
        route.pipeline.name,
        backend.name,
    );
}
