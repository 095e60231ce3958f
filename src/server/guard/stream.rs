//! A client's stream that takes note of how far its requests have come.
//!
//! It stands where Pingora expects the stream itself, as one type with it, so that a read costs one
//! more look at an atomic and no further call through a table.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
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

use super::frames::PREFACE;
use super::http2::Http2;
use crate::proxy::{Connection, Cut, Phase};

/// Room for a usual head, and the size from which on the application reads on itself: it has a
/// limit.
const USUAL_HEAD: usize = 2 * 1024;
const MAX_HEAD: usize = 16 * 1024;

/// What a client is told whose head came too slowly: as every other refusal.
const TOO_SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\nContent-Length: 81\r\nConnection: close\r\n\r\n\
    {\"error\":\"Request Timeout\",\"message\":\"the head did not arrive within 10 seconds\"}";

/// A stream, watched.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    connection: Arc<Connection>,
    /// The beginning of HTTP/2, which was read before the application asked for it.
    front: BytesMut,
    /// HTTP/1: the bytes that came since the request at hand began, and those of its head; 0:
    /// unknown.
    came: u64,
    head: u64,
    /// `None`: HTTP/1.
    http2: Option<Http2>,
    /// Whether the client was told that it is too slow.
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
            came: 0,
            head: 0,
            http2,
            told: false,
            blocked: None,
            unflushed: false,
        }
    }

    /// Waits for the first head and returns it with what came behind it; `None`: this is HTTP/2.
    /// What serves a request takes many times the memory of this, so it begins only then.
    pub(super) async fn first_head(&mut self) -> io::Result<Option<BytesMut>> {
        if self.http2.is_some() {
            return Ok(None);
        }
        let head = self.next_head().await?;
        if head.starts_with(PREFACE) && self.get_ssl_digest().is_none() {
            self.http2 = Some(Http2::new());
            self.front = head;
            return Ok(None);
        }
        Ok(Some(head))
    }

    /// Waits for another head. Nothing of it may have been read before: see [`Self::came_behind`].
    pub(super) async fn next_head(&mut self) -> io::Result<BytesMut> {
        (self.came, self.head) = (0, 0);
        let mut head = BytesMut::new();
        loop {
            let before = head.len();
            let read = poll_fn(|context| self.poll_head(context, &mut head)).await?;
            if let Some(end) = head_end(&head, before) {
                self.head = end as u64;
                return Ok(head);
            }
            if read == 0 || head.len() >= MAX_HEAD {
                return Ok(head);
            }
        }
    }

    /// Reads on. While nothing has come, no room is held for it.
    fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        head: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        let mut room = [MaybeUninit::uninit(); USUAL_HEAD];
        let mut read = ReadBuf::uninit(&mut room);
        ready!(Pin::new(self).poll_read(context, &mut read))?;
        head.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    }

    /// How many bytes came behind the request at hand, which has been answered: its head and `body`
    /// bytes. Whoever read it holds them: they begin the next head. `None`: there is no telling,
    /// since the body does not say how long it is, or the head was not awaited here but came behind
    /// another request.
    pub(super) fn came_behind(&mut self, body: Option<u64>) -> Option<u64> {
        let head = std::mem::take(&mut self.head);
        let request = head.checked_add(body?).filter(|_| head > 0)?;
        self.came.checked_sub(request)
    }

    /// Hands out what was read before.
    fn read_front(&mut self, buf: &mut ReadBuf<'_>) {
        let length = self.front.len().min(buf.remaining());
        let taken = self.front.split_to(length);
        buf.put_slice(&taken);
        if let Some(http2) = &mut self.http2 {
            http2.read(&taken, &self.connection);
        }
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
        if let Poll::Ready(Ok(_)) = Pin::new(&mut self.stream).poll_write(context, TOO_SLOW) {
            let _ = Pin::new(&mut self.stream).poll_flush(context);
        }
    }
}

/// How many of these bytes, of which those from `fresh` on are new, the application can make
/// something of: those of a whole head, of the preface of HTTP/2, or of what can be neither.
/// `None`: more must come.
fn head_end(bytes: &[u8], fresh: usize) -> Option<usize> {
    let common = bytes.len().min(PREFACE.len());
    if bytes[..common] == PREFACE[..common] {
        return (common == PREFACE.len()).then_some(common);
    }
    if !matches!(bytes.first(), Some(b'\r' | b'\n' | b'!'..=b'~')) {
        return (!bytes.is_empty()).then_some(1);
    }
    // The first empty line, in the laxest of readings.
    let from = fresh.saturating_sub(2);
    for end in memchr::memchr_iter(b'\n', &bytes[from..]) {
        let next = from + end + 1;
        match &bytes[next..] {
            [b'\n', ..] => return Some(next + 1),
            [b'\r', b'\n', ..] => return Some(next + 2),
            _ => {}
        }
    }
    None
}

impl<S: IO> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let this = &mut *self;
        if !this.front.is_empty() {
            this.read_front(buf);
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut this.stream).poll_read(context, buf) {
            Poll::Pending => {
                if this.connection.progress().was_cut() == Some(Cut::HeadTimeout) {
                    this.tell(context);
                }
                if this.unflushed {
                    // While nothing comes from it, the client may be waiting for just that.
                    let _ = Pin::new(this).poll_flush(context);
                }
                Poll::Pending
            }
            Poll::Ready(Ok(())) if buf.filled().len() > before => {
                let progress = this.connection.progress();
                progress.bytes_arrived(this.http2.is_none());
                let bytes = &buf.filled()[before..];
                match &mut this.http2 {
                    Some(http2) => http2.read(bytes, &this.connection),
                    None => this.came = this.came.saturating_add(bytes.len() as u64),
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(result) => {
                let phase = this.connection.progress().phase().0;
                let at_head = matches!(phase, Phase::Silent | Phase::FirstHead | Phase::NextHead);
                if at_head && (buf.remaining() > 0 || result.is_err()) {
                    this.leave();
                    return Poll::Pending;
                }
                Poll::Ready(result)
            }
        }
    }
}

impl<S: IO> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_enough_with_its_last_byte_however_it_comes() {
        for head in [
            "GET / HTTP/1.0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET / HTTP/1.1\nHost: h\n\n",
            "GET / HTTP/1.1\r\nHost: h\n\r\n",
            "\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "PRO * HTTP/1.1\r\n\r\n",
        ] {
            let bytes = head.as_bytes();
            for step in 1..=bytes.len() {
                let mut before = 0;
                let (have, end) = loop {
                    let have = (before + step).min(bytes.len());
                    let end = head_end(&bytes[..have], before);
                    if end.is_some() || have == bytes.len() {
                        break (have, end);
                    }
                    before = have;
                };
                assert_eq!(
                    (have, end),
                    (bytes.len(), Some(bytes.len())),
                    "{head:?} in steps of {step}"
                );
            }
            let more = [bytes, b"GET / HTTP/1.1\r\n\r\n"].concat();
            assert_eq!(
                head_end(&more, 0),
                Some(bytes.len()),
                "{head:?} and the next one"
            );
        }
    }

    #[test]
    fn what_can_be_no_head_is_not_waited_for() {
        assert_eq!(head_end(b"\x16\x03\x01", 0), Some(1));
        assert_eq!(head_end(b" GET", 0), Some(1));
        for beginning in [
            &b""[..],
            b"G",
            b"\r",
            b"\n",
            b"\r\n",
            b"PRI * HTTP/2.0\r\n\r\n",
        ] {
            assert_eq!(head_end(beginning, 0), None, "{beginning:?}");
        }
        // Some take empty lines before a request for nothing. Here they are no head, so that what
        // follows is not mistaken for a later request's.
        assert_eq!(head_end(b"\r\n\r\nGET / HTTP/1.1\r\n\r\n", 0), Some(4));
    }

    #[test]
    fn the_last_word_is_as_long_as_it_says() {
        let text = std::str::from_utf8(TOO_SLOW).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("Content-Length: {}\r\n", body.len())),
            "{text}"
        );
    }
}
