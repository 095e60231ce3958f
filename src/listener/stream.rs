//! A client's stream that takes note of how far its requests have come.
//!
//! It stands where Pingora expects the stream itself, as one type with it, so that a read costs one
//! more look at an atomic and no further call through a table.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, IO, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::close_reason::Cut;
use super::connection::Connection;
use super::error_response::answer;
use super::http1::Rest;
use super::http2::Http2;
use super::state::Phase;

/// A stream, watched.
#[derive(Debug)]
pub(super) struct Watched<S> {
    pub(super) stream: S,
    pub(super) connection: Arc<Connection>,
    /// What was read before it was asked for: the beginning of HTTP/2, or the next request's of
    /// HTTP/1.
    pub(super) front: BytesMut,
    /// HTTP/1: what is still to come of the request at hand.
    pub(super) rest: Rest,
    /// `None`: HTTP/1.
    pub(super) http2: Option<Http2>,
    /// Whether the client was told why no request of its is served.
    told: bool,
    /// What waits for the client to take what was written.
    blocked: Option<Step>,
    /// HTTP/1: whether something was written that may still be in a buffer.
    unflushed: bool,
}

/// A step of writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Into the buffers.
    Write,
    /// Out of them.
    Flush,
}

impl<S: IO> Watched<S> {
    pub(super) fn new(stream: S, connection: Arc<Connection>) -> Self {
        let http2 = matches!(stream.selected_alpn_proto(), Some(ALPN::H2)).then(Http2::new);
        Self {
            stream,
            connection,
            front: BytesMut::new(),
            rest: Rest::NOTHING,
            http2,
            told: false,
            blocked: None,
            unflushed: false,
        }
    }

    /// Hands out what was read before.
    fn read_front(&mut self, buf: &mut ReadBuf<'_>) {
        let length = self.front.len().min(buf.remaining());
        buf.put_slice(&self.front.split_to(length));
        if self.front.is_empty() {
            self.front = BytesMut::new();
        }
    }

    /// Nothing more comes, and it was not enough: the end of it, about which no log needs to hear.
    fn leave(&self) {
        self.connection.progress().cut(Cut::Gone);
    }

    /// Takes note of whether the client takes what is written to it, and fails if it has not for
    /// too long.
    ///
    /// Headway is a step that waited and then went on. That something can be written while a flush
    /// waits is none: it may have gone into a buffer.
    fn wrote<T>(&mut self, step: Step, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &polled {
            Poll::Pending => {
                let progress = self.connection.progress();
                if progress.was_cut() == Some(Cut::WriteTimeout) {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                self.blocked = Some(step);
                progress.write_waits();
            }
            Poll::Ready(_) if self.blocked == Some(step) => {
                self.blocked = None;
                self.connection.progress().write_goes_on();
            }
            Poll::Ready(_) => {}
        }
        polled
    }

    /// The last word to a client that has begun a head and was cut for not ending it.
    fn tell(&mut self, context: &mut Context<'_>) {
        let progress = self.connection.progress();
        let heard = matches!(progress.phase().0, Phase::FirstHead | Phase::NextHead);
        if self.told || self.http2.is_some() || !heard {
            return;
        }
        self.told = true;
        // One try: there is room for it, unless the client does not read either.
        if let Poll::Ready(Ok(_)) = Pin::new(&mut self.stream).poll_write(context, &answer(408)) {
            let _ = Pin::new(&mut self.stream).poll_flush(context);
        }
    }
}

impl<S: IO> Watched<S> {
    /// Reads what comes, whatever it is. A client that leaves in the middle of a head, or before
    /// it, has nothing to be answered.
    pub(super) fn poll_raw(
        &mut self,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.stream).poll_read(context, buf) {
            Poll::Pending => {
                if self.connection.progress().was_cut() == Some(Cut::HeadTimeout) {
                    self.tell(context);
                }
                self.wait(context)
            }
            Poll::Ready(Ok(())) if buf.filled().len() > before => Poll::Ready(Ok(())),
            Poll::Ready(result) => {
                if self.is_at_head() && (buf.remaining() > 0 || result.is_err()) {
                    self.leave();
                    return Poll::Pending;
                }
                Poll::Ready(result)
            }
        }
    }

    /// Nothing comes from the client: it may be waiting for what is still in a buffer.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
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
        if self.front.is_empty() {
            ready!(self.poll_raw(context, buf))?;
            if buf.filled().len() > before {
                self.connection.progress().bytes_arrived(false);
            }
        } else {
            self.read_front(buf);
        }
        if let Some(http2) = &mut self.http2 {
            http2.read(&buf.filled()[before..], &self.connection);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads on in the request at hand, and not beyond its end.
    fn poll_request(
        &mut self,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.rest.is_nothing() && self.connection.progress().has_switched() {
            if self.front.is_empty() {
                return self.poll_raw(context, buf);
            }
            self.read_front(buf);
            return Poll::Ready(Ok(()));
        }
        if !self.front.is_empty() {
            // The next request waits for its turn: there is nothing that could wake who asks.
            return self.wait(context);
        }
        let before = buf.filled().len();
        ready!(self.poll_raw(context, buf))?;
        let came = &buf.filled()[before..];
        match self.rest.take(came) {
            Ok(taken) if taken == came.len() => Poll::Ready(Ok(())),
            Ok(taken) => {
                self.front.extend_from_slice(&came[taken..]);
                buf.set_filled(before + taken);
                if taken > 0 {
                    Poll::Ready(Ok(()))
                } else {
                    self.wait(context)
                }
            }
            Err(malformed) => {
                buf.set_filled(before);
                Poll::Ready(Err(malformed.into()))
            }
        }
    }

    /// What Pingora says by itself before anybody was asked, of a head that it cannot read or of
    /// CONNECT: in our own words, and without its name.
    fn poll_own(&mut self, context: &mut Context<'_>, said: &[u8]) -> Poll<io::Result<usize>> {
        if !self.told {
            let status = if said.get(9..12) == Some(b"405") {
                405
            } else {
                400
            };
            let own = answer(status);
            // There is room for it, unless the client has never read.
            ready!(Pin::new(&mut self.stream).poll_write(context, &own))?;
            self.told = true;
            self.connection.is_refused(status);
        }
        Poll::Ready(Ok(said.len()))
    }

    fn is_at_head(&self) -> bool {
        let phase = self.connection.progress().phase().0;
        matches!(phase, Phase::Silent | Phase::FirstHead | Phase::NextHead)
    }
}

impl<S: IO> AsyncRead for Watched<S> {
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

impl<S: IO> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.http2.is_none() && self.is_at_head() {
            return self.poll_own(context, bytes);
        }
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.unflushed |= self.http2.is_none();
        self.wrote(Step::Write, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.unflushed &= polled.is_pending();
        self.wrote(Step::Flush, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(context);
        self.wrote(Step::Flush, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.unflushed |= self.http2.is_none();
        self.wrote(Step::Write, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[async_trait]
impl<S: IO> Peek for Watched<S> {
    /// Pingora asks whether the connection begins with the preface of HTTP/2, and would wait for as
    /// many bytes. It has been read by now, or something else.
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        let have = self.front.len().min(buf.len());
        buf[..have].copy_from_slice(&self.front[..have]);
        buf[have..].fill(0);
        Ok(true)
    }
}

#[async_trait]
impl<S: IO> Shutdown for Watched<S> {
    async fn shutdown(&mut self) {
        self.stream.shutdown().await;
    }
}

impl<S: IO> UniqueID for Watched<S> {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl<S: IO> Ssl for Watched<S> {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.stream.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.selected_alpn_proto()
    }
}

impl<S: IO> GetTimingDigest for Watched<S> {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.stream.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.stream.get_write_pending_time()
    }
}

impl<S: IO> GetProxyDigest for Watched<S> {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }
}

impl<S: IO> GetSocketDigest for Watched<S> {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }
}
