//! What goes out on one HTTP/2 stream, a request's to an upstream or a response's to a client: held
//! here while its window, or the connection, has no room.

use std::fmt;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::HeaderMap;

/// The sending half of a stream.
pub(crate) struct SendHalf {
    stream: SendStream<Bytes>,
    /// What waits for room.
    waiting: Bytes,
    /// What ends the stream behind `waiting`.
    end: Option<End>,
    /// Whether the end was sent.
    ended: bool,
}

enum End {
    Data,
    Trailers(HeaderMap),
}

impl fmt::Debug for SendHalf {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SendHalf")
            .field("waiting", &self.waiting.len())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl SendHalf {
    /// Of a stream whose head was sent, with END_STREAM if it `ended` with that.
    pub(crate) fn new(stream: SendStream<Bytes>, ended: bool) -> Self {
        Self {
            stream,
            waiting: Bytes::new(),
            end: None,
            ended,
        }
    }

    /// Sends a part; what there is no room for waits. What was sent before must have gone: see
    /// [`Self::is_flushed`].
    pub(crate) fn send(&mut self, part: Bytes, last: bool) -> Result<(), h2::Error> {
        if self.ended {
            return Ok(());
        }
        debug_assert!(self.waiting.is_empty(), "one part at a time");
        if !part.is_empty() {
            self.stream.reserve_capacity(part.len());
        }
        self.waiting = part;
        self.end = last.then_some(End::Data);
        self.send_what_fits(self.stream.capacity())
    }

    /// Sends trailers behind what was sent, and with them the end.
    pub(crate) fn send_trailers(&mut self, trailers: HeaderMap) -> Result<(), h2::Error> {
        if self.ended {
            return Ok(());
        }
        self.end = Some(End::Trailers(trailers));
        self.send_what_fits(self.stream.capacity())
    }

    /// Whether nothing waits for room.
    pub(crate) fn is_flushed(&self) -> bool {
        self.waiting.is_empty() && self.end.is_none()
    }

    /// Whether all that was to be sent was sent, the end included.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Waits until something of what waits has gone; whether that was all of it.
    pub(crate) fn poll_flush(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<bool, h2::Error>> {
        let mut room = self.stream.capacity();
        if room == 0 && !self.waiting.is_empty() {
            room = match ready!(self.stream.poll_capacity(context)) {
                Some(room) => room?,
                None => return Poll::Ready(Err(Reason::STREAM_CLOSED.into())),
            };
        }
        self.send_what_fits(room)?;
        Poll::Ready(Ok(self.is_flushed()))
    }

    fn send_what_fits(&mut self, room: usize) -> Result<(), h2::Error> {
        let part = self.waiting.split_to(room.min(self.waiting.len()));
        let rest = !self.waiting.is_empty();
        match self.end.take_if(|_| !rest) {
            Some(End::Data) => {
                self.ended = true;
                self.stream.send_data(part, true)
            }
            Some(End::Trailers(trailers)) => {
                self.ended = true;
                if !part.is_empty() {
                    self.stream.send_data(part, false)?;
                }
                self.stream.send_trailers(trailers)
            }
            None if part.is_empty() => Ok(()),
            None => self.stream.send_data(part, false),
        }
    }

    /// Waits for the other side to reset the stream.
    pub(crate) fn poll_reset(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Reason, h2::Error>> {
        self.stream.poll_reset(context)
    }

    pub(crate) fn reset(&mut self, reason: Reason) {
        self.stream.send_reset(reason);
    }
}
