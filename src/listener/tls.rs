//! The TLS handshake of a new connection.
//!
//! Pingora would make the settings of a listener once, when it starts. Here every new connection
//! takes those of the gateway that serves at that moment, so that certificates change with a reload
//! like all the rest, and connections that are there already do not notice.

use std::time::Duration;

use pingora::listeners::tls::Acceptor;
use pingora::protocols::l4::stream::Stream as Socket;
use pingora::protocols::tls::TlsStream;
use pingora::protocols::{GetSocketDigest, Peek, Shutdown, Ssl};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::close_reason::Cut;
use super::connection::Connection;
use crate::auth::ClientCertificate;
use crate::gateway::{ClientCa, Listener};

/// How long a handshake may take. (Pingora's own limit is a minute.)
const LIMIT: Duration = Duration::from_secs(10);
/// How long, and how much, a client may send on that speaks plain HTTP.
const MOMENT: Duration = Duration::from_secs(1);
const MOST_PLAIN: u64 = 256 * 1024;
/// What it is told: as every other refusal.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 70\r\nConnection: close\r\n\r\n\
    {\"error\":\"Bad Request\",\"message\":\"this port speaks TLS: use https://\"}";

/// The stream after its handshake; `None` after telling the log why there is none. Clients can
/// provoke that at will, so it is no warning.
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
    let shaking = async {
        let mut first = [0];
        // An end here is for the handshake to tell.
        let peeked = socket.try_peek(&mut first).await;
        if peeked.is_ok() && first[0].is_ascii_uppercase() {
            refuse_plain(&mut socket).await;
            return None;
        }
        Some(acceptor.tls_handshake(socket).await)
    };
    let stream = match tokio::time::timeout(LIMIT, shaking).await {
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
            // Counted, and logged at `debug`, as every connection that is closed for a limit.
            connection.progress().cut(Cut::HandshakeTimeout);
            return None;
        }
    };
    if let Some(ca) = &listener.client_ca {
        note_certificate(&stream, ca, connection)?;
    }
    Some(stream)
}

/// The last word to a client that speaks plain HTTP. Its request is read on for a moment: closing on
/// unread bytes would take the answer away.
async fn refuse_plain(socket: &mut Socket) {
    if socket.write_all(PLAIN).await.is_err() || socket.flush().await.is_err() {
        return;
    }
    Shutdown::shutdown(socket).await;
    let mut rest = socket.take(MOST_PLAIN);
    let mut nowhere = tokio::io::sink();
    let reading = tokio::io::copy(&mut rest, &mut nowhere);
    let _ = tokio::time::timeout(MOMENT, reading).await;
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
