//! `POST /reload` and `GET /config/status`.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use super::info::seconds;
use super::response::ApiResponse;
use crate::gateway::{Live, Reload, ReloadError};

/// Reads the configuration again and puts it in service, or answers 422 with every error.
pub(super) async fn reload(live: Arc<Live>) -> ApiResponse {
    let worker = live.clone();
    let outcome = match tokio::task::spawn_blocking(move || worker.reload()).await {
        Ok(outcome) => outcome,
        Err(_) => {
            return ApiResponse::error(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the reload failed: its task ended early",
            );
        }
    };
    let last_reload = seconds(live.status().applied_at);
    let answer = |status: &str, changes: Vec<String>| {
        ApiResponse::ok(&json!({
            "status": status,
            "diff": { "zero_downtime_changes": changes, "adapter_restarts_required": [] },
            "restarted_networks": [],
            "last_reload": last_reload,
        }))
    };
    match outcome {
        Ok(Reload::Unchanged) => answer("unchanged", Vec::new()),
        Ok(Reload::Reloaded(diff)) => {
            let describe =
                |what: &'static str| move |name: String| format!("pipeline {name} {what}");
            let added = diff.added.into_iter().map(describe("added"));
            let removed = diff.removed.into_iter().map(describe("removed"));
            let changed = diff.changed.into_iter().map(describe("changed"));
            let others = diff.others.iter().map(|what| format!("{what} changed"));
            let changes = added.chain(removed).chain(changed).chain(others);
            answer("reloaded", changes.collect())
        }
        Err(error) => refused(&error),
    }
}

/// 422 with every error.
pub(super) fn refused(error: &ReloadError) -> ApiResponse {
    ApiResponse::error_with(
        StatusCode::UNPROCESSABLE_ENTITY,
        error.to_string(),
        json!({ "errors": error.details() }),
    )
}

/// `GET /config/status`.
pub(super) fn status(live: &Live) -> ApiResponse {
    ApiResponse::ok(&configuration(live))
}

/// How the configuration stands.
pub(super) fn configuration(live: &Live) -> Value {
    let status = live.status();
    json!({
        "generation": status.generation,
        "source": status.source,
        "last_reload": seconds(status.applied_at),
        "last_error": status.last_error,
        "errors": status.last_errors,
        "fingerprint": live.fingerprint(),
    })
}
