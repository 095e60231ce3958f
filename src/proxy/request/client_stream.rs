//! The body of a response on a client's HTTP/2 stream.
//!
//! Pingora's session waits until the client takes what is written, and reads nothing of the request
//! meanwhile. So its stream is taken from it with the head.

use std::pin::Pin;
use std::task::{Context as Waking, Poll, ready};

use bytes::Bytes;
use h2::Reason;
use http::HeaderMap;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::{Error, ErrorType};
use pingora_proxy::Session;
use tokio::time::{Sleep, sleep};

use super::send_half::SendHalf;
use crate::listener::WRITE_TIMEOUT;

/// The way of a response's body to the client.
#[derive(Debug)]
pub(crate) struct ClientStream {
    half: SendHalf,
    /// Bytes of the body that were written.
    pub(crate) sent: usize,
    /// Set while the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

/// Writes a part of a response; what the client does not take at once waits.
pub(crate) fn write(
    client: &mut Option<ClientStream>,
    part: HttpTask,
    session: &mut Session,
) -> pingora::Result<()> {
    let (part, last) = match part {
        HttpTask::Header(head, last) => {
            if let ServerSession::H2(session) = &mut *session.downstream_session {
                session.write_response_header(head, last)?;
                let half = session.take_response_body_writer();
                *client = half.map(|half| ClientStream {
                    half: SendHalf::new(half, last),
                    sent: 0,
                    stalled: None,
                });
            }
            return Ok(());
        }
        HttpTask::Trailer(Some(trailers)) => {
            return match client {
                Some(client) => client.send_trailers(*trailers),
                None => Ok(()),
            };
        }
        HttpTask::Body(part, last) => (part.unwrap_or_default(), last),
        HttpTask::Trailer(None) | HttpTask::Done => (Bytes::new(), true),
        HttpTask::UpgradedBody(..) => {
            return Error::e_explain(ErrorType::InternalError, "another protocol over HTTP/2");
        }
        HttpTask::Failed(error) => return Err(error),
    };
    let Some(client) = client else { return Ok(()) };
    client.sent += part.len();
    client.half.send(part, last).map_err(not_written)
}

impl ClientStream {
    /// Ends the response with trailers, behind what waits.
    pub(crate) fn send_trailers(&mut self, trailers: HeaderMap) -> pingora::Result<()> {
        self.half.send_trailers(trailers).map_err(not_written)
    }

    /// Ends it at once, unless it has ended: what waits is not sent.
    pub(crate) fn cancel(&mut self) {
        if !self.half.has_ended() {
            self.half.reset(Reason::CANCEL);
        }
    }

    /// Whether the client has taken all that was written so far.
    pub(crate) fn is_flushed(&self) -> bool {
        self.half.is_flushed()
    }

    /// Waits until the client has taken what waits for it; whether that was the end. An error: it
    /// has gone, or has taken nothing for too long.
    pub(crate) fn poll_flush(&mut self, waking: &mut Waking<'_>) -> Poll<pingora::Result<bool>> {
        loop {
            match self.half.poll_flush(waking) {
                Poll::Ready(Ok(true)) => {
                    self.stalled = None;
                    return Poll::Ready(Ok(self.half.has_ended()));
                }
                Poll::Ready(Ok(false)) => self.stalled = None,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(not_written(error))),
                Poll::Pending => {
                    let limit = || Box::pin(sleep(WRITE_TIMEOUT));
                    let stalled = self.stalled.get_or_insert_with(limit);
                    ready!(stalled.as_mut().poll(waking));
                    let error = Error::new(ErrorType::WriteTimedout);
                    return Poll::Ready(Err(error.into_down()));
                }
            }
        }
    }

    /// Waits for the client to reset the stream, or to leave.
    pub(crate) fn poll_reset(&mut self, waking: &mut Waking<'_>) -> Poll<Box<Error>> {
        let reset = ready!(self.half.poll_reset(waking));
        let why = match reset {
            Ok(reason) => format!("the client reset the stream: {reason}"),
            Err(error) => error.to_string(),
        };
        Poll::Ready(Error::explain(ErrorType::ConnectionClosed, why).into_down())
    }
}

fn not_written(error: h2::Error) -> Box<Error> {
    Error::because(ErrorType::WriteError, "writing to the client", error).into_down()
}
