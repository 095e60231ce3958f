//! `POST /upstreams/drain` and `/upstreams/enable`: an upstream gets no new requests, or some
//! again.

use http::StatusCode;
use pingora::protocols::http::ServerSession;
use serde_json::json;

use super::body::{self, Fields};
use super::response::ApiResponse;
use crate::gateway::Live;

/// Drains the upstream that the body names, or enables it.
pub(super) async fn drain(
    live: &Live,
    session: &mut ServerSession,
    drained: bool,
) -> Result<ApiResponse, ApiResponse> {
    let fields = Fields::parse(&body::read(session).await?)?;
    fields.only(&["backend", "upstream"])?;
    let backend = fields.text("backend", 256)?;
    let upstream = fields.text("upstream", 1024)?;
    let Some(in_flight) = live.drain(backend, upstream, drained) else {
        return Err(ApiResponse::error(
            StatusCode::NOT_FOUND,
            "no pipeline uses such an upstream: /backends lists them",
        ));
    };
    let mut answer = ApiResponse::ok(&json!({
        "backend": backend,
        "upstream": upstream,
        "drained": drained,
        "in_flight": in_flight,
    }));
    let done = if drained { "drained" } else { "enabled" };
    answer.message = format!("{backend}/{upstream} {done}");
    Ok(answer)
}
