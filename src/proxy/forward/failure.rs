//! What becomes of a request whose upstream, or whose client, failed.

use std::time::Instant;

use http::StatusCode;
use pingora::{Error, ErrorSource, ErrorType};
use pingora_proxy::Session;

use crate::listener::Malformed;
use crate::proxy::request::context::Context;
use crate::proxy::request::rejection::{self, Refusal};

/// The kind of error for an upstream whose name has no address yet.
pub(crate) const UNRESOLVED: &str = "upstream name not resolved";

/// The kind of error for a connection that this process has no descriptor for.
pub(crate) const NO_DESCRIPTOR: &str = "out of file descriptors";

/// The kind of error for a connection that would be one more than there may be.
pub(crate) const AT_LIMIT: &str = "too many connections to upstreams";
/// The kind of error for an authentication of a connection that others use too.
pub(crate) const SHARED: &str = "authentication of a shared connection";

/// The kind of error for an answer whose length is not to be understood.
pub(crate) const BAD_LENGTH: &str = "its answer has a Content-Length that is no single number";

/// What Pingora says of such an answer, which it refuses by itself.
const REFUSED_LENGTH: &str = "invalid Content-Length";

/// What a connection that could not be made says: nothing about the upstream, if it is this process
/// that has no descriptors left.
pub(crate) fn kind_of_connect(error: &std::io::Error) -> ErrorType {
    use rustix::io::Errno;
    match (Errno::from_io_error(error), error.kind()) {
        (Some(Errno::MFILE | Errno::NFILE), _) => ErrorType::Custom(NO_DESCRIPTOR),
        (_, std::io::ErrorKind::ConnectionRefused) => ErrorType::ConnectRefused,
        (_, std::io::ErrorKind::TimedOut) => ErrorType::ConnectTimedout,
        _ => ErrorType::ConnectError,
    }
}

/// Whether the attempt failed here, before the upstream had a part in it.
pub(crate) fn is_ours(error: &Error) -> bool {
    is_kind_ours(error.etype())
}

/// The same, by the kind of the error.
pub(crate) fn is_kind_ours(kind: &ErrorType) -> bool {
    matches!(kind, ErrorType::Custom(NO_DESCRIPTOR | AT_LIMIT))
}

/// How often a request may be tried again at the backend of the attempt at hand.
fn max_retries(ctx: &Context) -> usize {
    ctx.upstream()
        .map_or(0, |upstream| upstream.settings.max_retries as usize)
}

/// Whether every upstream of the pipeline has failed this request.
pub(crate) fn all_tried(ctx: &Context) -> bool {
    let pipeline = ctx.route.as_ref().map(|route| &route.pipeline);
    pipeline.is_none_or(|pipeline| ctx.tried.len() >= pipeline.upstreams())
}

/// The same, with the attempt at hand failing too.
fn all_tried_but_this(ctx: &Context) -> bool {
    let pipeline = ctx.route.as_ref().map(|route| &route.pipeline);
    pipeline.is_none_or(|pipeline| ctx.tried.len() + 1 >= pipeline.upstreams())
}

/// Takes note of what an answer says about its upstream. What a gateway would say counts as a
/// failure: something behind the upstream is gone, or it is too busy.
pub(crate) fn judge(ctx: &Context, status: StatusCode) {
    match status {
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            ctx.blame(&format!("it answered {}", status.as_u16()))
        }
        _ => {
            if let Some(pick) = &ctx.pick {
                pick.succeeded();
            }
        }
    }
}

/// Why an upstream failed, in a few words.
pub(crate) fn reason(error: &Error) -> String {
    match error.etype() {
        ErrorType::ConnectRefused => "connection refused".to_owned(),
        ErrorType::ConnectTimedout => "no connection in time".to_owned(),
        ErrorType::ConnectionClosed => "connection closed before the answer".to_owned(),
        ErrorType::ReadTimedout => "no answer in time".to_owned(),
        ErrorType::WriteTimedout => "request not taken in time".to_owned(),
        ErrorType::Custom(NO_DESCRIPTOR) => {
            "no connection, since this process is out of file descriptors; give it more (LimitNOFILE= under systemd, ulimit -n)".to_owned()
        }
        ErrorType::InvalidHTTPHeader if says(error, REFUSED_LENGTH) => BAD_LENGTH.to_owned(),
        ErrorType::InvalidHTTPHeader => match other_protocol(&error.to_string()) {
            Some(told) => told.to_owned(),
            None => with_cause("its answer is no valid HTTP, or its head is too large", error),
        },
        ErrorType::ConnectError | ErrorType::ConnectNoRoute => with_cause("no connection", error),
        ErrorType::ReadError => with_cause("the connection broke before the end of the answer", error),
        ErrorType::WriteError => with_cause("the connection broke before the end of the request", error),
        ErrorType::TLSHandshakeFailure => {
            let text = error.to_string();
            let (why, hint) = tls_trouble(&text);
            format!("TLS: {why}{hint}")
        }
        kind => with_cause(kind.as_str(), error),
    }
}

/// Whether Pingora explains an error in these words.
fn says(error: &Error, words: &str) -> bool {
    let context = error.context.as_ref();
    context.is_some_and(|context| context.as_str().starts_with(words))
}

/// What the answer is if it is no HTTP/1 but the beginning of HTTP/2 or of TLS. Pingora shows an
/// answer that it cannot read with its bytes escaped.
fn other_protocol(text: &str) -> Option<&'static str> {
    let (_, answer) = text.split_once("buf: ")?;
    // An alert of TLS: type 21, version 3.x.
    if answer.starts_with("\\x15\\x03") {
        return Some("its answer is TLS; write its address with https");
    }
    // A frame of HTTP/2: 24 bits of length, and the type SETTINGS.
    let length = answer.strip_prefix("\\x00\\x00")?;
    let low = match length.as_bytes() {
        [b'\\', b'x', ..] => 4,
        [b'\\', ..] => 2,
        _ => 1,
    };
    let kind = length.get(low..)?;
    kind.starts_with("\\x04").then_some(
        "its answer is HTTP/2, and upstreams are spoken to in HTTP/1.1; let it serve that at this port",
    )
}

/// With what is at the bottom of it. What Pingora puts around that may hold what the upstream sent.
fn with_cause(what: &str, error: &Error) -> String {
    match error.root_cause() {
        own if own.is::<Error>() => what.to_owned(),
        cause => format!("{what}: {cause}"),
    }
}

/// Whether what took too long is the client's body, so that the upstream may have had nothing to
/// answer yet.
fn is_slow_client(ctx: &Context) -> bool {
    let total_is_over = ctx.total_deadline.is_some_and(|due| Instant::now() >= due);
    ctx.is_overdue() && !total_is_over && !ctx.sent && !ctx.taking
}

/// An attempt got no connection. Nothing was sent, so any request may try the next upstream.
pub(crate) fn not_connected(ctx: &mut Context, error: Box<Error>) -> Box<Error> {
    let mut error = error.into_up();
    if *error.etype() == ErrorType::Custom(AT_LIMIT) {
        // Another backend may have room, or a connection that is idle.
        error.set_retry(!all_tried_but_this(ctx));
        ctx.give_up();
        return error;
    }
    log_failure(ctx, &error);
    if is_ours(&error) {
        // Another upstream would need a descriptor as well.
        error.set_retry(false);
        return error;
    }
    count(ctx, kind(&error));
    ctx.blame(&reason(&error));
    let others_left = !all_tried_but_this(ctx);
    error.set_retry(others_left || ctx.tried.len() < max_retries(ctx));
    ctx.give_up();
    error
}

/// Whether it was the upstream that broke an exchange off, and not a time-out or the client.
pub(crate) fn is_upstreams(ctx: &Context, error: &Error) -> bool {
    *error.esource() == ErrorSource::Upstream && !ctx.is_overdue()
}

/// Whether an exchange failed because its connection did.
pub(crate) fn is_broken(error: &Error) -> bool {
    use ErrorType::{ConnectionClosed, ReadError, WriteError};
    matches!(error.etype(), ConnectionClosed | ReadError | WriteError)
}

/// An attempt failed on its connection; `kept`: one that was used before. Something may have been
/// sent: only an idempotent request whose body is still at hand may be sent again, and only while
/// no answer has begun.
pub(crate) fn broken_off(
    session: &Session,
    ctx: &mut Context,
    mut error: Box<Error>,
    kept: bool,
) -> Box<Error> {
    // Nobody has failed if neither side had anything to say.
    let overdue = ctx.is_overdue() && !is_slow_client(ctx) && !session.was_upgraded();
    let upstream_failed = is_upstreams(ctx, &error);
    let repeatable = upstream_failed
        && session.req_header().method.is_idempotent()
        && !session.retry_buffer_truncated()
        && !rejection::has_begun(session);
    error.retry.decide_reuse(kept);
    let stale_connection = kept && error.retry();
    if upstream_failed {
        log_failure(ctx, &error);
    }
    if *error.etype() == ErrorType::Custom(SHARED) {
        log_shared(ctx);
    }
    if overdue {
        log_overdue(ctx);
        count(ctx, "timeout");
        if (ctx.sent || ctx.taking) && !ctx.answered {
            ctx.blame("no answer in time");
        }
    } else if upstream_failed {
        note(ctx, &error, stale_connection, repeatable);
    }
    let tries_left = ctx.tried.len() < max_retries(ctx);
    error.set_retry(repeatable && (stale_connection || tries_left));
    if !stale_connection {
        ctx.give_up();
    }
    error
}

/// An exchange whose time was over. Once the answer is whole, it is the client that has not sent its
/// request whole.
pub(crate) fn overdue(ctx: &Context) -> Box<Error> {
    let error = Error::explain(ErrorType::ReadTimedout, "overdue");
    match ctx.deadline {
        Some(_) => error.into_up(),
        None => error.into_down(),
    }
}

/// What the client is told of an error; `None` when there is no client to tell.
pub(crate) fn refusal_for(error: &Error, ctx: &Context) -> Option<Refusal> {
    if is_slow_client(ctx) {
        return Some(Refusal::body_incomplete());
    }
    if ctx.is_overdue() {
        return Some(Refusal::too_slow("upstream_timeout"));
    }
    if let Some(malformed) = Malformed::of(error) {
        return Some(Refusal::malformed(malformed.reason()));
    }
    Some(match (error.etype(), error.esource()) {
        (ErrorType::HTTPStatus(413), _) => Refusal::body_too_large(),
        (ErrorType::Custom(SHARED), _) => Refusal::unreachable("shared_connection"),
        (ErrorType::Custom(UNRESOLVED), _) => Refusal::unresolved(),
        (ErrorType::Custom(NO_DESCRIPTOR), _) => Refusal::out_of_descriptors(),
        (ErrorType::Custom(AT_LIMIT), _) => Refusal::upstream_connections(),
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
        (ErrorType::TLSHandshakeFailure | ErrorType::InvalidCert, _) => {
            Refusal::unreachable("upstream_tls")
        }
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

/// An answer that no client may get: it becomes a 502. `why` is what the log says.
pub(crate) fn invalid_response(why: &'static str) -> Box<Error> {
    Error::new(ErrorType::Custom(why)).into_up()
}

/// What went wrong with an upstream: a stable label.
pub(crate) fn kind(error: &Error) -> &'static str {
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

/// Counts a failure of the attempt at hand against its backend.
pub(crate) fn count(ctx: &Context, kind: &'static str) {
    if let Some(backend) = ctx.backend() {
        backend.metrics.count_failure(kind);
    }
}

/// Takes note of an attempt that failed with its upstream. A kept connection that the upstream had
/// closed meanwhile says nothing about the upstream, so it is not blamed; but where nobody may send
/// the request again, the client has been failed, and that counts.
fn note(ctx: &Context, error: &Error, stale_connection: bool, repeatable: bool) {
    if !stale_connection || !repeatable {
        count(ctx, kind(error));
    }
    if !stale_connection {
        ctx.blame(&reason(error));
    }
}

/// One line for the operator: which upstream, which attempt, why. Nothing of what the upstream sent
/// is in it: Pingora's own words for a head that is none hold all of it, cookies included.
fn log_failure(ctx: &Context, error: &Error) {
    let why = match error.etype() {
        ErrorType::ConnectionClosed if ctx.answered => {
            "connection closed in the middle of the answer".to_owned()
        }
        _ => reason(error),
    };
    log_attempt(ctx, &why);
}

/// The same, for an attempt whose time is over.
fn log_overdue(ctx: &Context) {
    let why = if ctx.answered {
        "the answer stopped for too long, or took too long as a whole"
    } else if ctx.taking {
        "request not taken in time"
    } else {
        "no answer in time"
    };
    log_attempt(ctx, why);
}

/// The same, for a request or an answer that would make the connection somebody's.
fn log_shared(ctx: &Context) {
    let (Some(route), Some(backend)) = (&ctx.route, ctx.backend()) else {
        return;
    };
    log::info!(
        "pipeline {}: upstream {}: NTLM and Negotiate authenticate a connection, and this client's (HTTP/2, or from trusted_proxies) may be that of many; it gets 502",
        route.pipeline.name,
        backend.name,
    );
}

fn log_attempt(ctx: &Context, why: &str) {
    let (Some(route), Some(backend), Some(upstream)) = (&ctx.route, ctx.backend(), ctx.upstream())
    else {
        return;
    };
    log::warn!(
        "pipeline {}: upstream {} failed on attempt {}: {}:{}: {why}",
        route.pipeline.name,
        backend.name,
        ctx.tried.len() + 1,
        upstream.url.host,
        upstream.url.port,
    );
}

/// What rustls says, without what Pingora puts around it, and what to do about it.
fn tls_trouble(text: &str) -> (&str, &'static str) {
    let why = text.split(", SNI: ").next().unwrap_or(text);
    let why = why.rsplit("cause: ").next().unwrap_or(why).trim();
    let hints = [
        (
            "UnknownIssuer",
            "; its certificate is of no authority that is trusted here: give the backend its ca_cert_path",
        ),
        (
            "not valid for name",
            "; its certificate is for another name: the host of base_url must be one that it has",
        ),
        (
            "CaUsedAsEndEntity",
            "; its certificate is one of an authority (CA:TRUE), which no server may show: give it one of its own (openssl req -x509 makes one with -addext basicConstraints=critical,CA:FALSE)",
        ),
        ("expired", "; its certificate has expired"),
        ("not valid yet", "; its certificate is not valid yet"),
        ("InvalidContentType", "; it does not speak TLS at this port"),
        (
            "NoApplicationProtocol",
            "; it speaks HTTP/2 only, and upstreams are spoken to in HTTP/1.1",
        ),
    ];
    let hint = hints.iter().find(|(words, _)| why.contains(words));
    (why, hint.map_or("", |(_, hint)| hint))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_reason_holds_nothing_that_the_upstream_sent() {
        let cause = io::Error::other("invalid header value");
        let sent = "buf: HTTP/1.1 200 OK\r\nSet-Cookie: session=secret";
        let error = Error::because(ErrorType::InvalidHTTPHeader, sent, cause).more_context(sent);
        assert_eq!(
            reason(&error),
            "its answer is no valid HTTP, or its head is too large: invalid header value"
        );
        let error = Error::explain(ErrorType::InvalidHTTPHeader, sent).more_context(sent);
        assert_eq!(
            reason(&error),
            "its answer is no valid HTTP, or its head is too large"
        );
    }

    #[test]
    fn an_answer_in_another_protocol_is_named() {
        for (answer, expected) in [
            (
                &b"\0\0\x12\x04\0\0\0\0\0\0\x03"[..],
                Some("its answer is HTTP/2"),
            ),
            (b"\0\0\0\x04\0\0\0\0\0", Some("its answer is HTTP/2")),
            (b"\0\0$\x04\0", Some("its answer is HTTP/2")),
            (b"\0\0\n\x04\0", Some("its answer is HTTP/2")),
            (
                b"\x15\x03\x01\0\x02\x02\x28",
                Some("its answer is TLS; write its address"),
            ),
            (b"\0\0\x12\x01\0", None),
            (b"\0\0", None),
            (b"SSH-2.0-OpenSSH_9.2", None),
        ] {
            let shown = format!("buf: {}", answer.escape_ascii());
            let cause = io::Error::other("invalid HTTP version");
            let error = Error::because(ErrorType::InvalidHTTPHeader, shown, cause);
            let expected = expected.unwrap_or("its answer is no valid HTTP");
            assert!(reason(&error).starts_with(expected), "{}", reason(&error));
        }
    }

    #[test]
    fn a_lack_of_descriptors_is_ours() {
        let kind = |code| kind_of_connect(&io::Error::from_raw_os_error(code));
        // EMFILE, ENFILE, ECONNREFUSED, EHOSTUNREACH.
        assert!(is_kind_ours(&kind(24)) && is_kind_ours(&kind(23)));
        assert_eq!(kind(111), ErrorType::ConnectRefused);
        assert_eq!(kind(113), ErrorType::ConnectError);
    }
}
