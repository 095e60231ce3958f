//! Accepts the streams of an HTTP/2 connection, as Pingora's own loop does. Here, what is refused
//! before it becomes a request is counted, and so is what ends a connection.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Accept, HttpSession, handshake};
use pingora::protocols::{
    Digest, GetProxyDigest, GetSocketDigest, GetTimingDigest, IO, Ssl, Stream,
};
use pingora::server::ShutdownWatch;

use super::MAX_MALFORMED;
use crate::listener::close_reason::CloseReason;
use crate::listener::connection::Connection;
use crate::listener::refusals::RefusalLog;
use crate::listener::stream::GuardedStream;

/// How long a client has to read the last frame of a connection that is closed for its errors.
const LAST_FRAME: Duration = Duration::from_secs(1);

/// Serves the streams of a connection until it ends.
pub(in crate::listener) async fn serve<A, S>(
    app: &Arc<A>,
    stream: Box<GuardedStream<S>>,
    connection: &Connection,
    refusals: &RefusalLog<'_>,
    shutdown: &ShutdownWatch,
) where
    A: HttpServerApp + Send + Sync + 'static,
    S: IO + 'static,
{
    let digest = Arc::new(Digest {
        ssl_digest: stream.get_ssl_digest(),
        timing_digest: stream.get_timing_digest(),
        proxy_digest: stream.get_proxy_digest(),
        socket_digest: stream.get_socket_digest(),
    });
    let stream: Stream = stream;
    let mut http2 = match handshake(stream, app.h2_options()).await {
        Ok(http2) => http2,
        Err(error) => return ended(&error, connection, refusals),
    };
    let mut shutdown = shutdown.clone();
    let (mut stopping, mut malformed) = (false, 0);
    loop {
        let accepted = tokio::select! {
            biased;
            _ = shutdown.changed(), if !stopping => {
                http2.graceful_shutdown();
                stopping = true;
                continue;
            }
            accepted = HttpSession::from_h2_conn(&mut http2, digest.clone()) => accepted,
        };
        match accepted {
            Ok(Some(H2Accept::Session(session))) => {
                let (app, shutdown) = (app.clone(), shutdown.clone());
                tokio::spawn(async move {
                    let session = ServerSession::new_http2(session);
                    app.process_new_http(session, &shutdown).await;
                });
            }
            // It has been reset, or answered with 400, by Pingora.
            Ok(Some(H2Accept::Rejected)) => {
                refusals.count(400, "malformed_stream");
                malformed += 1;
                if malformed == MAX_MALFORMED {
                    http2.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
                    let closing = poll_fn(|context| http2.poll_closed(context));
                    let _ = tokio::time::timeout(LAST_FRAME, closing).await;
                    refusals.log(&format_args!("{malformed} malformed streams of HTTP/2"));
                    connection.state().close(CloseReason::Http2Error);
                    return;
                }
            }
            Ok(None) => return,
            Err(error) => return ended(&error, connection, refusals),
        }
    }
}

/// A connection has ended. That a client leaves is not logged; an error of the whole connection is,
/// since it ends all of its streams.
fn ended(error: &pingora::Error, connection: &Connection, refusals: &RefusalLog<'_>) {
    let Some(error) = error.root_cause().downcast_ref::<h2::Error>() else {
        return;
    };
    if error.is_io() || error.is_remote() || error.reason() == Some(h2::Reason::NO_ERROR) {
        return;
    }
    refusals.log(error);
    connection.state().close(CloseReason::Http2Error);
}
