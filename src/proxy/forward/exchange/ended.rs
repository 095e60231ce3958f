//! A response that ends before its time, because a credential has ended that let the request in.

use std::pin::pin;
use std::task::{Context as Waking, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::{Error, ErrorType};
use pingora_proxy::Session;
use tokio::time::timeout;

use super::Exchange;
use crate::proxy::forward::error::CREDENTIAL_ENDED;
use crate::proxy::forward::failure::response_has_begun;
use crate::proxy::forward::websocket::{CLOSE_POLICY_VIOLATION, WebSocket};
use crate::proxy::request::context::Context;
use crate::proxy::streams::ResponseKind;

/// A call of gRPC that has gone on for so long is taken for a stream: its head does not tell.
const CALL_IS_STREAM: Duration = Duration::from_millis(500);
/// How long a WebSocket's client has to answer a close frame.
const CLOSE_ANSWERED: Duration = Duration::from_millis(500);

impl Exchange<'_> {
    /// Looks at a call again once it has gone on for a while.
    pub(super) fn watch_call(&mut self, ctx: &Context) {
        if ctx.grpc.is_some() && !ctx.admitted.is_empty() {
            self.may_be_streaming = true;
            self.attempt
                .deadline()
                .wake_at(ctx.started + CALL_IS_STREAM);
        }
    }

    /// Finds out whether a response is one that ends with a credential, by its head.
    pub(super) fn hold_to_credential(
        &mut self,
        head: &ResponseHeader,
        session: &Session,
        ctx: &Context,
    ) {
        if ctx.admitted.is_empty() || self.open_stream.is_some() {
            return;
        }
        let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
        let kind = match switches || is_event_stream(head) {
            true => ResponseKind::Stream,
            false if ctx.ends_downloads() => ResponseKind::Download,
            false => return,
        };
        self.open_stream = self.streams.open(kind, session.req_header(), ctx);
        if switches && self.open_stream.is_some() {
            self.websocket = WebSocket::begun(&head.headers).map(Box::new);
        }
    }

    /// Waits for the end of a credential that holds the response open.
    pub(super) fn poll_credential_ended(
        &mut self,
        session: &Session,
        ctx: &Context,
        waking: &mut Waking<'_>,
    ) -> Poll<()> {
        if self.may_be_streaming && !self.attempt.deadline().is_to_wake() {
            self.may_be_streaming = false;
            if self.open_stream.is_none() {
                self.open_stream =
                    self.streams
                        .open(ResponseKind::Stream, session.req_header(), ctx);
            }
        }
        match &self.open_stream {
            // A head that is half written cannot be taken back; one of a call can still be made.
            Some(stream) if ctx.grpc.is_some() || response_has_begun(session) => {
                stream.poll_ended(waking).map(drop)
            }
            _ => Poll::Pending,
        }
    }

    /// Takes leave of a WebSocket's client, and breaks the exchange off.
    pub(super) async fn end_stream(&mut self, session: &mut Session) -> Box<Error> {
        self.attempt.suspend();
        if let (Some(websocket), ServerSession::H1(client)) =
            (&self.websocket, &mut *session.downstream_session)
            && websocket.from_upstream.is_at_boundary()
        {
            let close = Bytes::from_static(CLOSE_POLICY_VIOLATION);
            client.send_proxy_task(HttpTask::UpgradedBody(Some(close), false));
            let _ = timeout(CLOSE_ANSWERED, pin!(self.closing_handshake(session))).await;
        }
        Error::new(ErrorType::Custom(CREDENTIAL_ENDED))
    }

    /// Writes the close frame, and waits for the client to answer it or to leave. What else it
    /// sends goes nowhere.
    async fn closing_handshake(&mut self, session: &mut Session) -> pingora::Result<()> {
        if let ServerSession::H1(client) = &mut *session.downstream_session {
            client.write_proxy_tasks().await?;
        }
        while let Some(websocket) = &mut self.websocket
            && !websocket.from_client.is_closed()
            && let Some(part) = session.downstream_session.read_body_or_idle(false).await?
        {
            websocket.from_client.read(&part);
        }
        Ok(())
    }
}

fn is_event_stream(head: &ResponseHeader) -> bool {
    const EVENT_STREAM: &[u8] = b"text/event-stream";
    let content_type = head.headers.get(header::CONTENT_TYPE);
    let content_type = content_type.map_or(&b""[..], HeaderValue::as_bytes);
    let parts = content_type.split_at_checked(EVENT_STREAM.len());
    parts.is_some_and(|(name, rest)| {
        name.eq_ignore_ascii_case(EVENT_STREAM) && matches!(rest.first(), None | Some(b';' | b' '))
    })
}
