//! An attempt under way: what the client sends goes to the upstream, and what that answers to the
//! client. Neither way waits for the other.

mod response;

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::{Context as Waking, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, StatusCode};
use pingora::protocols::Stream;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::{Error, ErrorType};
use pingora_proxy::Session;

use super::duplex::{self, Outbox};
use super::{connection_auth, failure, target};
use crate::listener::Connection;
use crate::proxy::request::context::Context;
use crate::proxy::request::head;

/// An attempt under way.
pub(crate) struct Exchange {
    upstream: HttpSession,
    /// What waits for the upstream; `None`: the request is no more than its head.
    outbox: Option<Outbox>,
    /// Whether nothing more of the request is to be read.
    asked: bool,
    /// Whether all of the request was written, if only into the outbox.
    written: bool,
    /// Whether the rest of the request is not sent any more.
    pub(crate) stopped: bool,
    /// Whether nothing more comes from the client, though its request has not ended.
    deaf: bool,
    /// Whether the client has ended the tunnel.
    leaves: bool,
    /// Whether all of the answer was read.
    ended: bool,
    /// Whether a part of the answer waits for the client.
    writing: bool,
    /// Whether all of the answer was written.
    answered: bool,
    upgraded: bool,
    /// Whether the answer is one after which nobody waits for the rest of the request.
    refused: bool,
    /// Whether the connection is, or may be, authenticated as this client.
    pub(crate) binds: bool,
    /// Whether the upstream closes the connection behind its answer.
    closes: bool,
    /// Whether the answer is one without a body, behind which some send one.
    pub(crate) suspicious: bool,
    /// How long the body is, if its head says so.
    length: Option<u64>,
    /// The end of the body by its length, when the client has not ended it yet: over HTTP/2 it
    /// could send more, or take all of it back.
    held: Option<Bytes>,
    /// Why the upstream did not get all of the request. It may have answered nevertheless.
    unsent: Option<Box<Error>>,
    turn: bool,
}

/// What happens next.
enum Event {
    /// The upstream has sent a part of its answer.
    Part(pingora::Result<HttpTask>),
    /// The client has taken what waited for it; whether that was the end.
    Written(pingora::Result<bool>),
    /// The client has sent a part of its request.
    Body(pingora::Result<Option<Bytes>>),
    /// The upstream has taken something of what waits for it.
    Taken(io::Result<bool>),
}

impl Exchange {
    pub(crate) fn new(stream: Stream, session: &mut Session, patience: Duration) -> Self {
        // A request that is no more than its head is in nobody's way.
        let goes_on = !session.is_body_empty() || session.is_upgrade_req();
        let (stream, outbox) = if goes_on {
            let (stream, outbox) = duplex::split(stream);
            (Box::new(stream) as Stream, Some(outbox))
        } else {
            (stream, None)
        };
        let mut upstream = HttpSession::new(stream);
        upstream.write_timeout = Some(patience);
        Self {
            upstream,
            outbox,
            asked: session.is_body_done(),
            written: false,
            stopped: false,
            deaf: false,
            leaves: false,
            ended: false,
            writing: false,
            answered: false,
            upgraded: false,
            refused: false,
            binds: false,
            closes: false,
            suspicious: false,
            length: head::body_length(session),
            held: None,
            unsent: None,
            turn: false,
        }
    }

    /// From the head of the request to the end of the answer.
    pub(crate) async fn run(
        &mut self,
        session: &mut Session,
        ctx: &mut Context,
    ) -> pingora::Result<()> {
        let request = target::request(session, ctx, ctx.upstream())?;
        self.authenticate(&request.headers, header::AUTHORIZATION, ctx)?;
        let written = self.upstream.write_request_header(Box::new(request)).await;
        written.map_err(|error| error.into_up())?;
        // What was read of the body before, by the first attempt or for it.
        let read = match ctx.first_part.take() {
            Some(part) => Some(part),
            None => session.get_retry_buffer(),
        };
        if session.is_body_empty() {
            self.asked = true;
        } else {
            session.enable_retry_buffering();
        }
        if self.asked || read.is_some() {
            self.send(read, self.asked, ctx).await?;
        }
        while !(self.asked && self.answered) {
            if self.asked {
                ctx.body_rate = None;
            }
            match self.next(session, ctx).await {
                Event::Part(part) => self.receive(part, session, ctx).await?,
                Event::Written(end) => {
                    self.answered |= end?;
                    self.writing = false;
                    self.wrote(session);
                    self.await_next(ctx);
                }
                Event::Body(part) => self.take(part, session, ctx).await?,
                Event::Taken(Ok(_)) => self.await_next(ctx),
                Event::Taken(Err(error)) => {
                    let broken = Error::because(ErrorType::WriteError, "sending the body", error);
                    self.cannot_send(broken, ctx);
                }
            }
            self.answered |= self.leaves && (self.stopped || self.is_taken());
        }
        let finished = session.as_mut().finish_body().await;
        if finished.is_err() || self.stopped {
            session.set_keepalive(None);
        }
        Ok(())
    }

    /// Takes note of an authentication of the connection. An error: it is one of a connection that
    /// others use too.
    fn authenticate(
        &mut self,
        headers: &HeaderMap,
        name: HeaderName,
        ctx: &Context,
    ) -> pingora::Result<()> {
        if !connection_auth::authenticates(headers, name) {
            return Ok(());
        }
        self.binds = true;
        match ctx.shares_connection() {
            true => Error::err(ErrorType::Custom(failure::SHARED)),
            false => Ok(()),
        }
    }

    /// Waits for what happens next on either way.
    async fn next(&mut self, session: &mut Session, ctx: &mut Context) -> Event {
        // By turns, as long as both have something to do: none may starve the other.
        self.turn = self.written && !self.upgraded || !self.turn;
        poll_fn(|waking| {
            let first = match self.turn {
                true => self.poll_answer(session, waking),
                false => self.poll_request(session, ctx, waking),
            };
            match (first, self.turn) {
                (Poll::Pending, true) => self.poll_request(session, ctx, waking),
                (Poll::Pending, false) => self.poll_answer(session, waking),
                (event, _) => event,
            }
        })
        .await
    }

    fn poll_answer(&mut self, session: &mut Session, waking: &mut Waking<'_>) -> Poll<Event> {
        if let ServerSession::H1(client) = &mut *session.downstream_session
            && client.has_pending_proxy_tasks()
        {
            let writing = pin!(client.write_proxy_tasks());
            return writing.poll(waking).map(Event::Written);
        }
        if self.ended || self.answered || self.leaves {
            return Poll::Pending;
        }
        let reading = pin!(self.upstream.read_response_task());
        reading.poll(waking).map(Event::Part)
    }

    fn poll_request(
        &mut self,
        session: &mut Session,
        ctx: &mut Context,
        waking: &mut Waking<'_>,
    ) -> Poll<Event> {
        if let Some(outbox) = self.outbox.as_ref().filter(|_| !self.stopped)
            && !outbox.is_empty()
        {
            return outbox.poll_take(waking).map(Event::Taken);
        }
        if self.deaf {
            return Poll::Pending;
        }
        // Once the body is read, this waits for the client to leave. What is not sent any more is
        // read nevertheless: many clients read no answer before they have sent all.
        let over = self.asked && !self.stopped || session.is_body_done();
        let told = session.response_written();
        let told = told.is_some_and(|interim| interim.status == StatusCode::CONTINUE);
        let reading = pin!(session.downstream_session.read_body_or_idle(over));
        let part = reading.poll(waking);
        let part = match &mut ctx.body_rate {
            Some(rate) => rate.pace(part, !ctx.answered, told, waking),
            None => part,
        };
        part.map(Event::Body)
    }

    /// Whether the upstream has taken all that was written so far.
    fn is_taken(&self) -> bool {
        self.outbox.as_ref().is_none_or(Outbox::is_empty)
    }

    /// Whether the request was sent whole.
    fn is_sent(&self) -> bool {
        self.written && self.is_taken()
    }

    /// Sets the time for what is awaited now.
    fn await_next(&self, ctx: &mut Context) {
        ctx.taking = !self.is_taken();
        ctx.sent = self.written && !ctx.taking;
        if self.writing {
            // What the client takes has a time of its own.
        } else if ctx.answered {
            ctx.await_bytes();
        } else if ctx.taking {
            ctx.await_taking();
        } else if ctx.sent {
            ctx.await_head();
        } else {
            ctx.await_body();
        }
    }

    /// Sends no more of the request.
    fn stop(&mut self, session: &mut Session) {
        self.asked = true;
        self.stopped = true;
        self.held = None;
        session.set_keepalive(None);
    }

    /// What keeps the upstream from taking the request ends the request's way, but not that of an
    /// answer.
    fn cannot_send(&mut self, error: Box<Error>, ctx: &mut Context) {
        log::debug!("the upstream takes no more of the request: {error}");
        self.asked = true;
        self.stopped = true;
        self.unsent = Some(error.into_up());
        ctx.taking = true;
        if !ctx.answered && !self.writing {
            ctx.await_taking();
        }
    }

    /// Takes note of what the client has sent.
    async fn take(
        &mut self,
        part: pingora::Result<Option<Bytes>>,
        session: &mut Session,
        ctx: &mut Context,
    ) -> pingora::Result<()> {
        if self.stopped {
            self.deaf = part.is_err();
            self.answered |= self.upgraded && matches!(part, Ok(None));
            return Ok(());
        }
        let part = part.map_err(|error| error.into_down())?;
        self.asked = part.is_none() || session.is_body_done();
        self.leaves = part.is_none() && self.upgraded;
        self.send(part, self.asked, ctx).await
    }

    /// Sends a part of the body.
    async fn send(
        &mut self,
        part: Option<Bytes>,
        last: bool,
        ctx: &mut Context,
    ) -> pingora::Result<()> {
        // An empty chunk would be the last one.
        let mut part = part.filter(|part| !part.is_empty());
        if !self.upgraded {
            ctx.count_body(part.as_ref().map_or(0, Bytes::len))?;
            if let Some(held) = self.held.take() {
                if part.is_some() {
                    let error = "request body over its content-length";
                    return Err(Error::explain(ErrorType::InvalidHTTPHeader, error).into_down());
                }
                part = Some(held);
            }
            if !last && self.length == Some(ctx.body_bytes) {
                self.held = part;
                self.await_next(ctx);
                return Ok(());
            }
        }
        match self.write(part, last).await {
            Ok(()) => {
                self.written |= last;
                self.await_next(ctx);
            }
            Err(error) => self.cannot_send(error, ctx),
        }
        Ok(())
    }

    async fn write(&mut self, part: Option<Bytes>, last: bool) -> pingora::Result<()> {
        if self.upgraded {
            self.upstream.maybe_upgrade_body_writer();
        }
        if let Some(part) = part {
            self.upstream.write_body(&part).await?;
        }
        if last {
            self.upstream.finish_body().await?;
        }
        Ok(())
    }

    /// Takes note of what the client has got.
    fn wrote(&mut self, session: &mut Session) {
        if !session.was_upgraded() {
            return;
        }
        if !self.upgraded {
            self.upgraded = true;
            // From now on, the client may send what it likes.
            self.asked = false;
            if let Some(connection) = Connection::of(session.digest()) {
                connection.progress().switches_protocols();
            }
        }
        self.asked |= session.is_body_done();
    }

    /// The connection, if it can be used for another request.
    pub(crate) async fn leftover(mut self) -> Option<Stream> {
        if !self.is_sent() || self.stopped || self.closes {
            return None;
        }
        self.upstream.respect_keepalive();
        let stream = self.upstream.reuse().await?;
        match self.outbox {
            Some(outbox) => {
                // The session's half of it.
                drop(stream);
                outbox.into_stream()
            }
            None => Some(stream),
        }
    }
}
