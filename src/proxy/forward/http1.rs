//! An HTTP/1.1 connection to an upstream, as an exchange uses it.

use std::task::{Context as Waking, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Stream;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::{Error, ErrorType};

use super::chunk_watch::{self, ChunkWatch, TrailerReader};
use super::duplex::{self, Outbox};
use super::error;
use super::pool::{Lease, PooledConnection};
use crate::proxy::request::hop_by_hop::connection_options;

/// One exchange on an HTTP/1.1 connection.
pub(super) struct Http1 {
    session: HttpSession,
    /// What of the request waits for the upstream; `None`: the request is no more than its head, so
    /// it is in nobody's way.
    outbox: Option<Outbox>,
    /// Reads the trailers of the response; `None`: its client takes none.
    trailer_reader: Option<TrailerReader>,
    /// The trailers that were read, until they are asked for.
    trailers: Option<Box<HeaderMap>>,
    /// Whether the upstream closes the connection behind its response.
    closes: bool,
    lease: Lease,
}

impl Http1 {
    /// `goes_on`: the request is more than its head. `with_trailers`: the client takes those of the
    /// response.
    pub(super) fn new(
        connection: PooledConnection,
        goes_on: bool,
        with_trailers: bool,
        write_timeout: Duration,
    ) -> Self {
        let PooledConnection { stream, lease } = connection;
        let (stream, outbox) = if goes_on {
            let (stream, outbox) = duplex::split(stream);
            (Box::new(stream) as Stream, Some(outbox))
        } else {
            (stream, None)
        };
        let (stream, trailer_reader) = if with_trailers {
            let (stream, reader) = chunk_watch::watch(stream);
            (Box::new(stream) as Stream, Some(reader))
        } else {
            (stream, None)
        };
        let mut session = HttpSession::new(stream);
        session.write_timeout = Some(write_timeout);
        Self {
            session,
            outbox,
            trailer_reader,
            trailers: None,
            closes: false,
            lease,
        }
    }

    pub(super) async fn write_head(&mut self, head: RequestHeader) -> pingora::Result<()> {
        let written = self.session.write_request_header(Box::new(head)).await;
        written.map(drop).map_err(|error| error.into_up())
    }

    /// Writes a part of the body, if only into the outbox. `upgraded`: it is no body any more, but
    /// what the other protocol has.
    pub(super) async fn write_body(
        &mut self,
        part: Option<Bytes>,
        last: bool,
        upgraded: bool,
    ) -> pingora::Result<()> {
        if upgraded {
            self.session.maybe_upgrade_body_writer();
        }
        if let Some(part) = part {
            self.session.write_body(&part).await?;
        }
        if last {
            self.session.finish_body().await?;
        }
        Ok(())
    }

    /// Whether the upstream has taken all that was written so far.
    pub(super) fn is_flushed(&self) -> bool {
        self.outbox.as_ref().is_none_or(Outbox::is_empty)
    }

    /// Waits until the upstream takes something of what waits for it; whether that was all of it.
    pub(super) fn poll_flush(&self, waking: &mut Waking<'_>) -> Poll<pingora::Result<bool>> {
        let Some(outbox) = &self.outbox else {
            return Poll::Ready(Ok(true));
        };
        outbox.poll_take(waking).map_err(|error| {
            Error::because(ErrorType::WriteError, "sending the body", error).into_up()
        })
    }

    /// The next part of the response. May be dropped while it waits.
    pub(super) async fn read(&mut self) -> pingora::Result<HttpTask> {
        if let Some(trailers) = self.trailers.take() {
            return Ok(HttpTask::Trailer(Some(trailers)));
        }
        let part = read_part(&mut self.session).await;
        let Some(reader) = &mut self.trailer_reader else {
            return part;
        };
        let mut part =
            part.map_err(|error| reader.fault().map_or(error, error::invalid_response))?;
        match &mut part {
            HttpTask::Header(head, end) => {
                let length = self.session.get_headers_raw_bytes().len();
                reader.head(head, length, *end);
            }
            HttpTask::Body(_, end) => {
                let trailers = reader.body(*end).map_err(error::invalid_response)?;
                self.trailers = trailers.map(Box::new);
                *end &= self.trailers.is_none();
            }
            _ => {}
        }
        Ok(part)
    }

    /// Whether the request asked for another protocol.
    pub(super) fn asked_for_upgrade(&self) -> bool {
        self.session.is_upgrade_req()
    }

    /// Takes note of the head of a response. An error: whoever is between could take the end of its
    /// body for another place than we do (RFC 9112 section 6.3).
    pub(super) fn check_head(&mut self, head: &ResponseHeader) -> Result<(), &'static str> {
        let mut options = connection_options(&head.headers);
        self.closes |= options.any(|option| option.eq_ignore_ascii_case(b"close"));
        // Pingora takes the length out, so it is looked for in the bytes.
        let two_framings = !head.status.is_informational()
            && head.headers.contains_key(header::TRANSFER_ENCODING)
            && names_length(&self.session.get_headers_raw_bytes());
        match two_framings {
            true => Err("its response has a Content-Length beside Transfer-Encoding"),
            false => Ok(()),
        }
    }

    /// The connection, if it can be used for another request: both messages must be over.
    pub(super) async fn into_reusable(mut self) -> Option<PooledConnection> {
        if self.closes {
            return None;
        }
        self.session.respect_keepalive();
        let mut stream = self.session.reuse().await?;
        if self.trailer_reader.is_some() {
            let watch = stream.into_any().downcast::<ChunkWatch>().ok()?;
            stream = watch.into_stream();
        }
        if let Some(outbox) = self.outbox {
            // The session's half of it.
            drop(stream);
            stream = outbox.into_stream()?;
        }
        let lease = self.lease;
        Some(PooledConnection { stream, lease })
    }
}

/// The next part of a response, as [`HttpSession::read_response_task`] has it: at the log level
/// `trace`, that panics on a head that is no UTF-8.
async fn read_part(session: &mut HttpSession) -> pingora::Result<HttpTask> {
    let is_interim =
        |status: StatusCode| status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS;
    if session.get_status().is_none_or(is_interim) {
        let head = session.read_resp_header_parts().await?;
        return Ok(HttpTask::Header(head, session.is_body_done()));
    }
    if session.is_body_done() {
        return Ok(HttpTask::Done);
    }
    let part = session.read_body_bytes().await?;
    let last = session.is_body_done();
    Ok(match session.was_upgraded() {
        true => HttpTask::UpgradedBody(part, last),
        false => HttpTask::Body(part, last),
    })
}

/// Whether a head names a length.
fn names_length(raw: &[u8]) -> bool {
    raw.split(|&byte| byte == b'\n').any(|line| {
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(b"content-length")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_found_in_every_spelling_of_a_head() {
        for head in [
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\ncontent-length : 1\r\n\r\n",
            "HTTP/1.1 200 OK\nCONTENT-LENGTH:1\n\n",
        ] {
            assert!(names_length(head.as_bytes()), "{head:?}");
        }
        let other = "HTTP/1.1 200 OK\r\nX-Content-Length: 1\r\nA: Content-Length: 1\r\n\r\n";
        assert!(!names_length(other.as_bytes()));
    }
}
