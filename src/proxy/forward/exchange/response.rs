//! The way of the answer: from the upstream to the client.

use std::future::poll_fn;
use std::pin::pin;

use http::header;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora_proxy::Session;

use super::Exchange;
use crate::proxy::forward::at_once;
use crate::proxy::forward::failure;
use crate::proxy::forward::response::{self, Passed};
use crate::proxy::request::context::Context;

/// As many parts of an answer are written in one go, if they are there already.
const BATCH: usize = 4;

impl Exchange {
    /// Passes on a part of the answer, and what else has arrived by now.
    pub(crate) async fn receive(
        &mut self,
        first: pingora::Result<HttpTask>,
        session: &mut Session,
        ctx: &mut Context,
    ) -> pingora::Result<()> {
        let mut parts = Vec::with_capacity(BATCH);
        let mut next = Some(first);
        while let Some(part) = next.take() {
            match part {
                Ok(part) => {
                    self.ended = part.is_end();
                    parts.extend(self.judge(part, session, ctx)?);
                }
                Err(error) => {
                    let error = self.unsent.take().unwrap_or(error).into_up();
                    if parts.is_empty() {
                        return Err(error);
                    }
                    parts.push(HttpTask::Failed(error));
                    break;
                }
            }
            if !self.ended && parts.len() < BATCH {
                next = at_once(pin!(self.upstream.read_response_task())).await;
            }
        }
        let whole = self.is_sent();
        if self.stopped || !whole && (self.ended || self.refused) {
            self.stop(session);
        }
        if parts.is_empty() {
            return Ok(());
        }
        ctx.await_client();
        if whole && !self.upgraded {
            // Nothing else is to be done meanwhile.
            let written = session.downstream_session.response_duplex_vec(parts);
            self.answered = written.await? || self.ended;
            ctx.client_took();
            self.wrote(session);
            return Ok(());
        }
        if let ServerSession::H1(client) = &mut *session.downstream_session {
            self.writing = true;
            parts
                .into_iter()
                .for_each(|part| client.send_proxy_task(part));
            return Ok(());
        }
        // Over HTTP/2, what was read of the request goes on meanwhile; more is read then.
        let mut writing = pin!(session.downstream_session.response_duplex_vec(parts));
        let written = poll_fn(|waking| {
            if let Some(outbox) = &self.outbox {
                outbox.push_on(waking);
            }
            writing.as_mut().poll(waking)
        });
        self.answered = written.await? || self.ended;
        ctx.client_took();
        Ok(())
    }

    /// Takes note of a part of the answer, and makes it what the client gets; `None`: it gets
    /// nothing of it.
    fn judge(
        &mut self,
        mut part: HttpTask,
        session: &mut Session,
        ctx: &mut Context,
    ) -> pingora::Result<Option<HttpTask>> {
        let HttpTask::Header(head, end) = &mut part else {
            if part.is_end() {
                ctx.rest();
            }
            return Ok(Some(part));
        };
        if !head.status.is_informational()
            && head.headers.contains_key(header::TRANSFER_ENCODING)
            && response::names_length(&self.upstream.get_headers_raw_bytes())
        {
            return Err(failure::invalid_response(
                "its answer has a Content-Length beside Transfer-Encoding",
            ));
        }
        self.authenticate(&head.headers, header::WWW_AUTHENTICATE, ctx)?;
        self.closes |= response::closes(&head.headers);
        self.suspicious = response::is_bodiless(&session.req_header().method, head.status);
        self.refused = head.status.as_u16() >= 300;
        let switches = session.is_upgrade_req() && self.upstream.is_upgrade_req();
        match response::pass(head, *end, switches, session.req_header(), ctx)? {
            Passed::Dropped => return Ok(None),
            Passed::Final { closes: true } => session.set_keepalive(None),
            Passed::Interim | Passed::Final { .. } => {}
        }
        Ok(Some(part))
    }
}
