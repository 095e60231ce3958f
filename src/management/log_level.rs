//! `POST /log-level`: another level of the log, for a while.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use log::LevelFilter;
use pingora::protocols::http::ServerSession;
use serde_json::{Value, json};

use super::body::{self, bad};
use super::response::ApiResponse;
use crate::telemetry::set_level;

/// How long, if it is not said, and at most: a log at `trace` is not to be forgotten.
const FOR_SECS: u64 = 600;
const MAX_SECS: u64 = 86_400;

/// Counts the changes: only the end of the last one restores the level.
static CHANGES: AtomicU64 = AtomicU64::new(0);

/// Sets the level that the body names, for as long as it says.
pub(super) async fn set(session: &mut ServerSession) -> Result<ApiResponse, ApiResponse> {
    let body = body::read(session).await?;
    let body = body::object(&body)?;
    body::refuse_unknown(&body, &["level", "for_secs"])?;
    let level = body.get("level").and_then(Value::as_str);
    let level = level.and_then(|level| level.parse().ok());
    let level: LevelFilter =
        level.ok_or_else(|| bad("level must be off, error, warn, info, debug or trace"))?;
    let seconds = match body.get("for_secs") {
        None | Some(Value::Null) => FOR_SECS,
        Some(value) => value
            .as_u64()
            .filter(|seconds| (1..=MAX_SECS).contains(seconds))
            .ok_or_else(|| bad(&format!("for_secs must be 1 to {MAX_SECS}")))?,
    };
    let change = CHANGES.fetch_add(1, Ordering::Relaxed) + 1;
    set_level(Some(level));
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        if CHANGES.load(Ordering::Relaxed) == change {
            set_level(None);
            log::info!("the log has its configured level again");
        }
    });
    let level = level.as_str().to_ascii_lowercase();
    let mut answer = ApiResponse::ok(&json!({ "level": level, "for_secs": seconds }));
    answer.message = format!("level {level} for {seconds} s");
    Ok(answer)
}
