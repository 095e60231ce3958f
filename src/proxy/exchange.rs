//! One request on its way to an upstream, and its answer on the way back.
//!
//! Pingora would do this as well, in two halves with channels between them and room for a cache, at
//! a third of all that a request costs. Both ends are sessions of Pingora's nevertheless: what is a
//! head, where a body ends, and whether a connection can be used again is theirs to say.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header;
use pingora::protocols::Stream;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::{Error, ErrorType};
use pingora_proxy::Session;
use tokio::time::timeout;

use super::context::Context;
use super::upstream::Link;
use super::{Edge, answer, failure, head, respond, target};

/// Attempts for one request. Those that count are bounded per backend; this bounds how many dead
/// kept connections one request may meet.
const MAX_ATTEMPTS: usize = 16;
/// As many parts of an answer are written in one go, if they are there already.
const BATCH: usize = 4;
/// How long the upstream is not connected to while nothing of the body has come.
const BODY_PATIENCE: Duration = Duration::from_millis(100);

impl Edge {
    /// Forwards a request: to the upstream that was chosen for it, and to others while that fails
    /// and it may be sent again.
    pub(super) async fn forward(
        &self,
        session: &mut Session,
        ctx: &mut Context,
    ) -> pingora::Result<()> {
        await_body(session, ctx).await?;
        let mut attempts = 1;
        loop {
            match self.attempt(session, ctx).await {
                Err(error) if error.retry() && attempts < MAX_ATTEMPTS => attempts += 1,
                outcome => return outcome,
            }
        }
    }

    async fn attempt(&self, session: &mut Session, ctx: &mut Context) -> pingora::Result<()> {
        let (upstream, address) = loop {
            if ctx.moves_on {
                ctx.choose(&session.req_header().headers);
            }
            let upstream = ctx.backend().and_then(|backend| backend.upstream());
            let upstream = upstream.ok_or_else(|| {
                Error::explain(ErrorType::InternalError, "no http backend to try")
            })?;
            if let Some(address) = upstream.address() {
                break (upstream.clone(), address);
            }
            let host = upstream.url.host.clone();
            failure::count(ctx, "unresolved");
            ctx.blame(failure::UNRESOLVED);
            ctx.give_up();
            if failure::all_tried(ctx) {
                return Error::e_explain(ErrorType::Custom(failure::UNRESOLVED), host);
            }
        };
        ctx.upstream_address = Some(address);
        let (link, kept) = match self.connections.kept(&upstream, address) {
            Some(link) => (link, true),
            // In a box: most requests need no room for it.
            None => match Box::pin(self.connections.open(&upstream, address)).await {
                Ok(link) => (link, false),
                Err(error) => return Err(failure::not_connected(ctx, error)),
            },
        };
        let Link {
            stream,
            deadline,
            purpose,
            permit,
        } = link;
        ctx.begin(deadline.clone(), session.is_body_empty());
        let mut client = HttpSession::new(stream);
        client.write_timeout = Some(upstream.settings.read_timeout);
        let mut exchange = Exchange {
            upstream: client,
            asked: session.is_body_done(),
            answered: false,
            length: head::body_length(session),
            held: None,
            unsent: None,
        };
        let outcome = deadline.bound(exchange.run(session, ctx)).await;
        let outcome = outcome.unwrap_or_else(|| Err(failure::overdue(ctx)));
        if let Err(error) = outcome {
            return Err(failure::broken_off(session, ctx, error, kept));
        }
        if let Some(stream) = exchange.leftover().await {
            self.connections.keep(Link {
                stream,
                deadline,
                purpose,
                permit,
            });
        }
        Ok(())
    }
}

/// Waits for the first part of a body: until then, or for a moment, nobody upstream needs to know of
/// the request. Who switches protocols, or expects to be told to go on, has none to send yet.
async fn await_body(session: &mut Session, ctx: &mut Context) -> pingora::Result<()> {
    let head = session.req_header();
    let waits = session.is_upgrade_req() || head.headers.contains_key(header::EXPECT);
    if waits || session.is_body_done() {
        return Ok(());
    }
    // An attempt that fails leaves it to the next one.
    session.enable_retry_buffering();
    let mut reading = pin!(session.downstream_session.read_body_or_idle(false));
    // Mostly it has come with the head, and there is nothing to register a timer for.
    let part = match at_once(reading.as_mut()).await {
        Some(part) => part,
        None => match timeout(BODY_PATIENCE, reading).await {
            Ok(part) => part,
            Err(_) => return Ok(()),
        },
    };
    ctx.first_part = part.map_err(|error| error.into_down())?;
    Ok(())
}

/// What is there without waiting.
async fn at_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// An attempt under way.
struct Exchange {
    upstream: HttpSession,
    /// Whether all of the request was read.
    asked: bool,
    /// Whether all of the answer was written.
    answered: bool,
    /// How long the body is, if its head says so.
    length: Option<u64>,
    /// The end of the body by its length, when the client has not ended it yet: over HTTP/2 it
    /// could send more, or take all of it back.
    held: Option<Bytes>,
    /// Why the upstream did not get all of the request. It may have answered nevertheless.
    unsent: Option<Box<Error>>,
}

impl Exchange {
    async fn run(&mut self, session: &mut Session, ctx: &mut Context) -> pingora::Result<()> {
        let request = target::request(session, ctx, ctx.upstream())?;
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
            self.send(read, self.asked, false, ctx).await?;
        }
        while !(self.asked && self.answered) {
            tokio::select! {
                biased;
                part = self.upstream.read_response_task(), if !self.answered => {
                    self.receive(part, session, ctx).await?;
                }
                // Once the body is read, this waits for the client to leave.
                part = session.downstream_session.read_body_or_idle(self.asked), if self.unsent.is_none() => {
                    let part = part.map_err(|error| error.into_down())?;
                    let upgraded = session.was_upgraded();
                    self.answered |= part.is_none() && upgraded;
                    self.asked = part.is_none() || session.is_body_done();
                    self.send(part, self.asked, upgraded, ctx).await?;
                }
            }
        }
        let finished = session.as_mut().finish_body().await;
        if finished.is_err() || self.unsent.is_some() {
            session.set_keepalive(None);
        }
        if self.unsent.is_some() {
            respond::drain(session).await;
        }
        Ok(())
    }

    /// Sends a part of the body. What keeps the upstream from taking it ends the request's way, but
    /// not that of an answer.
    async fn send(
        &mut self,
        part: Option<Bytes>,
        last: bool,
        upgraded: bool,
        ctx: &mut Context,
    ) -> pingora::Result<()> {
        // An empty chunk would be the last one.
        let mut part = part.filter(|part| !part.is_empty());
        if !upgraded {
            ctx.count_body(part.as_ref().map_or(0, Bytes::len), last)?;
            if let Some(held) = self.held.take() {
                if part.is_some() {
                    let error = "request body over its content-length";
                    return Err(Error::explain(ErrorType::InvalidHTTPHeader, error).into_down());
                }
                part = Some(held);
            }
            if !last && self.length == Some(ctx.body_bytes) {
                self.held = part;
                return Ok(());
            }
        }
        if let Err(error) = self.write(part, last, upgraded).await {
            log::debug!("the upstream takes no more of the request: {error}");
            self.asked = true;
            self.unsent = Some(error.into_up());
        }
        Ok(())
    }

    async fn write(
        &mut self,
        part: Option<Bytes>,
        last: bool,
        upgraded: bool,
    ) -> pingora::Result<()> {
        if upgraded {
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

    /// Passes on a part of the answer, and what else has arrived by now.
    async fn receive(
        &mut self,
        first: pingora::Result<HttpTask>,
        session: &mut Session,
        ctx: &mut Context,
    ) -> pingora::Result<()> {
        let mut parts = Vec::with_capacity(BATCH);
        let mut next = Some(first);
        let mut end = false;
        while let Some(part) = next.take() {
            let part = match part {
                Ok(part) => self.judge(part, session, ctx)?,
                Err(error) => {
                    let error = self.unsent.take().unwrap_or(error).into_up();
                    if parts.is_empty() {
                        return Err(error);
                    }
                    HttpTask::Failed(error)
                }
            };
            end = part.is_end();
            parts.push(part);
            if !end && parts.len() < BATCH {
                next = at_once(pin!(self.upstream.read_response_task())).await;
            }
        }
        let upgraded = session.was_upgraded();
        ctx.await_client();
        let written = session.downstream_session.response_duplex_vec(parts);
        self.answered = written.await? || end;
        ctx.client_took();
        if !upgraded && session.was_upgraded() {
            // From now on, the client may send what it likes.
            self.asked = false;
        }
        self.asked |= session.is_body_done();
        Ok(())
    }

    /// Takes note of a part of the answer, and makes it what the client gets.
    fn judge(
        &self,
        mut part: HttpTask,
        session: &Session,
        ctx: &mut Context,
    ) -> pingora::Result<HttpTask> {
        if let HttpTask::Header(head, end) = &mut part {
            let switches = session.is_upgrade_req() && self.upstream.is_upgrade_req();
            answer::pass(head, *end, switches, &session.req_header().method, ctx)?;
        } else if part.is_end() {
            ctx.rest();
        }
        Ok(part)
    }

    /// The connection, if it can be used for another request.
    async fn leftover(mut self) -> Option<Stream> {
        if self.unsent.is_some() {
            return None;
        }
        self.upstream.respect_keepalive();
        self.upstream.reuse().await
    }
}
