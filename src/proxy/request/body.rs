//! The body of a request: its beginning, and the rest that nobody wants.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header;
use pingora::protocols::http::ServerSession;
use pingora_proxy::Session;
use tokio::time::timeout;

use super::body_rate::BodyRate;
use crate::listener::{Connection, DrainLimits, drain_body};

/// How long the first part is waited for before there is an upstream.
const FIRST_PART_WAIT: Duration = Duration::from_millis(100);
/// How long a client may go on with a body that nobody wants.
const DRAIN: DrainLimits = DrainLimits {
    total: Duration::from_secs(30),
    pause: Duration::from_secs(2),
    size: usize::MAX,
};

/// What is known of the body of a request.
#[derive(Debug, Default)]
pub(crate) struct BodyInfo {
    /// The part that was read before there was an upstream, until an attempt sends it.
    pub(crate) first_part: Option<Bytes>,
    /// How fast it comes; `None`: there is none, or it is there as a whole.
    pub(crate) rate: Option<BodyRate>,
    /// Whether the client may still be sending though it has its response.
    pub(crate) drain: bool,
}

/// Waits for the first part of a body: until then, or for a moment, nobody upstream needs to know
/// of the request. Who switches protocols, or expects to be told to go on, has none to send yet.
pub(crate) async fn read_first_part(
    session: &mut Session,
    body: &mut BodyInfo,
) -> pingora::Result<()> {
    let head = session.req_header();
    let waits = session.is_upgrade_req() || head.headers.contains_key(header::EXPECT);
    if waits || session.is_body_done() {
        return Ok(());
    }
    // An attempt that fails leaves it to the next one.
    session.enable_retry_buffering();
    let reading = session.downstream_session.read_body_or_idle(false);
    let mut reading = pin!(BodyRate::read(&mut body.rate, reading));
    // Mostly it has come with the head, and there is nothing to register a timer for.
    let part = match now_or_never(reading.as_mut()).await {
        Some(part) => part,
        None => match timeout(FIRST_PART_WAIT, reading).await {
            Ok(part) => part,
            Err(_) => return Ok(()),
        },
    };
    body.first_part = part.map_err(|error| error.into_down())?;
    Ok(())
}

/// What is there without waiting.
pub(crate) async fn now_or_never<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Lingering close for a client that is still sending after its response: our side is shut down,
/// and what arrives is discarded within [`DRAIN`]. Past that, an HTTP/2 stream is reset with
/// NO_ERROR.
pub(crate) async fn drain(session: &mut Session) {
    let connection = Connection::of(session.digest()).cloned();
    if let Some(connection) = &connection
        && connection.state().close_reason().is_some()
    {
        // It was to make room for others.
        return;
    }
    // Meanwhile it may make room for others at any time.
    let _stalled = connection.as_ref().map(Connection::stalled);
    let draining = async {
        if let ServerSession::H1(client) = &mut *session.downstream_session {
            client.shutdown().await;
        }
        drain_body(&mut session.downstream_session, DRAIN).await
    };
    // The time for both together.
    let _ = timeout(DRAIN.total, draining).await;
}
