//! An HTTP application whose idle connections outlive its listeners.
//!
//! Pingora closes idle connections the moment it stops; a request that is on its way then fails.
//! Here they stay open: a request on one of them is answered, with `Connection: close`, until the
//! process ends.
//!
//! Each stream of HTTP/2 passes here before it is read, so it is counted here.

use std::pin::Pin;
use std::sync::Arc;

use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::H2Options;
use pingora::server::ShutdownWatch;

use crate::listener::Connection;

pub(super) struct GracefulApp<A>(pub(super) Arc<A>);

/// As `async_trait` would write it, but for one thing: an HTTP/1 request, which needs nothing
/// afterwards, gets the application's own future rather than one around it.
impl<A: HttpServerApp + Send + Sync + 'static> HttpServerApp for GracefulApp<A> {
    fn process_new_http<'this, 'watch, 'served>(
        self: &'this Arc<Self>,
        session: ServerSession,
        shutdown: &'watch ShutdownWatch,
    ) -> Pin<Box<dyn Future<Output = Option<ReusedHttpStream>> + Send + 'served>>
    where
        'this: 'served,
        'watch: 'served,
        Self: 'served,
    {
        if !session.is_http2() {
            return self.0.process_new_http(session, shutdown);
        }
        let stream = Connection::of(session.digest()).map(Connection::begin_stream);
        Box::pin(async move {
            let _served = stream;
            self.0.process_new_http(session, shutdown).await
        })
    }

    fn h2_options(&self) -> Option<H2Options> {
        self.0.h2_options()
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        self.0.server_options()
    }

    /// Called when the listeners are closed. The application's own would close idle connections.
    fn http_cleanup<'this, 'served>(
        &'this self,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'served>>
    where
        'this: 'served,
        Self: 'served,
    {
        Box::pin(std::future::ready(()))
    }
}
