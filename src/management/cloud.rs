//! `POST /update` and `POST /cloud/discard`: the local configuration goes up, the cloud's is
//! dropped.

use std::sync::Arc;

use http::{StatusCode, header};
use serde_json::json;

use super::response::ApiResponse;
use crate::control::{Agent, UploadError};
use crate::gateway::Live;
use runbeam_sdk::RunbeamError;

/// The words that the published client looks for.
const DISABLED: &str =
    "Runbeam Cloud integration is disabled. Set runbeam.enabled=true in the configuration.";

/// 403 while Runbeam is off.
pub(super) fn disabled() -> ApiResponse {
    ApiResponse::error(StatusCode::FORBIDDEN, DISABLED)
}

/// Uploads the local configuration, references as they stand in the files.
pub(super) async fn upload(agent: &Agent) -> ApiResponse {
    match agent.upload().await {
        Ok(uploaded) => ApiResponse::ok(&json!({
            "success": true,
            "message": "the configuration is stored in Runbeam Cloud",
            "config_size": uploaded.config_size,
            "pipeline_count": uploaded.pipeline_count,
            "transform_count": 0,
            "mesh_count": 0,
        })),
        Err(UploadError::Disabled) => disabled(),
        Err(UploadError::Unauthorized) => ApiResponse::unauthorized(
            "this gateway has no machine token: authorize it first, with `runbeam \
             harmony:authorize`",
        ),
        Err(UploadError::Refused(errors)) => ApiResponse::error_with(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!("nothing was uploaded: {}", errors.join("; ")),
            json!({ "errors": errors }),
        ),
        Err(UploadError::Cloud(error)) => cloud_error(&error),
    }
}

/// Drops what the cloud has sent, and serves the local files alone.
pub(super) async fn discard(live: Arc<Live>) -> ApiResponse {
    let outcome = tokio::task::spawn_blocking(move || live.discard_layer()).await;
    match outcome {
        Ok(Ok(_)) => ApiResponse::ok(&json!({
            "success": true,
            "message": "the configuration from the cloud is discarded; the local files are in \
                        service",
        })),
        Ok(Err(error)) => super::reload::refused(&error),
        Err(_) => ApiResponse::error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "discarding the configuration from the cloud failed",
        ),
    }
}

/// An error of the cloud, as the caller gets it: the status where it is the caller's matter, and
/// none of the cloud's words.
pub(super) fn cloud_error(error: &RunbeamError) -> ApiResponse {
    log::warn!("management: {error}");
    let (status, message) = match error.status() {
        Some(401) => (
            StatusCode::UNAUTHORIZED,
            "Runbeam Cloud does not accept the token",
        ),
        Some(403) => (StatusCode::FORBIDDEN, "Runbeam Cloud does not allow this"),
        Some(404) => (StatusCode::NOT_FOUND, "Runbeam Cloud does not know this"),
        Some(422) => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "Runbeam Cloud rejects these values",
        ),
        Some(429) => (
            StatusCode::TOO_MANY_REQUESTS,
            "too many calls to Runbeam Cloud: try again later",
        ),
        _ if error.is_timeout() => (
            StatusCode::GATEWAY_TIMEOUT,
            "Runbeam Cloud did not answer in time",
        ),
        _ => (
            StatusCode::BAD_GATEWAY,
            "Runbeam Cloud cannot be reached, or its answer is not valid",
        ),
    };
    let answer = match status {
        StatusCode::UNAUTHORIZED => ApiResponse::unauthorized(message),
        _ => ApiResponse::error(status, message),
    };
    match error.retry_after() {
        Some(pause) => answer.with(header::RETRY_AFTER, &pause.as_secs().max(1).to_string()),
        None => answer,
    }
}
