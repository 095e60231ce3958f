//! Reads the trailer section of a chunked response while it passes: Pingora's session, which reads
//! the rest, drops it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use http::{HeaderMap, HeaderName, header};
use pingora::http::ResponseHeader;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::trailers::{self, MALFORMED};
use crate::listener::{ChunkedBody, Malformed};
use crate::proxy::request::hop_by_hop::connection_options;

/// The stream that the session gets.
#[derive(Debug)]
pub(super) struct ChunkWatch {
    stream: Stream,
    state: Arc<Mutex<State>>,
}

/// What was read through it.
#[derive(Debug)]
pub(super) struct TrailerReader {
    state: Arc<Mutex<State>>,
    /// What `Connection` names in the head of the response.
    hop_by_hop: Vec<HeaderName>,
}

#[derive(Debug)]
enum State {
    /// Heads, of interim responses too, and what has come behind them: where they end, the session
    /// says.
    Heads(Vec<u8>),
    Chunks(ChunkedBody),
    /// The body has ended.
    Ended(ChunkedBody),
    Malformed(Malformed),
    /// There are no chunks to read.
    Unframed,
}

/// Puts itself between a stream and its session.
pub(super) fn watch(stream: Stream) -> (ChunkWatch, TrailerReader) {
    let state = Arc::new(Mutex::new(State::Heads(Vec::new())));
    let reader = TrailerReader {
        state: state.clone(),
        hop_by_hop: Vec::new(),
    };
    (ChunkWatch { stream, state }, reader)
}

impl ChunkWatch {
    /// The stream, once the session has let go of it.
    pub(super) fn into_stream(self) -> Stream {
        self.stream
    }
}

impl TrailerReader {
    /// The session has read a head of so many bytes. `last`: no body follows.
    pub(super) fn head(&mut self, head: &ResponseHeader, length: usize, last: bool) {
        let mut state = lock(&self.state);
        let State::Heads(bytes) = &mut *state else {
            return;
        };
        if head.status.is_informational() && !last {
            bytes.drain(..length.min(bytes.len()));
            return;
        }
        if last || !head.headers.contains_key(header::TRANSFER_ENCODING) {
            *state = State::Unframed;
            return;
        }
        let bytes = std::mem::take(bytes);
        *state = State::Chunks(ChunkedBody::default());
        // An error comes again with the next read, or with the end of the body.
        let _ = state.read(bytes.get(length..).unwrap_or_default());
        self.hop_by_hop = connection_options(&head.headers)
            .filter_map(|name| HeaderName::from_bytes(name).ok())
            .collect();
    }

    /// What is wrong with the chunks or the trailers, if that is why the session could not read on.
    pub(super) fn fault(&self) -> Option<&'static str> {
        match *lock(&self.state) {
            State::Malformed(Malformed::Trailer) => Some(MALFORMED),
            State::Malformed(_) => Some("a chunk of its response is malformed"),
            _ => None,
        }
    }

    /// The session has read a part of the body. The trailers, if that was the last one and some
    /// came behind it. An error: they are malformed.
    pub(super) fn body(&mut self, last: bool) -> Result<Option<HeaderMap>, &'static str> {
        let mut state = lock(&self.state);
        match &mut *state {
            // The session saw another end than we do.
            State::Chunks(_) | State::Malformed(_) if last => Err(MALFORMED),
            State::Ended(chunks) if last => {
                let mut trailers = trailers::from_lines(&std::mem::take(chunks).into_trailers())?;
                for name in &self.hop_by_hop {
                    trailers.remove(name);
                }
                Ok(Some(trailers).filter(|trailers| !trailers.is_empty()))
            }
            _ => Ok(None),
        }
    }
}

impl State {
    fn read(&mut self, read: &[u8]) -> io::Result<()> {
        match self {
            Self::Heads(bytes) => bytes.extend_from_slice(read),
            Self::Chunks(chunks) => match chunks.take(read) {
                Ok((_, false)) => {}
                // The session looks for bytes behind the end.
                Ok((_, true)) => *self = Self::Ended(std::mem::take(chunks)),
                Err(malformed) => *self = Self::Malformed(malformed),
            },
            Self::Ended(_) | Self::Malformed(_) | Self::Unframed => {}
        }
        match self {
            Self::Malformed(malformed) => Err((*malformed).into()),
            _ => Ok(()),
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AsyncRead for ChunkWatch {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buf))?;
        Poll::Ready(lock(&self.state).read(&buf.filled()[before..]))
    }
}

impl AsyncWrite for ChunkWatch {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[async_trait]
impl Shutdown for ChunkWatch {
    async fn shutdown(&mut self) {
        self.stream.shutdown().await;
    }
}

impl UniqueID for ChunkWatch {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl Ssl for ChunkWatch {}

impl GetTimingDigest for ChunkWatch {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for ChunkWatch {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for ChunkWatch {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

impl Peek for ChunkWatch {}
