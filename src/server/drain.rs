//! The end of a process: what is in flight is finished, and nobody who comes on a kept connection
//! is cut off.
//!
//! Pingora closes idle connections the moment it stops; a request that is on its way then fails.
//! Here they stay open: a request on one of them is answered, with `Connection: close`, until the
//! process ends.
//!
//! It is also where each stream of HTTP/2 passes by before it is read, which the guard of the
//! listeners wants to know.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::H2Options;
use pingora::server::ShutdownWatch;
use tokio::signal::unix::SignalKind;

use super::signals::listen;
use crate::listener::Connection;

/// How long nothing must have been in flight: a request whose head has just been read is not
/// counted yet.
const QUIET: Duration = Duration::from_millis(100);
/// How long a process that gave its listeners away stays for idle connections: nobody waits for its
/// end.
const LINGER: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_millis(20);

/// An HTTP application whose idle connections outlive its listeners.
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

/// Waits until nothing is in flight any more, at most for `grace`, or until a second signal.
/// Returns how many requests are left.
pub(super) async fn drain(in_flight: impl Fn() -> usize, gave: bool, grace: Duration) -> usize {
    let started = Instant::now();
    let stay = if gave { LINGER } else { QUIET };
    let finished = async {
        let mut quiet_since = Instant::now();
        while quiet_since.elapsed() < QUIET || started.elapsed() < stay {
            tokio::time::sleep(STEP).await;
            if in_flight() > 0 {
                quiet_since = Instant::now();
            }
        }
    };
    let (mut terminate, mut interrupt) = (
        listen(SignalKind::terminate()),
        listen(SignalKind::interrupt()),
    );
    tokio::select! {
        () = finished => {}
        () = tokio::time::sleep(grace) => {}
        () = arrives(&mut terminate) => {}
        () = arrives(&mut interrupt) => {}
    }
    in_flight()
}

async fn arrives(signal: &mut Option<tokio::signal::unix::Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn it_ends_when_nothing_is_in_flight_or_the_grace_is_over() {
        let started = Instant::now();
        assert_eq!(drain(|| 0, false, Duration::from_secs(60)).await, 0);
        assert!(started.elapsed() < Duration::from_secs(10));

        let count = Arc::new(AtomicUsize::new(1));
        let busy = count.clone();
        let waiting = tokio::spawn(async move {
            drain(
                || busy.load(Ordering::Relaxed),
                false,
                Duration::from_secs(60),
            )
            .await
        });
        tokio::time::sleep(3 * QUIET).await;
        assert!(!waiting.is_finished(), "one is in flight");
        count.store(0, Ordering::Relaxed);
        assert_eq!(waiting.await.unwrap(), 0);

        assert_eq!(drain(|| 3, false, QUIET).await, 3);
    }
}
