//! The upstream's end of an exchange, over either version of HTTP: what differs between them is
//! decided here.

use std::task::{Context as Waking, Poll};

use bytes::Bytes;
use http::Version;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::HttpTask;
use pingora_proxy::Session;

use super::http1::Http1;
use super::http2::Http2;
use super::pool::{Acquired, PooledConnection};
use super::{trailers, upstream_request};
use crate::gateway::Upstream;

/// The upstream's end of one exchange.
#[expect(
    clippy::large_enum_variant,
    reason = "most exchanges have the large one"
)]
pub(super) enum UpstreamStream {
    /// A connection to itself.
    Http1(Http1),
    /// A stream of a connection that others share.
    Http2(Http2),
}

impl UpstreamStream {
    pub(super) fn new(connection: Acquired, session: &mut Session, upstream: &Upstream) -> Self {
        match connection {
            Acquired::Http1(connection) => {
                let head = session.req_header();
                let with_trailers = session.is_http2() || trailers::are_accepted(&head.headers);
                let goes_on = !session.is_body_empty() || session.is_upgrade_req();
                let write_timeout = upstream.settings.read_timeout;
                Self::Http1(Http1::new(
                    connection,
                    goes_on,
                    with_trailers,
                    write_timeout,
                ))
            }
            Acquired::Http2(slot) => Self::Http2(Http2::new(slot)),
        }
    }

    pub(super) fn version(&self) -> Version {
        match self {
            Self::Http1(_) => Version::HTTP_11,
            Self::Http2(_) => Version::HTTP_2,
        }
    }

    /// Sends the head of the request; `last`: nothing follows it.
    pub(super) async fn write_head(
        &mut self,
        head: RequestHeader,
        last: bool,
        upstream: &Upstream,
    ) -> pingora::Result<()> {
        match self {
            Self::Http1(stream) => stream.write_head(head).await,
            Self::Http2(stream) => {
                stream.write_head(upstream_request::into_http2(head, upstream.url.tls), last)
            }
        }
    }

    /// Sends a part of the body; what the upstream does not take at once waits. `upgraded`: it is
    /// no body any more, but what the other protocol has.
    pub(super) async fn write_body(
        &mut self,
        part: Option<Bytes>,
        last: bool,
        upgraded: bool,
    ) -> pingora::Result<()> {
        match self {
            Self::Http1(stream) => stream.write_body(part, last, upgraded).await,
            Self::Http2(stream) => stream.write_body(part, last),
        }
    }

    /// Whether the upstream has taken all that was written so far.
    pub(super) fn is_flushed(&self) -> bool {
        match self {
            Self::Http1(stream) => stream.is_flushed(),
            Self::Http2(stream) => stream.is_flushed(),
        }
    }

    /// Waits until the upstream takes something of what waits for it; whether that was all of it.
    pub(super) fn poll_flush(&mut self, waking: &mut Waking<'_>) -> Poll<pingora::Result<bool>> {
        match self {
            Self::Http1(stream) => stream.poll_flush(waking),
            Self::Http2(stream) => stream.poll_flush(waking),
        }
    }

    /// The next part of the response. May be dropped while it waits.
    pub(super) async fn read(&mut self) -> pingora::Result<HttpTask> {
        match self {
            Self::Http1(stream) => stream.read().await,
            Self::Http2(stream) => stream.read().await,
        }
    }

    /// Whether the request asked for another protocol.
    pub(super) fn asked_for_upgrade(&self) -> bool {
        match self {
            Self::Http1(stream) => stream.asked_for_upgrade(),
            Self::Http2(_) => false,
        }
    }

    /// Whether the rest of the request goes to the upstream though its response is no success. Over
    /// HTTP/1.1 many servers read no more of it; over HTTP/2 they say so by ending the stream.
    pub(super) fn sends_on_after_failure(&self) -> bool {
        matches!(self, Self::Http2(_))
    }

    /// Takes note of the head of a response. An error: whoever is between could take the end of its
    /// body for another place than we do (RFC 9112 section 6.3).
    pub(super) fn check_head(&mut self, head: &ResponseHeader) -> Result<(), &'static str> {
        match self {
            Self::Http1(stream) => stream.check_head(head),
            // The length of a body is checked as it comes (RFC 9113 section 8.1.1).
            Self::Http2(_) => Ok(()),
        }
    }

    /// Ends the exchange. The connection, if another request is to get it; `None` also over HTTP/2,
    /// where others have had it all the time. `sent`: the request was sent whole.
    pub(super) async fn finish(self, sent: bool) -> Option<PooledConnection> {
        match self {
            Self::Http1(stream) if sent => stream.into_reusable().await,
            Self::Http1(_) => None,
            Self::Http2(stream) => {
                stream.finish();
                None
            }
        }
    }
}
