//! The errors of an attempt: their kinds, and what the log says of them, in a few words and with
//! nothing of what the upstream sent.

use pingora::{Error, ErrorType};

/// The kind of error for an upstream whose name has no address yet.
pub(super) const UNRESOLVED: &str = "upstream name not resolved";
/// The kind of error for a connection that this process has no descriptor for.
pub(super) const NO_DESCRIPTOR: &str = "out of file descriptors";
/// The kind of error for a connection that would be one more than there may be.
pub(super) const AT_LIMIT: &str = "too many connections to upstreams";
/// No upstream is left that is not drained.
pub(super) const DRAINED: &str = "every upstream is drained";
/// The kind of error for an authentication of a connection that others use too.
pub(super) const SHARED: &str = "authentication of a shared connection";
/// The kind of error for a request that the upstream promised not to have processed: a `GOAWAY`
/// with a lower last stream (RFC 9113 section 6.8), or a connection that takes no more.
pub(super) const UNPROCESSED: &str = "request not processed";
/// The kind of error for a request that the upstream refused before it processed anything of it:
/// `REFUSED_STREAM` (RFC 9113 section 8.7).
pub(super) const REFUSED: &str = "request refused";
/// The kind of error for a response that ends because a credential has ended which let the request
/// in.
pub(super) const CREDENTIAL_ENDED: &str = "credential ended";
/// Of a server that was to speak HTTP/2 by ALPN, and does not.
pub(super) const NO_HTTP2: &str =
    "its TLS does not offer HTTP/2 by ALPN, but http_version is \"2\"";
/// Of a server whose HTTP/2 settings leave no room for a request.
pub(super) const NO_STREAMS: &str = "its HTTP/2 settings allow no streams";
/// Of a response whose length is not to be understood.
pub(super) const BAD_LENGTH: &str = "its response has a Content-Length that is no single number";

const INVALID_RESPONSE: &str = "its response is not valid HTTP, or its head is too large";

/// What Pingora says of such a response, which it refuses by itself.
const REFUSED_LENGTH: &str = "invalid Content-Length";

/// The kind of error for a connection that could not be made.
pub(super) fn kind_of_connect(error: &std::io::Error) -> ErrorType {
    use rustix::io::Errno;
    match (Errno::from_io_error(error), error.kind()) {
        (Some(Errno::MFILE | Errno::NFILE), _) => ErrorType::Custom(NO_DESCRIPTOR),
        (_, std::io::ErrorKind::ConnectionRefused) => ErrorType::ConnectRefused,
        (_, std::io::ErrorKind::TimedOut) => ErrorType::ConnectTimedout,
        _ => ErrorType::ConnectError,
    }
}

/// Whether an attempt failed in this process, before the upstream had a part in it.
pub(super) fn is_local(kind: &ErrorType) -> bool {
    matches!(kind, ErrorType::Custom(NO_DESCRIPTOR | AT_LIMIT))
}

/// Whether an exchange failed because its connection did.
pub(super) fn is_broken(error: &Error) -> bool {
    use ErrorType::{ConnectionClosed, ReadError, WriteError};
    matches!(error.etype(), ConnectionClosed | ReadError | WriteError)
}

/// A response that no client may get: it becomes a 502. `why` is what the log says.
pub(super) fn invalid_response(why: &'static str) -> Box<Error> {
    Error::new(ErrorType::Custom(why)).into_up()
}

/// The error of a connection to an upstream that was to speak HTTP/2, and began like this.
pub(super) fn not_http2(first: &[u8]) -> Box<Error> {
    invalid_response(match first {
        [b'H', b'T', b'T', b'P', b'/', ..] => {
            "it answered with HTTP/1.1, but http_version is \"2\": it must serve HTTP/2 at \
             this port"
        }
        // An alert of TLS: type 21, version 3.x.
        [0x15, 0x03, ..] => "it answered with TLS: base_url needs https",
        _ => "it did not answer with HTTP/2",
    })
}

/// The same error once more, for another request that waited for the same connection.
pub(super) fn again(error: &Error) -> Box<Error> {
    let mut again = match error.root_cause() {
        own if own.is::<Error>() => Error::new(error.etype().clone()),
        cause => Error::because(
            error.etype().clone(),
            "",
            std::io::Error::other(cause.to_string()),
        ),
    };
    again.context = error.context.clone();
    again.retry = error.retry;
    again.into_up()
}

/// Why an upstream failed, in a few words.
pub(super) fn describe(error: &Error) -> String {
    match error.etype() {
        ErrorType::ConnectRefused => "connection refused".to_owned(),
        ErrorType::ConnectTimedout => "no connection in time".to_owned(),
        ErrorType::ConnectionClosed => "connection closed before the response".to_owned(),
        ErrorType::ReadTimedout => "no response in time".to_owned(),
        ErrorType::WriteTimedout => "request not accepted in time".to_owned(),
        ErrorType::Custom(NO_DESCRIPTOR) => {
            "this process is out of file descriptors; raise its limit (LimitNOFILE= under systemd, \
             ulimit -n)"
                .to_owned()
        }
        ErrorType::InvalidHTTPHeader if says(error, REFUSED_LENGTH) => BAD_LENGTH.to_owned(),
        ErrorType::InvalidHTTPHeader => match other_protocol(&error.to_string()) {
            Some(told) => told.to_owned(),
            None => with_cause(INVALID_RESPONSE, error),
        },
        ErrorType::ConnectError | ErrorType::ConnectNoRoute => with_cause("no connection", error),
        ErrorType::ReadError => with_cause("connection lost while reading the response", error),
        ErrorType::WriteError => with_cause("connection lost while sending the request", error),
        ErrorType::Custom(UNPROCESSED) => "it closed the HTTP/2 connection".to_owned(),
        ErrorType::Custom(REFUSED) => "it refused the stream (REFUSED_STREAM)".to_owned(),
        // Our own words.
        ErrorType::H2Error => {
            let context = error.context.as_ref();
            context.map_or_else(|| "HTTP/2 error".to_owned(), |it| it.as_str().to_owned())
        }
        ErrorType::TLSHandshakeFailure => {
            let text = error.to_string();
            let (why, hint) = tls_problem(&text);
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

/// What the response is if it is no HTTP/1 but the beginning of HTTP/2 or of TLS. Pingora shows a
/// response that it cannot read with its bytes escaped.
fn other_protocol(text: &str) -> Option<&'static str> {
    let (_, answer) = text.split_once("buf: ")?;
    // An alert of TLS: type 21, version 3.x.
    if answer.starts_with("\\x15\\x03") {
        return Some("it answered with TLS: base_url needs https");
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
        "it answered with HTTP/2, but requests go out in HTTP/1.1: set http_version = \"2\"",
    )
}

/// With what is at the bottom of it. What Pingora puts around that may hold what the upstream sent.
fn with_cause(what: &str, error: &Error) -> String {
    match error.root_cause() {
        own if own.is::<Error>() => what.to_owned(),
        cause => format!("{what}: {cause}"),
    }
}

/// What rustls says, without what Pingora puts around it, and what that means to the operator.
fn tls_problem(text: &str) -> (&str, &'static str) {
    let why = text.split(", SNI: ").next().unwrap_or(text);
    let why = why.rsplit("cause: ").next().unwrap_or(why).trim();
    let hints = [
        (
            "UnknownIssuer",
            ": its certificate is not from a trusted authority; set ca_cert_path of the backend",
        ),
        (
            "not valid for name",
            ": its certificate is for another name; use a host in base_url that it lists",
        ),
        (
            "CaUsedAsEndEntity",
            ": its certificate is a CA certificate (CA:TRUE), which a server may not use; for \
             openssl req -x509, add -addext basicConstraints=critical,CA:FALSE",
        ),
        ("expired", ": its certificate has expired"),
        ("not valid yet", ": its certificate is not valid yet"),
        ("InvalidContentType", ": it does not speak TLS at this port"),
        (
            "NoApplicationProtocol",
            ": it speaks none of the HTTP versions that http_version allows",
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
    fn a_description_holds_nothing_that_the_upstream_sent() {
        let cause = io::Error::other("invalid header value");
        let sent = "buf: HTTP/1.1 200 OK\r\nSet-Cookie: session=secret";
        let error = Error::because(ErrorType::InvalidHTTPHeader, sent, cause).more_context(sent);
        assert_eq!(
            describe(&error),
            "its response is not valid HTTP, or its head is too large: invalid header value"
        );
        let error = Error::explain(ErrorType::InvalidHTTPHeader, sent).more_context(sent);
        assert_eq!(
            describe(&error),
            "its response is not valid HTTP, or its head is too large"
        );
    }

    #[test]
    fn an_answer_in_another_protocol_is_named() {
        for (answer, expected) in [
            (
                &b"\0\0\x12\x04\0\0\0\0\0\0\x03"[..],
                Some("it answered with HTTP/2"),
            ),
            (b"\0\0\0\x04\0\0\0\0\0", Some("it answered with HTTP/2")),
            (b"\0\0$\x04\0", Some("it answered with HTTP/2")),
            (b"\0\0\n\x04\0", Some("it answered with HTTP/2")),
            (
                b"\x15\x03\x01\0\x02\x02\x28",
                Some("it answered with TLS: base_url"),
            ),
            (b"\0\0\x12\x01\0", None),
            (b"\0\0", None),
            (b"SSH-2.0-OpenSSH_9.2", None),
        ] {
            let shown = format!("buf: {}", answer.escape_ascii());
            let cause = io::Error::other("invalid HTTP version");
            let error = Error::because(ErrorType::InvalidHTTPHeader, shown, cause);
            let expected = expected.unwrap_or("its response is not valid HTTP");
            assert!(
                describe(&error).starts_with(expected),
                "{}",
                describe(&error)
            );
        }
    }

    #[test]
    fn a_lack_of_descriptors_is_ours() {
        let kind = |code| kind_of_connect(&io::Error::from_raw_os_error(code));
        // EMFILE, ENFILE, ECONNREFUSED, EHOSTUNREACH.
        assert!(is_local(&kind(24)) && is_local(&kind(23)));
        assert_eq!(kind(111), ErrorType::ConnectRefused);
        assert_eq!(kind(113), ErrorType::ConnectError);
    }
}
