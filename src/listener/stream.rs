//! The stream of a client connection: it tracks how far requests have come, and gives out no byte
//! behind the end of an HTTP/1 request.
//!
//! It takes the place of Pingora's stream as one generic type with it, so that a read costs one
//! more load of an atomic and no further dynamic call.

mod pingora_traits;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use pingora::protocols::{ALPN, IO};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::close_reason::CloseReason;
use super::connection::Connection;
use super::error_response::error_response;
use super::http1::RemainingBody;
use super::http2::Http2Monitor;
use super::malformed::Malformed;
use super::state::Phase;

#[derive(Debug)]
pub(super) struct GuardedStream<S> {
    pub(super) stream: S,
    pub(super) connection: Arc<Connection>,
    /// What was read ahead: the beginning of HTTP/2, or pipelined bytes of HTTP/1.
    pub(super) read_ahead: BytesMut,
    /// HTTP/1: what is still to come of the current request.
    pub(super) body: RemainingBody,
    /// `None`: HTTP/1.
    pub(super) http2: Option<Http2Monitor>,
    /// Whether an error response was written here.
    error_sent: bool,
    /// The step of writing that waits for the client.
    blocked: Option<WriteStep>,
    /// HTTP/1: whether something written may still be in a buffer.
    unflushed: bool,
    /// HTTP/1: what is left to write of a last chunk with trailers.
    last_chunk: Bytes,
}

/// The last chunk as Pingora's session writes it.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WriteStep {
    /// Into a buffer.
    Write,
    /// Out of it.
    Flush,
}

impl<S: IO> GuardedStream<S> {
    pub(super) fn new(stream: S, connection: Arc<Connection>) -> Self {
        let http2 = matches!(stream.selected_alpn_proto(), Some(ALPN::H2)).then(Http2Monitor::new);
        Self {
            stream,
            connection,
            read_ahead: BytesMut::new(),
            body: RemainingBody::COMPLETE,
            http2,
            error_sent: false,
            blocked: None,
            unflushed: false,
            last_chunk: Bytes::new(),
        }
    }

    /// Gives out what was read ahead.
    fn take_read_ahead(&mut self, buf: &mut ReadBuf<'_>) {
        let length = self.read_ahead.len().min(buf.remaining());
        buf.put_slice(&self.read_ahead.split_to(length));
        if self.read_ahead.is_empty() {
            self.read_ahead = BytesMut::new();
        }
    }

    /// Tracks whether the client reads what is written to it; fails if it has not for too long.
    ///
    /// Progress is a step that waited and then went on. A write while a flush waits is none: it may
    /// have gone into a buffer.
    fn track_write<T>(
        &mut self,
        step: WriteStep,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &polled {
            Poll::Pending => {
                let state = self.connection.state();
                if state.close_reason() == Some(CloseReason::WriteTimeout) {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                self.blocked = Some(step);
                state.write_blocked();
            }
            Poll::Ready(_) if self.blocked == Some(step) => {
                self.blocked = None;
                self.connection.state().write_resumed();
            }
            Poll::Ready(_) => {}
        }
        polled
    }

    /// Answers 408 to a client that began a head and did not end it in time.
    fn send_timeout_response(&mut self, context: &mut Context<'_>) {
        let state = self.connection.state();
        let has_begun = matches!(state.phase().0, Phase::FirstHead | Phase::NextHead);
        if self.error_sent || self.http2.is_some() || !has_begun {
            return;
        }
        self.error_sent = true;
        // One try: there is room for it, unless the client does not read either.
        if let Poll::Ready(Ok(_)) =
            Pin::new(&mut self.stream).poll_write(context, &error_response(408))
        {
            let _ = Pin::new(&mut self.stream).poll_flush(context);
        }
    }

    /// Reads from the socket. A client that leaves in the middle of a head, or before it, gets no
    /// response.
    pub(super) fn poll_read_socket(
        &mut self,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.stream).poll_read(context, buf) {
            Poll::Pending => {
                if self.connection.state().close_reason() == Some(CloseReason::HeadTimeout) {
                    self.send_timeout_response(context);
                }
                self.flush_and_wait(context)
            }
            Poll::Ready(Ok(())) if buf.filled().len() > before => Poll::Ready(Ok(())),
            Poll::Ready(result) => {
                if self.is_at_head() && (buf.remaining() > 0 || result.is_err()) {
                    self.connection.state().close(CloseReason::ClientGone);
                    return Poll::Pending;
                }
                Poll::Ready(result)
            }
        }
    }

    /// Nothing arrives from the client: it may be waiting for what is still in a buffer.
    fn flush_and_wait(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unflushed {
            let _ = Pin::new(self).poll_flush(context);
        }
        Poll::Pending
    }

    fn poll_frames(
        &mut self,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.read_ahead.is_empty() {
            ready!(self.poll_read_socket(context, buf))?;
            if buf.filled().len() > before {
                self.connection.state().bytes_arrived(false);
            }
        } else {
            self.take_read_ahead(buf);
        }
        if let Some(http2) = &mut self.http2 {
            http2.read(&buf.filled()[before..], &self.connection);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads the current request, and not beyond its end.
    fn poll_request(
        &mut self,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.body.is_complete() && self.connection.state().has_switched_protocols() {
            if self.read_ahead.is_empty() {
                return self.poll_read_socket(context, buf);
            }
            self.take_read_ahead(buf);
            return Poll::Ready(Ok(()));
        }
        if !self.read_ahead.is_empty() {
            // The next request waits for its turn: nothing needs to wake the reader.
            return self.flush_and_wait(context);
        }
        let before = buf.filled().len();
        ready!(self.poll_read_socket(context, buf))?;
        let read = &buf.filled()[before..];
        match self.take_body(read) {
            Ok(taken) if taken == read.len() => Poll::Ready(Ok(())),
            Ok(taken) => {
                self.read_ahead.extend_from_slice(&read[taken..]);
                buf.set_filled(before + taken);
                if taken > 0 {
                    Poll::Ready(Ok(()))
                } else {
                    self.flush_and_wait(context)
                }
            }
            Err(malformed) => {
                buf.set_filled(before);
                Poll::Ready(Err(malformed.into()))
            }
        }
    }

    /// How many of these bytes belong to the current request. The trailers at its end are kept for
    /// whoever passes it on.
    pub(super) fn take_body(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let taken = self.body.take(bytes)?;
        if let RemainingBody::Ended(trailers) = &mut self.body {
            let trailers = std::mem::take(trailers);
            self.connection.set_request_trailers(trailers);
            self.body = RemainingBody::COMPLETE;
        }
        Ok(taken)
    }

    /// Pingora writes a response of its own before a request is served: to a head that it cannot
    /// parse, or to CONNECT. It is replaced by ours, which does not name the software.
    fn poll_replace_error(
        &mut self,
        context: &mut Context<'_>,
        written: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.error_sent {
            let status = if written.get(9..12) == Some(b"405") {
                405
            } else {
                400
            };
            // There is room for it, unless the client has never read.
            ready!(Pin::new(&mut self.stream).poll_write(context, &error_response(status)))?;
            self.error_sent = true;
            self.connection.set_refused(status);
        }
        Poll::Ready(Ok(written.len()))
    }

    /// Writes the last chunk with its trailers (RFC 9112 section 7.1.2); the session writes it
    /// without them.
    fn poll_write_last_chunk(
        &mut self,
        context: &mut Context<'_>,
        written: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(lines) = self.connection.take_response_trailers() {
            // The session has written all that came before.
            if written != LAST_CHUNK {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            self.last_chunk = [b"0\r\n", &lines[..], b"\r\n"].concat().into();
        }
        while !self.last_chunk.is_empty() {
            let polled = Pin::new(&mut self.stream).poll_write(context, &self.last_chunk);
            match ready!(self.track_write(WriteStep::Write, polled))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                taken => self.last_chunk.advance(taken),
            }
        }
        Poll::Ready(Ok(written.len()))
    }

    fn is_at_head(&self) -> bool {
        let phase = self.connection.state().phase().0;
        matches!(phase, Phase::Accepted | Phase::FirstHead | Phase::NextHead)
    }
}

impl<S: IO> AsyncRead for GuardedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.http2 {
            None => self.poll_request(context, buf),
            Some(_) => self.poll_frames(context, buf),
        }
    }
}

impl<S: IO> AsyncWrite for GuardedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.http2.is_none() && self.is_at_head() {
            return self.poll_replace_error(context, bytes);
        }
        if self.connection.state().is_at_last_chunk() || !self.last_chunk.is_empty() {
            self.unflushed = true;
            return self.poll_write_last_chunk(context, bytes);
        }
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.unflushed |= self.http2.is_none();
        self.track_write(WriteStep::Write, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.unflushed &= polled.is_pending();
        self.track_write(WriteStep::Flush, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(context);
        self.track_write(WriteStep::Flush, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.unflushed |= self.http2.is_none();
        self.track_write(WriteStep::Write, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
