//! `POST /reload` and `GET /config/status`.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::StatusCode;
use serde_json::json;

use super::{Answer, Body, error};
use crate::gateway::{Live, Reload, ReloadError};

/// Reads the configuration again and puts it in service, or answers 422 with every error.
pub(super) async fn reload(live: Arc<Live>) -> Answer {
    let worker = live.clone();
    let outcome = match tokio::task::spawn_blocking(move || worker.reload()).await {
        Ok(outcome) => outcome,
        Err(_) => return error(StatusCode::INTERNAL_SERVER_ERROR, "the reload did not end"),
    };
    let last_reload = seconds(live.status().applied_at);
    let answer = |status: &str, changes: Vec<String>| {
        json!({
            "status": status,
            "diff": { "zero_downtime_changes": changes, "adapter_restarts_required": [] },
            "restarted_networks": [],
            "last_reload": last_reload,
        })
        .into()
    };
    match outcome {
        Ok(Reload::Unchanged) => (StatusCode::OK, answer("unchanged", Vec::new())),
        Ok(Reload::Reloaded(diff)) => {
            let told = |what: &'static str| move |name: String| format!("pipeline {name} {what}");
            let added = diff.added.into_iter().map(told("added"));
            let removed = diff.removed.into_iter().map(told("removed"));
            let changed = diff.changed.into_iter().map(told("changed"));
            let others = diff.others.iter().map(|what| format!("{what} changed"));
            (
                StatusCode::OK,
                answer(
                    "reloaded",
                    added.chain(removed).chain(changed).chain(others).collect(),
                ),
            )
        }
        Err(refused) => {
            let mut answer = error(StatusCode::UNPROCESSABLE_ENTITY, &refused.to_string());
            if let ReloadError::Config(errors) = &refused {
                let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
                if let Body::Json(body) = &mut answer.1 {
                    body["errors"] = json!(errors);
                }
            }
            answer
        }
    }
}

/// How the configuration stands.
pub(super) fn status(live: &Live) -> Answer {
    let status = live.status();
    let body = json!({
        "generation": status.generation,
        "source": status.source,
        "last_reload": seconds(status.applied_at),
        "last_error": status.last_error,
        "errors": status.last_errors,
        "fingerprint": live.fingerprint(),
    });
    (StatusCode::OK, body.into())
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
