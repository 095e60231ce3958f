//! The phases of a request around [`ProxyHttp`](pingora_proxy::ProxyHttp), one after the other.
//!
//! Pingora's own application does this as well, in a task that has room for its proxy loop, its
//! cache and both of their upstream sessions, none of which is used here: that is 30 KiB for each
//! request in flight, and the copy of it was 14 % of the instructions of a request.

use std::io::Cursor;
use std::sync::Arc;

use async_trait::async_trait;
use http::Method;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::H2Options;
use pingora::server::ShutdownWatch;
use pingora::{Error, ErrorType};
use pingora_proxy::{ProxyHttp, Session};

use super::Edge;
use crate::listener::http2_options;

/// The edge as an application of Pingora's.
pub struct App {
    edge: Edge,
    options: HttpServerOptions,
}

impl App {
    /// An application that serves with this edge, over HTTP/1.1 and over HTTP/2.
    pub fn new(edge: Edge) -> Self {
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        Self { edge, options }
    }

    /// Serves a request whose head has been read: the stream, if another request may come on it.
    async fn serve(&self, mut session: Session) -> Option<ReusedHttpStream> {
        let mut ctx = self.edge.new_ctx();
        match self.edge.request_filter(&mut session, &mut ctx).await {
            Ok(_) => {
                self.edge.logging(&mut session, None, &mut ctx).await;
                let settings = HttpPersistentSettings::for_session(&session);
                let stream = session.downstream_session.finish().await.ok().flatten()?;
                Some(ReusedHttpStream::from_reusable_stream(stream, settings))
            }
            Err(error) => {
                self.edge
                    .fail_to_proxy(&mut session, &error, &mut ctx)
                    .await;
                self.edge
                    .logging(&mut session, Some(&error), &mut ctx)
                    .await;
                session.downstream_session.on_proxy_failure(error);
                None
            }
        }
    }
}

#[async_trait]
impl HttpServerApp for App {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let mut downstream = Box::new(session);
        if !read_head(&mut downstream).await {
            return None;
        }
        if *shutdown.borrow() {
            downstream.set_keepalive(None);
        }
        // It can be built over a stream only; this one is replaced at once.
        let mut session = Session::new_h1(Box::new(Cursor::new(Vec::new())));
        session.downstream_session = downstream;
        self.serve(session).await
    }

    fn h2_options(&self) -> Option<H2Options> {
        Some(http2_options())
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}

/// Reads the head of a request; `false`: it has none that can be served, and was answered.
async fn read_head(session: &mut ServerSession) -> bool {
    let status = match session.read_request().await {
        // A tunnel to wherever the client likes is not for a server to give.
        Ok(true) if session.req_header().method == Method::CONNECT => 405,
        Ok(read) => return read,
        Err(error) => match refusal(&error) {
            Some(status) => status,
            None => {
                session.shutdown().await;
                return false;
            }
        },
    };
    if let Err(error) = session.respond_error(status).await {
        log::debug!("a client left before it was answered {status}: {error}");
    }
    session.shutdown().await;
    false
}

/// How a head is answered that cannot be read; `None`: the connection is broken.
fn refusal(error: &Error) -> Option<u16> {
    (*error.etype() == ErrorType::InvalidHTTPHeader).then_some(400)
}
