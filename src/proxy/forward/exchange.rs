//! One exchange with an upstream: what the client sends goes to the upstream, and what that answers
//! to the client. Neither way waits for the other.

mod ended;
mod response;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as Waking, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, StatusCode, Version};
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::{Error, ErrorType};
use pingora_proxy::Session;

use super::attempt::Attempt;
use super::pool::{Acquired, PooledConnection};
use super::upstream_stream::UpstreamStream;
use super::websocket::WebSocket;
use super::{connection_auth, error, trailers, upstream_request};
use crate::listener::Connection;
use crate::proxy::request::context::Context;
use crate::proxy::request::head;
use crate::proxy::streams::{OpenStream, OpenStreams};

/// An exchange under way.
pub(super) struct Exchange<'a> {
    pub(super) attempt: &'a mut Attempt,
    upstream: UpstreamStream,
    /// Whether nothing more of the request is to be read.
    request_done: bool,
    /// Whether all of the request was written, if only into the outbox.
    request_written: bool,
    /// Whether the rest of the request is not sent any more.
    pub(super) request_abandoned: bool,
    /// How long the body is, if its head says so.
    content_length: Option<u64>,
    /// The end of the body by its length, when the client has not ended it yet: over HTTP/2 it
    /// could send more, or take all of it back.
    pending_final_chunk: Option<Bytes>,
    /// Why the upstream did not get all of the request. It may have answered nevertheless.
    send_error: Option<Box<Error>>,
    /// Whether nothing more can be read from the client, though its request has not ended.
    client_unreadable: bool,
    /// Whether the client has ended the tunnel.
    tunnel_closed: bool,
    /// Whether all of the response was read.
    response_read: bool,
    /// The trailers of the response, as lines of HTTP/1.1, for a client that takes them so.
    response_trailers: Option<Bytes>,
    /// Whether a part of the response waits for the client.
    response_blocked: bool,
    /// Whether all of the response was written.
    response_done: bool,
    /// Whether the response is no success (300 or above): nobody waits for the rest of the request.
    not_successful: bool,
    /// How long the connection has to show, before another request gets it, that no body comes
    /// behind a response that has none.
    pub(super) trial: Duration,
    upgraded: bool,
    streams: &'a Arc<OpenStreams>,
    /// Set if the response ends when a credential does that let the request in.
    open_stream: Option<OpenStream>,
    /// Whether that is found out once a call of gRPC has gone on for a while.
    may_be_streaming: bool,
    /// Set in such a stream, if it is one.
    websocket: Option<Box<WebSocket>>,
    /// Whether the connection is, or may be, authenticated as this client.
    pub(super) authenticates_connection: bool,
    /// Which way was polled first the last time.
    response_first: bool,
}

/// What happens next.
enum Event {
    /// The upstream has sent a part of its response.
    ResponsePart(pingora::Result<HttpTask>),
    /// The client has taken what waited for it; whether that was the end.
    ResponseWritten(pingora::Result<bool>),
    /// The client has sent a part of its request.
    RequestPart(pingora::Result<Option<Bytes>>),
    /// The upstream has taken something of what waits for it.
    RequestFlushed(pingora::Result<bool>),
    /// A credential has ended that let the request in.
    CredentialEnded,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(
        connection: Acquired,
        session: &mut Session,
        attempt: &'a mut Attempt,
        streams: &'a Arc<OpenStreams>,
    ) -> Self {
        Self {
            upstream: UpstreamStream::new(connection, session, &attempt.upstream),
            attempt,
            request_done: session.is_body_done(),
            request_written: false,
            request_abandoned: false,
            content_length: head::body_length(session),
            pending_final_chunk: None,
            send_error: None,
            client_unreadable: false,
            tunnel_closed: false,
            response_read: false,
            response_trailers: None,
            response_blocked: false,
            response_done: false,
            not_successful: false,
            trial: Duration::ZERO,
            upgraded: false,
            streams,
            open_stream: None,
            may_be_streaming: false,
            websocket: None,
            authenticates_connection: false,
            response_first: false,
        }
    }

    /// From the head of the request to the end of the response.
    pub(super) async fn run(
        &mut self,
        session: &mut Session,
        ctx: &mut Context,
    ) -> pingora::Result<()> {
        // A request that goes on while its response runs does not cost the client its connection;
        // one that is abandoned does.
        session.set_close_on_response_before_downstream_finish(false);
        let upstream = &*self.attempt.upstream;
        let version = self.upstream.version();
        let request = upstream_request::build(session, ctx, Some(upstream), version)?;
        self.check_authentication(&request.headers, header::AUTHORIZATION, ctx)?;
        let (upstream, last) = (&self.attempt.upstream, session.is_body_empty());
        pin!(self.upstream.write_head(request, last, upstream)).await?;
        // What was read of the body before, by the first attempt or for it.
        let read = match ctx.body.first_part.take() {
            Some(part) => Some(part),
            None => session.get_retry_buffer(),
        };
        if session.is_body_empty() {
            self.request_done = true;
        } else {
            session.enable_retry_buffering();
        }
        if self.request_done || read.is_some() {
            pin!(self.send(read, self.request_done, session, ctx)).await?;
        }
        self.watch_call(ctx);
        while !(self.request_done && self.response_done) {
            if self.request_done {
                ctx.body.rate = None;
            }
            let event = self.next_event(session, ctx).await;
            match event {
                Event::ResponsePart(part) => pin!(self.pass_on(part, session, ctx)).await?,
                Event::ResponseWritten(end) => {
                    self.response_done |= end? || self.response_read;
                    self.response_blocked = false;
                    self.after_write(session);
                    self.await_next();
                }
                Event::RequestPart(part) => pin!(self.take(part, session, ctx)).await?,
                Event::RequestFlushed(Ok(_)) => self.await_next(),
                Event::RequestFlushed(Err(error)) => self.cannot_send(error, ctx),
                Event::CredentialEnded => return Err(pin!(self.end_stream(session)).await),
            }
            let request_over = self.request_abandoned || self.upstream.is_flushed();
            self.response_done |= self.tunnel_closed && request_over;
        }
        if !pin!(self.finish_response(session)).await || self.request_abandoned {
            session.set_keepalive(None);
        }
        Ok(())
    }

    /// Takes note of an authentication of the connection. An error: it is one of a connection that
    /// others use too.
    fn check_authentication(
        &mut self,
        headers: &HeaderMap,
        name: HeaderName,
        ctx: &Context,
    ) -> pingora::Result<()> {
        if !connection_auth::authenticates(headers, name.clone()) {
            return Ok(());
        }
        self.authenticates_connection = true;
        // A challenge over HTTP/2 is for a request of its own; who answers it gets a connection.
        let answered = name == header::AUTHORIZATION && self.upstream.version() == Version::HTTP_2;
        match ctx.connection.is_shared() || answered {
            true => Error::err(ErrorType::Custom(error::SHARED)),
            false => Ok(()),
        }
    }

    /// Waits for what happens next on either way.
    async fn next_event(&mut self, session: &mut Session, ctx: &mut Context) -> Event {
        // By turns, as long as both have something to do: none may starve the other.
        self.response_first = self.request_written && !self.upgraded || !self.response_first;
        poll_fn(|waking| {
            if self.poll_credential_ended(session, ctx, waking).is_ready() {
                return Poll::Ready(Event::CredentialEnded);
            }
            let first = match self.response_first {
                true => self.poll_response(session, ctx, waking),
                false => self.poll_request(session, ctx, waking),
            };
            match (first, self.response_first) {
                (Poll::Pending, true) => self.poll_request(session, ctx, waking),
                (Poll::Pending, false) => self.poll_response(session, ctx, waking),
                (event, _) => event,
            }
        })
        .await
    }

    fn poll_response(
        &mut self,
        session: &mut Session,
        ctx: &mut Context,
        waking: &mut Waking<'_>,
    ) -> Poll<Event> {
        if let ServerSession::H1(client) = &mut *session.downstream_session
            && client.has_pending_proxy_tasks()
        {
            let writing = pin!(client.write_proxy_tasks());
            return writing.poll(waking).map(Event::ResponseWritten);
        }
        if let Some(client) = &mut ctx.client_stream
            && !client.is_flushed()
        {
            return client.poll_flush(waking).map(Event::ResponseWritten);
        }
        if self.response_read || self.response_done || self.tunnel_closed {
            return Poll::Pending;
        }
        pin!(self.upstream.read())
            .poll(waking)
            .map(Event::ResponsePart)
    }

    fn poll_request(
        &mut self,
        session: &mut Session,
        ctx: &mut Context,
        waking: &mut Waking<'_>,
    ) -> Poll<Event> {
        if !self.request_abandoned && !self.upstream.is_flushed() {
            if let Poll::Ready(flushed) = self.upstream.poll_flush(waking) {
                return Poll::Ready(Event::RequestFlushed(flushed));
            }
            return poll_left(session, ctx, waking);
        }
        if self.client_unreadable {
            return Poll::Pending;
        }
        // Once the body is read, this waits for the client to leave. What is not sent any more is
        // read nevertheless: many clients read no response before they have sent all.
        let over = self.request_done && !self.request_abandoned || session.is_body_done();
        if over && let Some(client) = &mut ctx.client_stream {
            return client
                .poll_reset(waking)
                .map(|error| Event::RequestPart(Err(error)));
        }
        let told = session.response_written();
        let told = told.is_some_and(|interim| interim.status == StatusCode::CONTINUE);
        let reading = pin!(session.downstream_session.read_body_or_idle(over));
        let part = reading.poll(waking);
        let part = match &mut ctx.body.rate {
            Some(rate) => rate.pace(part, !self.attempt.head_has_arrived(), told, waking),
            None => part,
        };
        part.map(Event::RequestPart)
    }

    /// Whether the request was sent whole.
    fn request_is_sent(&self) -> bool {
        self.request_written && self.upstream.is_flushed()
    }

    /// Sets the time for what is awaited now.
    fn await_next(&mut self) {
        let flushed = self.upstream.is_flushed();
        self.attempt
            .set_request_state(self.request_written && flushed, !flushed);
        if !self.response_blocked {
            // What the client takes has a time of its own.
            self.attempt.await_next();
        }
    }

    /// Sends no more of the request.
    fn abandon_request(&mut self, session: &mut Session) {
        self.request_done = true;
        self.request_abandoned = true;
        self.pending_final_chunk = None;
        session.set_keepalive(None);
    }

    /// What keeps the upstream from taking the request ends the request's way, but not that of a
    /// response.
    fn cannot_send(&mut self, error: Box<Error>, ctx: &Context) {
        log::debug!(
            "request {}: the upstream takes no more of the request: {error}",
            ctx.request_id()
        );
        self.request_done = true;
        self.request_abandoned = true;
        self.send_error = Some(error.into_up());
        self.attempt.mark_send_failed();
        if !self.attempt.head_has_arrived() && !self.response_blocked {
            self.attempt.await_next();
        }
    }

    /// Takes what the client has sent.
    async fn take(
        &mut self,
        part: pingora::Result<Option<Bytes>>,
        session: &mut Session,
        ctx: &Context,
    ) -> pingora::Result<()> {
        if self.request_abandoned {
            if session.is_http2()
                && let Err(error) = part
            {
                // It has reset the stream: nobody reads the response.
                return Err(error.into_down());
            }
            self.client_unreadable = part.is_err();
            self.response_done |= self.upgraded && matches!(part, Ok(None));
            return Ok(());
        }
        let part = part.map_err(|error| error.into_down())?;
        self.request_done = part.is_none() || session.is_body_done();
        self.tunnel_closed = part.is_none() && self.upgraded;
        if let (Some(websocket), Some(part)) = (&mut self.websocket, &part) {
            websocket.from_client.read(part);
        }
        pin!(self.send(part, self.request_done, session, ctx)).await
    }

    /// Sends a part of the body.
    async fn send(
        &mut self,
        part: Option<Bytes>,
        last: bool,
        session: &Session,
        ctx: &Context,
    ) -> pingora::Result<()> {
        // An empty chunk would be the last one.
        let mut part = part.filter(|part| !part.is_empty());
        if !self.upgraded {
            let total = self
                .attempt
                .count_body(part.as_ref().map_or(0, Bytes::len))?;
            if let Some(pending) = self.pending_final_chunk.take() {
                if part.is_some() {
                    let error = "request body over its content-length";
                    return Err(Error::explain(ErrorType::InvalidHTTPHeader, error).into_down());
                }
                part = Some(pending);
            }
            if !last && self.content_length == Some(total) {
                self.pending_final_chunk = part;
                self.await_next();
                return Ok(());
            }
        }
        let trailers = match self.upstream {
            UpstreamStream::Http2(_) if last => trailers::of_request(session, ctx),
            _ => None,
        };
        let sent = match (&mut self.upstream, trailers) {
            (UpstreamStream::Http2(upstream), Some(trailers)) => {
                upstream.write_trailers(part, trailers)
            }
            (upstream, _) => pin!(upstream.write_body(part, last, self.upgraded)).await,
        };
        match sent {
            Ok(()) => {
                self.request_written |= last;
                self.await_next();
            }
            Err(error) => self.cannot_send(error, ctx),
        }
        Ok(())
    }

    /// Takes note of what the client has got.
    fn after_write(&mut self, session: &mut Session) {
        if !session.was_upgraded() {
            return;
        }
        if !self.upgraded {
            self.upgraded = true;
            // From now on, the client may send what it likes.
            self.request_done = false;
            if let Some(connection) = Connection::of(session.digest()) {
                connection.state().switch_protocols();
            }
        }
        self.request_done |= session.is_body_done();
    }

    /// Ends an exchange that has run: the connection, if it can be used for another request.
    pub(super) async fn finish(self) -> Option<PooledConnection> {
        let sent = self.request_is_sent() && !self.request_abandoned;
        self.upstream.finish(sent).await
    }
}

/// Waits for a client over HTTP/2 to reset its stream, while nothing of its request is read.
fn poll_left(session: &mut Session, ctx: &mut Context, waking: &mut Waking<'_>) -> Poll<Event> {
    if !session.is_http2() {
        return Poll::Pending;
    }
    if let Some(client) = &mut ctx.client_stream {
        let left = client.poll_reset(waking);
        return left.map(|error| Event::RequestPart(Err(error)));
    }
    let left = pin!(session.downstream_session.read_body_or_idle(true)).poll(waking);
    left.map(Event::RequestPart)
}
