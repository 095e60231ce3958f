//! `GET /backends`: where requests go, and how each upstream stands.

use serde_json::{Value, json};

use super::info::seconds;
use super::response::ApiResponse;
use crate::gateway::{BackendStatus, Live, UpstreamStatus};

/// The backends that the configuration's pipelines use.
pub(super) fn backends(live: &Live) -> ApiResponse {
    let backends: Vec<Value> = live.backends().iter().map(backend).collect();
    ApiResponse::ok(&json!({ "backends": backends }))
}

/// One of them.
pub(super) fn backend(status: &BackendStatus) -> Value {
    let upstreams: Vec<Value> = status.upstreams.iter().map(upstream).collect();
    json!({
        "name": &*status.name,
        "pipelines": status.pipelines.iter().map(|name| &**name).collect::<Vec<&str>>(),
        "balance": status.balance.as_str(),
        "weight": status.weight,
        "when": status.when,
        "upstreams": upstreams,
    })
}

fn upstream(status: &UpstreamStatus) -> Value {
    let health = &status.health;
    json!({
        "url": status.url,
        "addresses": status.addresses,
        "weight": status.weight,
        "health_check": status.checked,
        "drained": status.drained,
        "state": health.state.as_str(),
        "since": seconds(health.since),
        "last_error": health.last_error,
        "in_flight": health.in_flight,
        "requests": health.requests,
        "failures": health.failures,
    })
}
