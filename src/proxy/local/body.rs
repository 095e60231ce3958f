//! The body of a request that the edge answers itself.

use pingora::ErrorType;
use pingora_proxy::Session;

use crate::listener::WRITE_TIMEOUT;
use crate::proxy::request::body_rate::{self, BodyRate};
use crate::proxy::request::context::Context;
use crate::proxy::request::head;
use crate::proxy::request::rejection::Rejection;

/// A body that was read to its end.
pub(super) struct Body {
    /// The first bytes of it.
    pub(super) start: Vec<u8>,
    /// How many bytes it has.
    pub(super) total: u64,
}

/// Reads a body within the limit of its endpoint, and keeps so much of it.
pub(super) async fn read(
    session: &mut Session,
    ctx: &mut Context,
    keep: usize,
) -> pingora::Result<Result<Body, Rejection>> {
    let route = ctx.route.as_ref();
    let limit = route.map_or(0, |route| route.endpoint.max_body_size);
    if head::expects_continue(session) {
        session.write_continue_response().await?;
        if let Some(rate) = &mut ctx.body.rate {
            rate.mark_told();
        }
    }
    let mut body = Body {
        start: Vec::new(),
        total: 0,
    };
    loop {
        // Over HTTP/2, Pingora would wait for ever.
        let reading = tokio::time::timeout(WRITE_TIMEOUT, session.read_request_body());
        let reading = async { reading.await.unwrap_or_else(|_| Err(body_rate::too_slow())) };
        let bytes = match BodyRate::read(&mut ctx.body.rate, reading).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(Ok(body)),
            Err(error) if *error.etype() == ErrorType::ReadTimedout => {
                return Ok(Err(Rejection::body_timeout()));
            }
            Err(error) => return Err(error),
        };
        body.total += bytes.len() as u64;
        if body.total > limit {
            return Ok(Err(Rejection::body_too_large()));
        }
        let room = keep.saturating_sub(body.start.len());
        body.start
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}
