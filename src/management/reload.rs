//! `POST /reload` and `GET /config/status`.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::StatusCode;
use serde_json::{Value, json};

use super::answer::Answer;
use crate::gateway::{Live, Loader, Reload, ReloadError};

/// Reads the configuration again and puts it in service, or answers 422 with every error.
pub(super) async fn reload(live: Arc<Live>, loader: Loader) -> Answer {
    let worker = live.clone();
    let outcome = match tokio::task::spawn_blocking(move || worker.apply(|| loader())).await {
        Ok(outcome) => outcome,
        Err(_) => {
            return Answer::error(StatusCode::INTERNAL_SERVER_ERROR, "the reload did not end");
        }
    };
    let last_reload = seconds(live.status().applied_at);
    let answer = |status: &str, changes: Vec<String>| {
        json!({
            "status": status,
            "diff": { "zero_downtime_changes": changes, "adapter_restarts_required": [] },
            "restarted_networks": [],
            "last_reload": last_reload,
        })
    };
    match outcome {
        Ok(Reload::Unchanged) => Answer::ok(&answer("unchanged", Vec::new())),
        Ok(Reload::Reloaded(diff)) => {
            let told = |what: &'static str| move |name: String| format!("pipeline {name} {what}");
            let added = diff.added.into_iter().map(told("added"));
            let removed = diff.removed.into_iter().map(told("removed"));
            let changed = diff.changed.into_iter().map(told("changed"));
            let changes = added.chain(removed).chain(changed).collect();
            Answer::ok(&answer("reloaded", changes))
        }
        Err(refused) => {
            let errors = match &refused {
                ReloadError::Config(errors) => {
                    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
                    json!({ "errors": errors })
                }
                ReloadError::RestartRequired(_) => json!({}),
            };
            Answer::error_with(
                StatusCode::UNPROCESSABLE_ENTITY,
                refused.to_string(),
                errors,
            )
        }
    }
}

/// `GET /config/status`.
pub(super) fn status(live: &Live) -> Answer {
    Answer::ok(&configuration(live))
}

/// How the configuration stands.
pub(super) fn configuration(live: &Live) -> Value {
    let status = live.status();
    json!({
        "generation": status.generation,
        "source": "file",
        "last_reload": seconds(status.applied_at),
        "last_error": status.last_error,
        "fingerprint": live.fingerprint(),
    })
}

/// Unix time.
pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
