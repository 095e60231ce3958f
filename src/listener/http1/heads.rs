//! The heads of an HTTP/1 connection: each is awaited here, and handed on as a whole.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use pingora::protocols::{IO, Ssl};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf};

use super::Head;
use super::absolute_form::with_host_of_target;
use crate::listener::client_limits::ClientLimits;
use crate::listener::connection::Connection;
use crate::listener::error_response::answer;
use crate::listener::http2::{Http2, PREFACE};
use crate::listener::malformed::Malformed;
use crate::listener::stream::Watched;

/// Room for a usual head.
const USUAL_HEAD: usize = 2 * 1024;

/// How much, and for how long, is read of what a client is still sending that has been refused:
/// closing at once would reset the connection, and the answer with it.
const DRAIN_BYTES: usize = 256 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// A head that is there as a whole, with what has come of its body; or why it is none.
pub(in crate::listener) type Begun = Result<BytesMut, Malformed>;

impl<S: IO> Watched<S> {
    /// Waits for the first head; `None`: this is HTTP/2. What serves a request takes many times the
    /// memory of this, so it begins only then.
    pub(in crate::listener) async fn first_head(&mut self) -> io::Result<Option<Begun>> {
        if self.http2.is_some() {
            return Ok(None);
        }
        if self.get_ssl_digest().is_none() {
            let mut front = BytesMut::new();
            loop {
                let common = front.len().min(PREFACE.len());
                if front[..common] != PREFACE[..common] {
                    break;
                }
                if common == PREFACE.len() {
                    self.http2 = Some(Http2::new());
                    self.front = front;
                    return Ok(None);
                }
                poll_fn(|context| self.poll_head(context, &mut front)).await?;
                self.connection.progress().bytes_arrived(true);
            }
            self.front = front;
        }
        self.next_head().await.map(Some)
    }

    /// Waits for another head, behind a request that is over. What is none stays in `front`.
    pub(in crate::listener) async fn next_head(&mut self) -> io::Result<Begun> {
        let mut head = std::mem::take(&mut self.front);
        let mut reader = Head::default();
        let mut begun = false;
        loop {
            if !begun {
                // Line ends between requests are none of them (RFC 9112 section 2.2): some clients
                // send one behind a body. They start no clock.
                while head.starts_with(b"\r\n") {
                    head.advance(2);
                }
                begun = !head.is_empty() && head[..] != b"\r"[..];
            }
            if begun {
                self.connection.progress().bytes_arrived(true);
                match reader.read(&head) {
                    Ok(Some(end)) => return Ok(self.begin(head, end, &reader)),
                    Ok(None) => {}
                    Err(malformed) => {
                        self.front = head;
                        return Ok(Err(malformed));
                    }
                }
            }
            poll_fn(|context| self.poll_head(context, &mut head)).await?;
        }
    }

    /// A request begins: what has come behind it is the next one's.
    fn begin(&mut self, mut head: BytesMut, mut end: usize, reader: &Head) -> Begun {
        if reader.is_absolute()
            && let Some(changed) = with_host_of_target(&head[..end])
        {
            let rest = head.split_off(end);
            end = changed.len();
            head = BytesMut::from(&changed[..]);
            head.extend_from_slice(&rest);
        }
        self.rest = reader.rest();
        let end = match self.rest.take(&head[end..]) {
            Ok(body) => end + body,
            Err(malformed) => {
                self.front = head;
                return Err(malformed);
            }
        };
        if end < head.len() {
            self.front = head.split_off(end);
        }
        Ok(head)
    }

    /// Whether the request at hand was read to its end, so that another one may begin.
    pub(in crate::listener) fn is_between_requests(&self) -> bool {
        self.rest.is_nothing() && !self.connection.progress().has_switched()
    }

    /// Reads on. While nothing has come, no room is held for it. The end is an error.
    fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        head: &mut BytesMut,
    ) -> Poll<io::Result<()>> {
        let mut room = [MaybeUninit::uninit(); USUAL_HEAD];
        let mut read = ReadBuf::uninit(&mut room);
        ready!(self.poll_raw(context, &mut read))?;
        if read.filled().is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        head.extend_from_slice(read.filled());
        Poll::Ready(Ok(()))
    }

    /// Answers a head that is none, and ends the connection so that the client can read it.
    pub(in crate::listener) async fn refuse(&mut self, malformed: Malformed) {
        let answer = answer(malformed.status());
        let stream = &mut self.stream;
        let telling = async {
            stream.write_all(&answer).await?;
            AsyncWriteExt::shutdown(stream).await?;
            let (mut room, mut read) = ([0; 1024], 0);
            while read < DRAIN_BYTES {
                match stream.read(&mut room).await? {
                    0 => break,
                    some => read += some,
                }
            }
            io::Result::Ok(())
        };
        // Whether it gets there is the client's business.
        let _ = tokio::time::timeout(DRAIN_TIME, telling).await;
    }
}

/// Reads the first head of an HTTP/1 connection as a listener does, from a stream that need not be a
/// connection: for those who want to know what would become of it. The head is handed on as the
/// listener hands it on.
///
/// # Errors
///
/// What the listener would answer by itself.
pub async fn first_head<S: IO>(stream: S) -> Result<(S, BytesMut), Malformed> {
    let connection = Arc::new(Connection::new(
        Arc::default(),
        Arc::new(ClientLimits::new(0, 0)),
    ));
    let mut stream = Watched::new(stream, connection);
    match stream.first_head().await {
        Ok(Some(Ok(head))) => Ok((stream.stream, head)),
        Ok(Some(Err(malformed))) => Err(malformed),
        // It ends too early, or is HTTP/2.
        Ok(None) | Err(_) => Err(Malformed::Line),
    }
}
