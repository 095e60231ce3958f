//! The way of the response: from the upstream to the client.

use std::pin::pin;

use http::{HeaderMap, header};
use pingora::Error;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora_proxy::Session;

use super::Exchange;
use crate::listener::Connection;
use crate::proxy::forward::response_head::{self, FilteredHead};
use crate::proxy::forward::upstream_stream::UpstreamStream;
use crate::proxy::forward::{error, trailers};
use crate::proxy::request::body::now_or_never;
use crate::proxy::request::client_stream;
use crate::proxy::request::context::Context;
use crate::proxy::request::header_rules;

/// As many parts of a response are written in one go, if they are there already.
const BATCH: usize = 4;

impl Exchange<'_> {
    /// Passes on a part of the response, and what else has arrived by now.
    pub(super) async fn pass_on(
        &mut self,
        first: pingora::Result<HttpTask>,
        session: &mut Session,
        ctx: &mut Context,
    ) -> pingora::Result<()> {
        if session.is_http2() {
            return pin!(self.pass_on_http2(first, session, ctx)).await;
        }
        let mut parts = Vec::with_capacity(BATCH);
        let mut next = Some(first);
        while let Some(part) = next.take() {
            match part {
                Ok(part) => {
                    self.response_read = part.is_end();
                    parts.extend(self.filter(part, session, ctx)?);
                }
                Err(error) => {
                    let error = self.cause_of(error);
                    if parts.is_empty() {
                        return Err(error);
                    }
                    parts.push(HttpTask::Failed(error));
                    break;
                }
            }
            if !self.response_read && parts.len() < BATCH {
                next = now_or_never(pin!(self.upstream.read())).await;
            }
        }
        let sent = self.request_is_sent();
        self.abandon_if_answered(session);
        if parts.is_empty() {
            self.response_done |= self.response_read;
            return Ok(());
        }
        self.attempt.suspend();
        if sent && !self.upgraded && self.open_stream.is_none() {
            // Nothing else is to be done meanwhile.
            let written = session.downstream_session.response_duplex_vec(parts);
            self.response_done = written.await? || self.response_read;
            self.attempt.resume();
            self.after_write(session);
            return Ok(());
        }
        if let ServerSession::H1(client) = &mut *session.downstream_session {
            self.response_blocked = true;
            parts
                .into_iter()
                .for_each(|part| client.send_proxy_task(part));
        }
        Ok(())
    }

    /// The same for a client of HTTP/2: each part goes out as far as its stream has room.
    async fn pass_on_http2(
        &mut self,
        first: pingora::Result<HttpTask>,
        session: &mut Session,
        ctx: &mut Context,
    ) -> pingora::Result<()> {
        let (mut next, mut parts) = (Some(first), 0);
        while let Some(part) = next.take() {
            let part = part.map_err(|error| self.cause_of(error))?;
            self.response_read = part.is_end();
            if let Some(part) = self.filter(part, session, ctx)? {
                let written = client_stream::write(&mut ctx.client_stream, part, session);
                written.map_err(|error| error.into_down())?;
            }
            parts += 1;
            let client = ctx.client_stream.as_ref();
            self.response_blocked = client.is_some_and(|client| !client.is_flushed());
            if !self.response_read && !self.response_blocked && parts < BATCH {
                next = now_or_never(pin!(self.upstream.read())).await;
            }
        }
        self.abandon_if_answered(session);
        match self.response_blocked {
            true => self.attempt.suspend(),
            false => {
                self.response_done = self.response_read;
                self.attempt.resume();
            }
        }
        Ok(())
    }

    /// Sends no more of a request that the upstream has answered.
    fn abandon_if_answered(&mut self, session: &mut Session) {
        let answered =
            self.response_read || self.not_successful && !self.upstream.sends_on_after_failure();
        if self.request_abandoned || answered && !self.request_is_sent() {
            self.abandon_request(session);
        }
    }

    /// Why no more of the response can be read: over HTTP/1.1, because the connection broke when
    /// the request was sent on it.
    fn cause_of(&mut self, error: Box<Error>) -> Box<Error> {
        let first = self.send_error.take();
        let first = first.filter(|_| !matches!(self.upstream, UpstreamStream::Http2(_)));
        first.unwrap_or(error).into_up()
    }

    /// Makes a part of the response what the client gets; `None`: it gets nothing of it.
    fn filter(
        &mut self,
        mut part: HttpTask,
        session: &mut Session,
        ctx: &mut Context,
    ) -> pingora::Result<Option<HttpTask>> {
        if part.is_end() && !matches!(part, HttpTask::Header(..)) {
            self.attempt.mark_response_complete();
        }
        let (head, end) = match part {
            HttpTask::Header(ref mut head, end) => (head, end),
            HttpTask::Trailer(trailers) => return self.filter_trailers(trailers, session, ctx),
            HttpTask::UpgradedBody(Some(ref bytes), _) => {
                if let Some(websocket) = &mut self.websocket {
                    websocket.from_upstream.read(bytes);
                }
                return Ok(Some(part));
            }
            _ => return Ok(Some(part)),
        };
        self.upstream
            .check_head(head)
            .map_err(error::invalid_response)?;
        self.check_authentication(&head.headers, header::WWW_AUTHENTICATE, ctx)?;
        self.trial = response_head::trial_behind(&session.req_header().method, head);
        self.not_successful = head.status.as_u16() >= 300;
        let switches = session.is_upgrade_req() && self.upstream.asked_for_upgrade();
        let request = session.req_header();
        match response_head::filter_response(head, end, switches, request, self.attempt, ctx)? {
            FilteredHead::Dropped => return Ok(None),
            FilteredHead::Interim => return Ok(Some(part)),
            FilteredHead::Final { close_delimited } => {
                if close_delimited {
                    session.set_keepalive(None);
                }
            }
        }
        if end {
            ctx.note_grpc_status(&head.headers);
        } else {
            self.hold_to_credential(head, session, ctx);
        }
        Ok(Some(part))
    }

    /// Makes the trailers of the response what the client gets. Over HTTP/1.1 they are written with
    /// the last chunk, by [`Self::finish_response`].
    fn filter_trailers(
        &mut self,
        trailers: Option<Box<HeaderMap>>,
        session: &Session,
        ctx: &mut Context,
    ) -> pingora::Result<Option<HttpTask>> {
        let mut trailers = trailers.unwrap_or_default();
        trailers::filter(&mut trailers).map_err(error::invalid_response)?;
        ctx.note_grpc_status(&trailers);
        header_rules::clear_part_of_answer(&mut trailers, ctx);
        if session.as_http1().is_none() {
            let trailers = Some(trailers).filter(|trailers| !trailers.is_empty());
            return Ok(Some(HttpTask::Trailer(trailers)));
        }
        if trailers::are_accepted(&session.req_header().headers) && !trailers.is_empty() {
            self.response_trailers = Some(trailers::to_lines(&trailers));
        }
        Ok(None)
    }

    /// Ends the response; `false`: it could not be ended.
    pub(super) async fn finish_response(&mut self, session: &mut Session) -> bool {
        let head = session.response_written();
        let chunked = head.is_some_and(|head| head.headers.contains_key(header::TRANSFER_ENCODING));
        let connection = Connection::of(session.digest());
        let (Some(lines), true, Some(connection)) =
            (self.response_trailers.take(), chunked, connection.cloned())
        else {
            return session.as_mut().finish_body().await.is_ok();
        };
        connection.set_response_trailers(lines);
        let finished = session.as_mut().finish_body().await.is_ok();
        finished && connection.take_response_trailers().is_none()
    }
}
