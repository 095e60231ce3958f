//! The application behind the limiters: a connection from its accept to its requests.

use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream, ServerApp};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::protocols::l4::stream::Stream as Socket;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{GetProxyDigest, GetSocketDigest, IO, Stream};
use pingora::server::ShutdownWatch;

use super::close_reason::CloseReason;
use super::connection::Connection;
use super::limiter::Admission;
use super::limiters::ConnectionLimiters;
use super::proxy_header;
use super::refusals::RefusalLog;
use super::state::{ConnectionState, Phase};
use super::stream::GuardedStream;
use super::{http2, tls};
use crate::gateway::{Listener, Live};

/// How long a request has to end, its access record included, once its connection is closed for it.
const CLOSE_GRACE: Duration = Duration::from_secs(1);
/// The keep-alive time-out that Pingora has for a head that it waits for itself, in seconds.
const KEEP_ALIVE: u64 = 60;

/// An application behind connection limits, and behind TLS where the gateway says so.
pub struct GuardedApp<A> {
    app: Arc<A>,
    live: Arc<Live>,
    limiters: Arc<ConnectionLimiters>,
}

impl<A> GuardedApp<A> {
    /// Serves with `app` what these limiters admit.
    pub fn new(app: A, live: Arc<Live>, limiters: Arc<ConnectionLimiters>) -> Self {
        Self {
            app: Arc::new(app),
            live,
            limiters,
        }
    }

    /// The address that a connection counts for; `None`: that of a trusted proxy, or none at all.
    fn counted_address(&self, socket: &Socket) -> Option<IpAddr> {
        peer(socket).filter(|peer| !self.live.gateway().trusts(*peer))
    }

    /// Whether a connection begins with a PROXY header; `None`: it would have to, and its peer may
    /// not speak for others.
    fn has_proxy_header(&self, socket: &Socket) -> Option<bool> {
        let gateway = self.live.gateway();
        let digest = socket.get_socket_digest();
        let local = digest.as_ref().and_then(|digest| digest.local_addr());
        let local = local.and_then(|local| local.as_inet());
        if !local.is_some_and(|local| gateway.has_proxy_header(*local)) {
            return Some(false);
        }
        peer(socket)
            .filter(|peer| gateway.trusts(*peer))
            .map(|_| true)
    }

    /// Reads the PROXY header; from then on its source is the client.
    async fn read_proxy_header(&self, socket: &mut Socket, admission: &Admission) -> Option<()> {
        let state = admission.connection().state();
        if let Err(error) = proxy_header::read(socket).await {
            let reason = match error {
                proxy_header::Error::Ended => CloseReason::ClientGone,
                _ => CloseReason::ProxyHeader,
            };
            log::debug!("network {}: {error}", admission.network());
            state.close(reason);
            return None;
        }
        if let Some(client) = self.counted_address(socket)
            && !admission.count_for(client)
        {
            state.close(CloseReason::RefusedAddress);
            return None;
        }
        Some(())
    }

    fn listener(&self, socket: &Socket) -> Option<Listener> {
        let digest = socket.get_socket_digest()?;
        let local = *digest.local_addr()?.as_inet()?;
        self.live.gateway().tls(local).cloned()
    }
}

impl<A: HttpServerApp + Send + Sync + 'static> GuardedApp<A> {
    /// Serves a connection to its end.
    async fn connection(
        &self,
        mut socket: Box<Socket>,
        admission: Admission,
        has_proxy_header: bool,
        shutdown: ShutdownWatch,
    ) {
        let connection = admission.connection();
        let state = connection.state();
        let mut begun = Some(());
        if has_proxy_header {
            // Boxed: most connections are long past it.
            let reading = Box::pin(self.read_proxy_header(&mut socket, &admission));
            begun = until_closed(state, reading).await;
        }
        let digest = socket.get_socket_digest();
        let refusals = RefusalLog {
            live: &self.live,
            network: admission.network(),
            peer: digest
                .as_ref()
                .and_then(|digest| digest.peer_addr()?.as_inet().copied()),
        };
        if begun.is_some() {
            let serving = self.serve(socket, connection, &refusals, &shutdown);
            until_closed(state, serving).await;
        }
        if let Some(reason) = state
            .close_reason()
            .filter(|reason| *reason != CloseReason::ClientGone)
        {
            let peer = || {
                let peer = digest.as_ref().and_then(|digest| digest.peer_addr());
                peer.map(ToString::to_string).unwrap_or_default()
            };
            let (network, reason) = (admission.network(), reason.label());
            log::debug!(
                "network {network}: connection of {} closed: {reason}",
                peer()
            );
        }
    }

    async fn serve(
        &self,
        mut socket: Box<Socket>,
        connection: &Arc<Connection>,
        refusals: &RefusalLog<'_>,
        shutdown: &ShutdownWatch,
    ) -> Option<()> {
        // For `Connection::of`. No proxy in front is involved.
        let head = Box::new(ResponseHeader::build(200, Some(0)).ok()?);
        socket.set_proxy_digest(ProxyDigest::new(head, Some(Box::new(connection.clone()))));
        match self.listener(&socket) {
            None => {
                let stream = Box::new(GuardedStream::new(*socket, connection.clone()));
                self.requests(stream, connection, refusals, shutdown).await
            }
            Some(listener) => {
                connection.state().begin_handshake();
                // Boxed: most connections are long past it.
                let stream = Box::pin(tls::handshake(*socket, listener, connection)).await?;
                connection.state().end_handshake();
                let stream = Box::new(GuardedStream::new(stream, connection.clone()));
                self.requests(stream, connection, refusals, shutdown).await
            }
        }
    }

    /// Serves one request after the other, as Pingora would. But each head is awaited here, where
    /// that takes neither the memory of a request nor a timer.
    async fn requests<S: IO + 'static>(
        &self,
        mut stream: Box<GuardedStream<S>>,
        connection: &Arc<Connection>,
        refusals: &RefusalLog<'_>,
        shutdown: &ShutdownWatch,
    ) -> Option<()> {
        let Some(mut received) = stream.first_head().await.ok()? else {
            Box::pin(http2::serve(
                &self.app, stream, connection, refusals, shutdown,
            ))
            .await;
            return None;
        };
        let mut settings = None;
        loop {
            let head = match received {
                Ok(head) => head,
                Err(malformed) => {
                    refusals.malformed(malformed, &stream.read_ahead);
                    Box::pin(stream.refuse(malformed)).await;
                    return None;
                }
            };
            let Some(reused) = self.request(stream, settings, head, shutdown).await else {
                if let Some(status) = connection.refused() {
                    refusals.unreadable(status);
                }
                return None;
            };
            let (reused, kept) = reused.consume();
            (stream, settings) = (reused.into_any().downcast().ok()?, kept);
            connection.state().request_complete();
            if !stream.is_between_requests() {
                return None;
            }
            received = stream.next_head().await.ok()?;
        }
    }

    /// Serves one request. `head` may have the first part of its body behind it. No `async fn`: the
    /// session must not take up room in every connection that waits.
    fn request<'a>(
        &'a self,
        stream: Stream,
        settings: Option<HttpPersistentSettings>,
        head: BytesMut,
        shutdown: &'a ShutdownWatch,
    ) -> impl Future<Output = Option<ReusedHttpStream>> + 'a {
        let mut session = ServerSession::new_http1(stream);
        match settings {
            Some(settings) => settings.apply_to_session(&mut session),
            None => session.set_keepalive((!*shutdown.borrow()).then_some(KEEP_ALIVE)),
        }
        session.set_pipelined_prefix(head);
        self.app.process_new_http(session, shutdown)
    }
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> ServerApp for GuardedApp<A> {
    async fn process_new(
        self: &Arc<Self>,
        session: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let Ok(socket) = session.into_any().downcast::<Socket>() else {
            log::error!("a connection that is not a socket was closed");
            return None;
        };
        let limiter = self.limiters.of(&socket)?;
        let Some(has_proxy_header) = self.has_proxy_header(&socket) else {
            limiter.metrics().count_closed("untrusted_proxy");
            let network = limiter.network();
            log::debug!("network {network}: closed, since the peer is not in trusted_proxies");
            return None;
        };
        let clients = limiter.clients().clone();
        let connection = Arc::new(Connection::new(self.limiters.clock.clone(), clients));
        let Some(admission) = limiter.admit(&connection, self.counted_address(&socket)) else {
            log::debug!("network {}: full of busy connections", limiter.network());
            return None;
        };
        let (this, shutdown) = (self.clone(), shutdown.clone());
        // In a task of its own: Pingora's keeps room for a TLS handshake, which it does not make,
        // for as long as the connection lives.
        tokio::spawn(async move {
            this.connection(socket, admission, has_proxy_header, shutdown)
                .await
        });
        None
    }

    async fn cleanup(&self) {
        self.app.cleanup().await;
    }
}

/// Serves a connection until it is closed, after one more poll, in which a last response can be
/// written. If it is closed for a request's sake, the request has [`CLOSE_GRACE`] to end.
///
/// `None`: it was closed, or serving it has ended with that.
async fn until_closed(
    state: &ConnectionState,
    serving: impl Future<Output = Option<()>>,
) -> Option<()> {
    let mut serving = std::pin::pin!(serving);
    let mut waker: Option<Waker> = None;
    let mut grace = None;
    poll_fn(|context| {
        let known = waker.as_ref();
        if !known.is_some_and(|known| known.will_wake(context.waker())) {
            state.set_waker(context.waker());
            waker = Some(context.waker().clone());
        }
        let polled = serving.as_mut().poll(context);
        let reason = state.close_reason();
        // Over HTTP/2, requests have tasks of their own, which end with the connection.
        let ends_request = match reason {
            Some(CloseReason::WriteTimeout) => true,
            Some(CloseReason::EvictedSlowBody) => state.phase().0 == Phase::Busy,
            _ => false,
        };
        match (polled, reason) {
            (Poll::Pending, None) => Poll::Pending,
            (Poll::Pending, Some(_)) if ends_request => grace
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(CLOSE_GRACE)))
                .as_mut()
                .poll(context)
                .map(|()| None),
            (Poll::Ready(served), None) => Poll::Ready(served),
            _ => Poll::Ready(None),
        }
    })
    .await
}

fn peer(socket: &Socket) -> Option<IpAddr> {
    let digest = socket.get_socket_digest()?;
    Some(digest.peer_addr()?.as_inet()?.ip().to_canonical())
}
