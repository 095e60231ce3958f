//! The application behind the gates: a connection from accept to the requests that it carries.

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

use super::close_reason::Cut;
use super::connection::Connection;
use super::limiter::Admission;
use super::limiters::Gates;
use super::malformed::UNREADABLE;
use super::refusals::Refusals;
use super::state::{Phase, Progress};
use super::stream::Watched;
use super::{http2, tls};
use crate::gateway::{Listener, Live};

/// What a request has to end in once its client is found not to read, record and all.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// What Pingora holds idle connections to, in seconds, where it awaits a head itself.
const KEEP_ALIVE: u64 = 60;

/// An application behind gates, and behind TLS where the gateway says so.
pub struct Guarded<A> {
    app: Arc<A>,
    live: Arc<Live>,
    gates: Arc<Gates>,
    /// Whether any listener speaks TLS; fixed for the life of the process.
    any_tls: bool,
}

impl<A> Guarded<A> {
    /// Serves what comes through these gates with `app`.
    pub fn new(app: A, live: Arc<Live>, gates: Arc<Gates>) -> Self {
        Self {
            app: Arc::new(app),
            any_tls: live.config().networks.iter().any(|it| it.tls.is_some()),
            live,
            gates,
        }
    }

    /// The address that a connection counts for; `None`: that of a trusted proxy, or none at all.
    fn counted_address(&self, socket: &Socket) -> Option<IpAddr> {
        let digest = socket.get_socket_digest()?;
        let peer = digest.peer_addr()?.as_inet()?.ip().to_canonical();
        (!self.live.gateway().trusts(peer)).then_some(peer)
    }

    fn listener(&self, socket: &Socket) -> Option<Listener> {
        if !self.any_tls {
            return None;
        }
        let digest = socket.get_socket_digest()?;
        let local = *digest.local_addr()?.as_inet()?;
        self.live.gateway().tls(local).cloned()
    }
}

impl<A: HttpServerApp + Send + Sync + 'static> Guarded<A> {
    /// Serves a connection to its end.
    async fn connection(
        &self,
        socket: Box<Socket>,
        connection: Arc<Connection>,
        admission: Admission,
        shutdown: ShutdownWatch,
    ) {
        let digest = socket.get_socket_digest();
        let progress = connection.progress();
        let refusals = Refusals {
            live: &self.live,
            network: admission.network(),
            peer: digest
                .as_ref()
                .and_then(|digest| digest.peer_addr()?.as_inet().copied()),
        };
        let serving = self.serve(socket, &connection, &refusals, &shutdown);
        unless_cut(progress, serving).await;
        if let Some(cut) = progress.was_cut().filter(|cut| *cut != Cut::Gone) {
            let peer = digest.as_ref().and_then(|digest| digest.peer_addr());
            let peer = peer.map(ToString::to_string).unwrap_or_default();
            let (network, cut) = (admission.network(), cut.label());
            log::debug!("network {network}: connection of {peer} closed: {cut}");
        }
    }

    async fn serve(
        &self,
        mut socket: Box<Socket>,
        connection: &Arc<Connection>,
        refusals: &Refusals<'_>,
        shutdown: &ShutdownWatch,
    ) -> Option<()> {
        // The place that Pingora has for what a connection brings along; no proxy is involved.
        let head = Box::new(ResponseHeader::build(200, Some(0)).ok()?);
        let brought = Box::new(connection.clone());
        socket.set_proxy_digest(ProxyDigest::new(head, Some(brought)));
        match self.listener(&socket) {
            None => {
                let stream = Watched::new(*socket, connection.clone());
                let stream = Box::new(stream);
                self.requests(stream, connection, refusals, shutdown).await
            }
            Some(listener) => {
                connection.progress().handshakes();
                // In a box of its own: most connections are long past it.
                let stream = Box::pin(tls::handshake(*socket, listener, connection)).await?;
                connection.progress().shook_hands();
                let stream = Watched::new(stream, connection.clone());
                let stream = Box::new(stream);
                self.requests(stream, connection, refusals, shutdown).await
            }
        }
    }

    /// Serves one request after the other. As Pingora would, but each head is awaited here, where
    /// it costs neither the memory of a request nor a timer.
    async fn requests<S: IO + 'static>(
        &self,
        mut stream: Box<Watched<S>>,
        connection: &Arc<Connection>,
        refusals: &Refusals<'_>,
        shutdown: &ShutdownWatch,
    ) -> Option<()> {
        let Some(mut begun) = stream.first_head().await.ok()? else {
            Box::pin(http2::serve(
                &self.app, stream, connection, refusals, shutdown,
            ))
            .await;
            return None;
        };
        let mut settings = None;
        loop {
            let head = match begun {
                Ok(head) => head,
                Err(malformed) => {
                    refusals.malformed(malformed, &stream.front);
                    Box::pin(stream.refuse(malformed)).await;
                    return None;
                }
            };
            let Some(reused) = self.request(stream, settings, head, shutdown).await else {
                if let Some(status) = connection.refused() {
                    refusals.count(status, UNREADABLE);
                }
                return None;
            };
            let (next, again) = reused.consume();
            (stream, settings) = (next.into_any().downcast().ok()?, again);
            connection.progress().awaits_request();
            if !stream.is_between_requests() {
                return None;
            }
            begun = stream.next_head().await.ok()?;
        }
    }

    /// Serves one request, whose head this is, with what has come of its body. No `async fn`: the session is not
    /// to take its place in every connection that waits.
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
impl<A: HttpServerApp + Send + Sync + 'static> ServerApp for Guarded<A> {
    async fn process_new(
        self: &Arc<Self>,
        session: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let Ok(socket) = session.into_any().downcast::<Socket>() else {
            log::error!("a connection that is no socket was closed");
            return None;
        };
        let gate = self.gates.of(&socket)?;
        let clients = gate.clients().clone();
        let connection = Arc::new(Connection::new(self.gates.clock.clone(), clients));
        let Some(admission) = gate.admit(&connection, self.counted_address(&socket)) else {
            log::debug!("network {}: full of busy connections", gate.network());
            return None;
        };
        let (this, shutdown) = (self.clone(), shutdown.clone());
        // In a task of its own: Pingora's keeps room for a handshake, which is not made there, for
        // as long as the connection lives.
        tokio::spawn(async move {
            this.connection(socket, connection, admission, shutdown)
                .await
        });
        None
    }

    async fn cleanup(&self) {
        self.app.cleanup().await;
    }
}

/// Drops what serves a connection once it is cut, after it had the chance to say a last word. If
/// the cut is for a request's sake, it has a moment to end the request.
async fn unless_cut(progress: &Progress, serving: impl Future<Output = Option<()>>) {
    let mut serving = std::pin::pin!(serving);
    let mut waker: Option<Waker> = None;
    let mut moment = None;
    poll_fn(|context| {
        let known = waker.as_ref();
        if !known.is_some_and(|known| known.will_wake(context.waker())) {
            progress.wakes(context.waker());
            waker = Some(context.waker().clone());
        }
        let polled = serving.as_mut().poll(context);
        let cut = progress.was_cut();
        // Over HTTP/2, requests have tasks of their own, which end with the connection.
        let ends_request = match cut {
            Some(Cut::WriteTimeout) => true,
            Some(Cut::CrowdedBody) => progress.phase().0 == Phase::Busy,
            _ => false,
        };
        match (polled, cut) {
            (Poll::Pending, None) => Poll::Pending,
            (Poll::Pending, Some(_)) if ends_request => moment
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(LAST_MOMENT)))
                .as_mut()
                .poll(context),
            _ => Poll::Ready(()),
        }
    })
    .await;
}
