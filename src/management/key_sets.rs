//! `POST /keys/refresh`: every key set is fetched now, for when a key has been compromised.

use http::StatusCode;
use serde_json::{Value, json};

use super::response::ApiResponse;
use crate::gateway::{KeySetStatus, Live};

/// Fetches all, and tells how each of them stands then. One that cannot be fetched goes on serving
/// what it had, and says why; then the answer is a 502, so that nobody takes it for done.
pub(super) async fn refresh(live: &Live) -> ApiResponse {
    let sets = live.auth().key_sets().refresh_all().await;
    let failed = sets.iter().filter(|set| set.last_error.is_some()).count();
    let sets: Vec<Value> = sets.iter().map(key_set_json).collect();
    let answer = json!({ "refreshed": sets.len() - failed, "failed": failed, "key_sets": sets });
    match failed {
        0 => ApiResponse::ok(&answer),
        _ => ApiResponse::json(StatusCode::BAD_GATEWAY, &answer),
    }
}

fn key_set_json(set: &KeySetStatus) -> Value {
    json!({
        "url": set.url,
        "issuer": set.issuer,
        "keys": set.keys,
        "age_secs": set.age.map(|age| age.as_secs()),
        "generation": set.generation,
        "last_error": set.last_error,
    })
}
