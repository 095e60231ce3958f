//! The rest of a request's body that nobody wants.

use std::time::Duration;

use pingora::protocols::http::ServerSession;
use tokio::time::timeout;

/// How long a client may go on with a body that nobody wants.
#[derive(Debug, Clone, Copy)]
pub struct DrainLimits {
    /// As a whole.
    pub total: Duration,
    /// Between two parts of it.
    pub pause: Duration,
    /// Bytes.
    pub size: usize,
}

/// Reads and discards the rest of a body, so that the client gets to read its response: many read
/// only when they have sent all, and a connection that is closed with something unread is reset,
/// and the response lost. `true`: the body has ended within the limits.
pub async fn drain_body(session: &mut ServerSession, limits: DrainLimits) -> bool {
    let reading = async {
        let mut size = 0;
        loop {
            match timeout(limits.pause, session.read_request_body()).await {
                Ok(Ok(Some(part))) => size += part.len(),
                Ok(Ok(None)) => return true,
                Ok(Err(_)) | Err(_) => return false,
            }
            if size > limits.size {
                return false;
            }
        }
    };
    timeout(limits.total, reading).await.unwrap_or(false)
}
