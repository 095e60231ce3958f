//! TLS on listeners: the handshake stands between Pingora's accept and the application behind it.
//!
//! Pingora would make the settings of a listener once, when it starts. Here every new connection takes those of the gateway that serves at that moment, so that
//! certificates change with a reload like all the rest, and connections that are there already do not notice.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::http::ResponseHeader;
use pingora::listeners::tls::Acceptor;
use pingora::protocols::l4::stream::Stream as Socket;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::TlsStream;
use pingora::protocols::{GetProxyDigest, Ssl, Stream};
use pingora::server::ShutdownWatch;

use crate::auth::ClientCertificate;
use crate::gateway::{ClientCa, Listener, Live};
use crate::proxy::Connection;

/// How long a handshake may take. (Pingora's own limit is a minute.)
const LIMIT: Duration = Duration::from_secs(10);

/// An application behind listeners of which some speak TLS: which, the gateway knows.
pub(super) struct Tls<A> {
    app: Arc<A>,
    live: Arc<Live>,
    /// Whether any listener does; fixed for the life of the process.
    any: bool,
}

impl<A> Tls<A> {
    pub(super) fn new(app: A, live: Arc<Live>) -> Self {
        Self {
            app: Arc::new(app),
            any: live.config().networks.iter().any(|it| it.tls.is_some()),
            live,
        }
    }

    fn listener(&self, session: &Stream) -> Option<Listener> {
        if !self.any {
            return None;
        }
        let digest = session.get_socket_digest()?;
        let local = *digest.local_addr()?.as_inet()?;
        self.live.gateway().tls(local).cloned()
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServerApp for Tls<A> {
    async fn process_new(
        self: &Arc<Self>,
        session: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        // Pingora comes by for every request on a kept connection; one that is past its handshake stays as it is.
        let past = session.get_ssl_digest().is_some();
        let listener = if past { None } else { self.listener(&session) };
        let session = match listener {
            Some(listener) => handshake(session, &listener).await?,
            None => session,
        };
        self.app.process_new(session, shutdown).await
    }

    async fn cleanup(&self) {
        self.app.cleanup().await;
    }
}

/// The stream after its handshake; `None` after telling the log why there is none. Clients can provoke that at will, so it is no warning.
async fn handshake(session: Stream, listener: &Listener) -> Option<Stream> {
    let peer = session
        .get_socket_digest()
        .and_then(|digest| digest.peer_addr().map(ToString::to_string))
        .unwrap_or_default();
    let Ok(mut socket) = session.into_any().downcast::<Socket>() else {
        log::error!("TLS: a connection that is no socket was closed");
        return None;
    };
    let connection = Arc::new(Connection::default());
    if listener.client_ca.is_some() {
        // The place that Pingora has for what a connection brings along; no proxy is involved.
        let head = Box::new(ResponseHeader::build(200, Some(0)).ok()?);
        let connection = Box::new(connection.clone());
        socket.set_proxy_digest(ProxyDigest::new(head, Some(connection)));
    }
    let acceptor = Acceptor::from_server_config(listener.server.clone());
    let stream = match tokio::time::timeout(LIMIT, acceptor.tls_handshake(*socket)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            let text = error.to_string();
            let why = text.rsplit("tls connect error: ").next().unwrap_or(&text);
            // Port scanners and health checks connect and go.
            let level = if why.contains("eof") || why.contains("reset") {
                log::Level::Debug
            } else {
                log::Level::Info
            };
            log::log!(level, "TLS handshake with {peer} failed: {why}");
            return None;
        }
        Err(_) => {
            log::info!(
                "TLS handshake with {peer} failed: not over after {} s",
                LIMIT.as_secs()
            );
            return None;
        }
    };
    if let Some(ca) = &listener.client_ca {
        note_certificate(&stream, ca, &connection)?;
    }
    Some(Box::new(stream))
}

/// Keeps the client's certificate for the requests to come; `None`: there is one, and it cannot be understood.
fn note_certificate(
    stream: &TlsStream<Socket>,
    ca: &ClientCa,
    connection: &Connection,
) -> Option<()> {
    let Some(chain) = stream.get_ssl().and_then(|tls| tls.peer_cert_chain_der()) else {
        return Some(());
    };
    let Some(certificate) = ClientCertificate::parse(chain) else {
        log::info!(
            "TLS: a client's certificate cannot be read, though it verifies; the connection was closed"
        );
        return None;
    };
    ca.has_verified(&certificate);
    connection.verified(certificate);
    Some(())
}
