//! The heads of an HTTP/1 connection: each is awaited here, and passed on as a whole.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use pingora::protocols::{IO, Ssl};
use tokio::io::ReadBuf;

use super::HeadScanner;
use super::absolute_form::with_host_from_target;
use crate::listener::client_limits::ClientLimits;
use crate::listener::connection::Connection;
use crate::listener::error_response::{error_response, respond_and_close};
use crate::listener::http2::{Http2Monitor, PREFACE};
use crate::listener::malformed::Malformed;
use crate::listener::stream::GuardedStream;

/// Size of most heads.
const USUAL_HEAD: usize = 2 * 1024;

/// A whole head, with what has arrived of its body; or why it is malformed.
pub(in crate::listener) type ReceivedHead = Result<BytesMut, Malformed>;

impl<S: IO> GuardedStream<S> {
    /// Waits for the first head; `None`: this is HTTP/2. Serving a request takes many times the
    /// memory of waiting for one, so it begins only then.
    pub(in crate::listener) async fn first_head(&mut self) -> io::Result<Option<ReceivedHead>> {
        if self.http2.is_some() {
            return Ok(None);
        }
        if self.get_ssl_digest().is_none() {
            let mut read_ahead = BytesMut::new();
            loop {
                let common = read_ahead.len().min(PREFACE.len());
                if read_ahead[..common] != PREFACE[..common] {
                    break;
                }
                if common == PREFACE.len() {
                    self.http2 = Some(Http2Monitor::new());
                    self.read_ahead = read_ahead;
                    return Ok(None);
                }
                poll_fn(|context| self.poll_head(context, &mut read_ahead)).await?;
                self.connection.state().bytes_arrived(true);
            }
            self.read_ahead = read_ahead;
        }
        self.next_head().await.map(Some)
    }

    /// Waits for the next head. A malformed one stays in `read_ahead`.
    pub(in crate::listener) async fn next_head(&mut self) -> io::Result<ReceivedHead> {
        let mut head = std::mem::take(&mut self.read_ahead);
        let mut scanner = HeadScanner::default();
        let mut begun = false;
        loop {
            if !begun {
                // Line ends between requests are skipped (RFC 9112 section 2.2): some clients send
                // one behind a body. They do not begin a head.
                while head.starts_with(b"\r\n") {
                    head.advance(2);
                }
                begun = !head.is_empty() && head[..] != b"\r"[..];
            }
            if begun {
                self.connection.state().bytes_arrived(true);
                match scanner.find_head_end(&head) {
                    Ok(Some(end)) => return Ok(self.begin(head, end, &scanner)),
                    Ok(None) => {}
                    Err(malformed) => {
                        self.read_ahead = head;
                        return Ok(Err(malformed));
                    }
                }
            }
            poll_fn(|context| self.poll_head(context, &mut head)).await?;
        }
    }

    /// A request begins: what has arrived behind it belongs to the next one.
    fn begin(&mut self, mut head: BytesMut, mut end: usize, scanner: &HeadScanner) -> ReceivedHead {
        if scanner.is_absolute()
            && let Some(changed) = with_host_from_target(&head[..end])
        {
            let rest = head.split_off(end);
            end = changed.len();
            head = BytesMut::from(&changed[..]);
            head.extend_from_slice(&rest);
        }
        self.body = scanner.remaining_body();
        let end = match self.take_body(&head[end..]) {
            Ok(body) => end + body,
            Err(malformed) => {
                self.read_ahead = head;
                return Err(malformed);
            }
        };
        if end < head.len() {
            self.read_ahead = head.split_off(end);
        }
        Ok(head)
    }

    /// Whether the current request was read to its end, so that another one may begin.
    pub(in crate::listener) fn is_between_requests(&self) -> bool {
        self.body.is_complete() && !self.connection.state().has_switched_protocols()
    }

    /// Reads more of a head. While nothing arrives, no memory is held for it. The end of the stream
    /// is an error.
    fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        head: &mut BytesMut,
    ) -> Poll<io::Result<()>> {
        let mut room = [MaybeUninit::uninit(); USUAL_HEAD];
        let mut read = ReadBuf::uninit(&mut room);
        ready!(self.poll_read_socket(context, &mut read))?;
        if read.filled().is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        head.extend_from_slice(read.filled());
        Poll::Ready(Ok(()))
    }

    /// Answers a malformed head.
    pub(in crate::listener) async fn refuse(&mut self, malformed: Malformed) {
        respond_and_close(&mut self.stream, &error_response(malformed.status())).await;
    }
}

/// Reads the first head of an HTTP/1 connection as a listener does, from any stream. `explain`
/// sends a head through it.
///
/// # Errors
///
/// What the listener would answer itself.
pub async fn first_head<S: IO>(stream: S) -> Result<(S, BytesMut), Malformed> {
    let connection = Arc::new(Connection::new(
        Arc::default(),
        Arc::new(ClientLimits::new(0, 0)),
    ));
    let mut stream = GuardedStream::new(stream, connection);
    match stream.first_head().await {
        Ok(Some(Ok(head))) => Ok((stream.stream, head)),
        Ok(Some(Err(malformed))) => Err(malformed),
        // It ends too early, or is HTTP/2.
        Ok(None) | Err(_) => Err(Malformed::Line),
    }
}
