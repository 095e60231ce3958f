//! The TLS handshake of a new connection.
//!
//! Pingora would make the settings of a listener once, when it starts. Here every new connection
//! takes those of the gateway that serves at that moment, so that certificates change with a reload
//! like all the rest, and connections that are there already do not notice.

use std::time::Duration;

use pingora::listeners::tls::Acceptor;
use pingora::protocols::GetSocketDigest;
use pingora::protocols::Ssl;
use pingora::protocols::l4::stream::Stream as Socket;
use pingora::protocols::tls::TlsStream;

use crate::auth::ClientCertificate;
use crate::gateway::{ClientCa, Listener};
use crate::proxy::Connection;

/// How long a handshake may take. (Pingora's own limit is a minute.)
const LIMIT: Duration = Duration::from_secs(10);

/// The stream after its handshake; `None` after telling the log why there is none. Clients can
/// provoke that at will, so it is no warning.
pub(super) async fn handshake(
    socket: Socket,
    listener: Listener,
    connection: &Connection,
) -> Option<TlsStream<Socket>> {
    let digest = socket.get_socket_digest();
    let peer = || {
        let peer = digest.as_ref().and_then(|digest| digest.peer_addr());
        peer.map(ToString::to_string).unwrap_or_default()
    };
    let acceptor = Acceptor::from_server_config(listener.server);
    let stream = match tokio::time::timeout(LIMIT, acceptor.tls_handshake(socket)).await {
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
            log::log!(level, "TLS handshake with {} failed: {why}", peer());
            return None;
        }
        Err(_) => {
            log::info!(
                "TLS handshake with {} failed: not over after {} s",
                peer(),
                LIMIT.as_secs()
            );
            return None;
        }
    };
    if let Some(ca) = &listener.client_ca {
        note_certificate(&stream, ca, connection)?;
    }
    Some(stream)
}

/// Keeps the client's certificate for the requests to come; `None`: there is one, and it cannot be
/// understood.
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
