//! A connection to an upstream that is read while it is written to.
//!
//! Pingora's session holds its stream for one step at a time: while it waits for the upstream to
//! take a part of the request, nobody reads the answer, and an upstream that waits for that takes
//! no more either. So this stands between: a write never waits, what the upstream does not take
//! stays here, and the exchange reads no more of the request before it has gone.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The stream that the session gets.
#[derive(Debug)]
pub(crate) struct Duplex(Arc<Mutex<State>>);

/// What of the request waits for the upstream.
#[derive(Debug)]
pub(crate) struct Outbox(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    stream: Stream,
    waiting: BytesMut,
    flushed: bool,
}

/// Puts itself between a stream and its session.
pub(crate) fn split(stream: Stream) -> (Duplex, Outbox) {
    let state = Arc::new(Mutex::new(State {
        stream,
        waiting: BytesMut::new(),
        flushed: true,
    }));
    (Duplex(state.clone()), Outbox(state))
}

impl Outbox {
    /// Whether the upstream has taken everything.
    pub(crate) fn is_empty(&self) -> bool {
        let state = lock(&self.0);
        state.waiting.is_empty() && state.flushed
    }

    /// Waits until the upstream takes something of what waits; `false`: something is left.
    pub(crate) fn poll_take(&self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut state = lock(&self.0);
        let state = &mut *state;
        if !state.waiting.is_empty() {
            let taken = Pin::new(&mut state.stream).poll_write(context, &state.waiting);
            match ready!(taken)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                taken => state.waiting.advance(taken),
            }
        }
        if state.waiting.is_empty() {
            // What a large part has needed is not held for those that follow.
            state.waiting = BytesMut::new();
            ready!(Pin::new(&mut state.stream).poll_flush(context))?;
            state.flushed = true;
        }
        Poll::Ready(Ok(state.flushed))
    }

    /// The stream, once the session has let go of its half.
    pub(crate) fn into_stream(self) -> Option<Stream> {
        let state = Arc::try_unwrap(self.0).ok()?;
        Some(
            state
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner)
                .stream,
        )
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AsyncRead for Duplex {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).stream).poll_read(context, buf)
    }
}

impl AsyncWrite for Duplex {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = lock(&self.0);
        state.flushed = false;
        let mut taken = 0;
        if state.waiting.is_empty()
            && let Poll::Ready(written) = Pin::new(&mut state.stream).poll_write(context, bytes)
        {
            taken = written?;
        }
        state.waiting.extend_from_slice(&bytes[taken..]);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = lock(&self.0);
        if state.waiting.is_empty()
            && let Poll::Ready(flushed) = Pin::new(&mut state.stream).poll_flush(context)
        {
            flushed?;
            state.flushed = true;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).stream).poll_shutdown(context)
    }
}

#[async_trait]
impl Shutdown for Duplex {
    /// Nothing: whoever holds the other half lets go of the stream, which closes it.
    async fn shutdown(&mut self) {}
}

impl UniqueID for Duplex {
    fn id(&self) -> UniqueIDType {
        lock(&self.0).stream.id()
    }
}

impl Ssl for Duplex {}

impl GetTimingDigest for Duplex {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Duplex {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Duplex {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

impl Peek for Duplex {}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn a_write_never_waits_and_what_waits_goes_in_order() {
        let (ours, mut theirs) = duplex(8);
        let (mut stream, outbox) = split(Box::new(ours));
        assert!(outbox.is_empty());
        for part in [&b"0123456789"[..], b"abc", b"def"] {
            stream.write_all(part).await.unwrap();
            stream.flush().await.unwrap();
        }
        assert!(!outbox.is_empty());
        theirs.write_all(b"answer").await.unwrap();
        let mut answer = [0; 6];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"answer", "it is read meanwhile");
        let mut got = Vec::new();
        while !outbox.is_empty() {
            let mut part = [0; 8];
            let length = theirs.read(&mut part).await.unwrap();
            got.extend_from_slice(&part[..length]);
            poll_fn(|context| outbox.poll_take(context)).await.unwrap();
        }
        drop(stream);
        drop(outbox.into_stream().unwrap());
        theirs.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"0123456789abcdef");
    }

    #[tokio::test]
    async fn an_upstream_that_has_gone_is_an_error() {
        let (ours, theirs) = duplex(8);
        let (mut stream, outbox) = split(Box::new(ours));
        stream.write_all(b"0123456789").await.unwrap();
        drop(theirs);
        assert!(poll_fn(|context| outbox.poll_take(context)).await.is_err());
        assert!(
            stream.write_all(b"more").await.is_ok(),
            "it is told where it waits"
        );
        assert!(poll_fn(|context| outbox.poll_take(context)).await.is_err());
    }
}
