//! The TLS handshake of a new connection.
//!
//! Pingora would build the settings of a listener once, at the start. Here every new connection
//! takes those of the gateway in service, so that certificates change with a reload, like
//! everything else, and open connections are not affected.

use std::time::Duration;

use pingora::listeners::tls::Acceptor;
use pingora::protocols::l4::stream::Stream as Socket;
use pingora::protocols::tls::TlsStream;
use pingora::protocols::{GetSocketDigest, Peek, Ssl};

use super::close_reason::CloseReason;
use super::connection::Connection;
use super::error_response::respond_and_close;
use crate::auth::ClientCertificate;
use crate::gateway::{ClientAuth, Listener};

/// How long a handshake may take. (Pingora's own limit is a minute.)
const TIMEOUT: Duration = Duration::from_secs(10);
/// To a client that speaks plain HTTP, in the form of every other refusal.
const PLAIN_HTTP_RESPONSE: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: \
                                     application/json\r\nContent-Length: 70\r\n\
                                     Connection: close\r\n\r\n\
    {\"error\":\"Bad Request\",\"message\":\"this port speaks TLS: use https://\"}";

/// The stream after its handshake; `None`: it failed, which is logged, but not as a warning, since
/// clients can provoke it at will.
pub(super) async fn handshake(
    mut socket: Socket,
    listener: Listener,
    connection: &Connection,
) -> Option<TlsStream<Socket>> {
    let digest = socket.get_socket_digest();
    let peer = || {
        let peer = digest.as_ref().and_then(|digest| digest.peer_addr());
        peer.map(ToString::to_string).unwrap_or_default()
    };
    let acceptor = Acceptor::from_server_config(listener.server);
    let handshake = async {
        let mut first = [0];
        // An error here is reported by the handshake.
        let peeked = socket.try_peek(&mut first).await;
        if peeked.is_ok() && first[0].is_ascii_uppercase() {
            respond_and_close(&mut socket, PLAIN_HTTP_RESPONSE).await;
            return None;
        }
        Some(acceptor.tls_handshake(socket).await)
    };
    let stream = match tokio::time::timeout(TIMEOUT, handshake).await {
        Ok(Some(Ok(stream))) => stream,
        Ok(None) => {
            log::info!(
                "TLS handshake with {} failed: it spoke plain HTTP, and was told to use https",
                peer()
            );
            return None;
        }
        Ok(Some(Err(error))) => {
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
            // Counted, and logged at `debug`, like every connection that is closed for a limit.
            connection.state().close(CloseReason::HandshakeTimeout);
            return None;
        }
    };
    if let Some(auth) = &listener.client_auth {
        keep_certificate(&stream, auth, connection)?;
    }
    Some(stream)
}

/// Keeps the client's certificate for its requests; `None`: there is one, and it cannot be parsed.
fn keep_certificate(
    stream: &TlsStream<Socket>,
    auth: &ClientAuth,
    connection: &Connection,
) -> Option<()> {
    let Some(chain) = stream.get_ssl().and_then(|tls| tls.peer_cert_chain_der()) else {
        return Some(());
    };
    let Some(certificate) = ClientCertificate::parse(chain) else {
        log::info!("TLS: a client's certificate cannot be read; the connection was closed");
        return None;
    };
    auth.note_handshake(&certificate);
    connection.set_client_certificate(certificate);
    Some(())
}
