//! One exchange on an HTTP/2 connection, as the exchange loop uses it.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Method, Request};
use pingora::Error;
use pingora::protocols::http::HttpTask;

use super::connection::Slot;
use crate::proxy::forward::response_head::is_bodiless;
use crate::proxy::request::send_half::SendHalf;

/// One exchange on an HTTP/2 connection.
pub(in crate::proxy::forward) struct Http2 {
    /// `None` until the head of the request was sent. Dropped before the slot: a stream that has
    /// not ended is reset, and takes room until then.
    stream: Option<Stream>,
    slot: Slot,
    method: Method,
}

struct Stream {
    id: u32,
    /// When it was opened, by the clock of its connection.
    begun: u64,
    request: SendHalf,
    response: Response,
}

/// How far the response has come.
enum Response {
    /// Interim responses, and the head.
    Head(ResponseFuture),
    /// `unreleased`: bytes that were read, and that the client has not taken. The upstream may send
    /// as many more once the next part is asked for.
    Body {
        body: RecvStream,
        unreleased: usize,
    },
    Complete,
}

impl Http2 {
    pub(in crate::proxy::forward) fn new(slot: Slot) -> Self {
        Self {
            stream: None,
            slot,
            method: Method::default(),
        }
    }

    /// Sends the head of the request; `last`: nothing follows it.
    pub(in crate::proxy::forward) fn write_head(
        &mut self,
        head: Request<()>,
        last: bool,
    ) -> pingora::Result<()> {
        self.method = head.method().clone();
        let mut sender = self.slot.connection().sender();
        // What is refused here has not been sent at all.
        let sent = sender.send_request(head, last);
        let (response, request) = sent.map_err(|error| self.slot.connection().unsent(error))?;
        self.stream = Some(Stream {
            id: request.stream_id().as_u32(),
            begun: self.slot.connection().now(),
            request: SendHalf::new(request, last),
            response: Response::Head(response),
        });
        Ok(())
    }

    /// Sends a part of the body. What was sent before must have gone.
    pub(in crate::proxy::forward) fn write_body(
        &mut self,
        part: Option<Bytes>,
        last: bool,
    ) -> pingora::Result<()> {
        let sent = match &mut self.stream {
            Some(stream) => stream.request.send(part.unwrap_or_default(), last),
            None => Ok(()),
        };
        sent.map_err(|error| self.failed(error))
    }

    /// Sends the last part of the body, and the trailers behind it.
    pub(in crate::proxy::forward) fn write_trailers(
        &mut self,
        part: Option<Bytes>,
        trailers: HeaderMap,
    ) -> pingora::Result<()> {
        self.write_body(part, false)?;
        let sent = match &mut self.stream {
            Some(stream) => stream.request.send_trailers(trailers),
            None => Ok(()),
        };
        sent.map_err(|error| self.failed(error))
    }

    pub(in crate::proxy::forward) fn is_flushed(&self) -> bool {
        let stream = self.stream.as_ref();
        stream.is_none_or(|stream| stream.request.is_flushed())
    }

    /// Waits until something of what waits has gone; whether that was all of it.
    pub(in crate::proxy::forward) fn poll_flush(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<pingora::Result<bool>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Ok(true));
        };
        let flushed = ready!(stream.request.poll_flush(context));
        Poll::Ready(flushed.map_err(|error| self.failed(error)))
    }

    /// The next part of the response: interim heads, the head, the body, trailers. May be dropped
    /// while it waits.
    pub(in crate::proxy::forward) async fn read(&mut self) -> pingora::Result<HttpTask> {
        let part = poll_fn(|context| match &mut self.stream {
            Some(stream) => stream.response.poll_part(&self.method, context),
            None => Poll::Ready(Ok(HttpTask::Done)),
        });
        part.await.map_err(|error| self.failed(error))
    }

    /// Ends the exchange: what has not ended by itself is reset.
    pub(in crate::proxy::forward) fn finish(mut self) {
        if let Some(stream) = &mut self.stream
            && !stream.request.has_ended()
        {
            // The response is complete, and nobody needs the rest of the request (RFC 9113 section
            // 8.1). Where it is not complete, dropping the stream cancels it.
            if matches!(stream.response, Response::Complete) {
                stream.request.reset(Reason::NO_ERROR);
            }
        }
    }

    fn failed(&self, error: h2::Error) -> Box<Error> {
        let stream = self.stream.as_ref();
        let (id, begun) = stream.map_or((0, 0), |stream| (stream.id, stream.begun));
        self.slot.connection().failed(id, begun, error)
    }
}

impl Response {
    fn poll_part(
        &mut self,
        method: &Method,
        context: &mut Context<'_>,
    ) -> Poll<Result<HttpTask, h2::Error>> {
        match self {
            Self::Head(response) => {
                if let Poll::Ready(Some(interim)) = response.poll_informational(context) {
                    let (interim, ()) = interim?.into_parts();
                    return Poll::Ready(Ok(HttpTask::Header(Box::new(interim.into()), false)));
                }
                let (head, body) = ready!(pin!(response).poll(context))?.into_parts();
                // What has no body ends with its head, whatever comes.
                let last = body.is_end_stream() || is_bodiless(method, head.status);
                *self = match last {
                    true => Self::Complete,
                    false => Self::Body {
                        body,
                        unreleased: 0,
                    },
                };
                Poll::Ready(Ok(HttpTask::Header(Box::new(head.into()), last)))
            }
            Self::Body { body, unreleased } => {
                let taken = std::mem::take(unreleased);
                if taken > 0 {
                    // An error comes again with the next part.
                    let _ = body.flow_control().release_capacity(taken);
                }
                if let Some(part) = ready!(body.poll_data(context)) {
                    let part = part?;
                    *unreleased = part.len();
                    let last = body.is_end_stream();
                    if last {
                        *self = Self::Complete;
                    }
                    return Poll::Ready(Ok(HttpTask::Body(Some(part), last)));
                }
                let trailers = ready!(body.poll_trailers(context))?;
                *self = Self::Complete;
                Poll::Ready(Ok(match trailers {
                    Some(trailers) => HttpTask::Trailer(Some(Box::new(trailers))),
                    None => HttpTask::Done,
                }))
            }
            Self::Complete => Poll::Ready(Ok(HttpTask::Done)),
        }
    }
}
