//! `GET /backends`: where requests go, and how each upstream stands.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::gateway::{BackendStatus, Live, UpstreamStatus};

/// The backends that the configuration's pipelines use.
pub(super) fn backends(live: &Live) -> Value {
    let backends: Vec<Value> = live.backends().iter().map(backend).collect();
    json!({ "backends": backends })
}

fn backend(status: &BackendStatus) -> Value {
    let upstreams: Vec<Value> = status.upstreams.iter().map(upstream).collect();
    json!({
        "name": &*status.name,
        "pipelines": status.pipelines.iter().map(|name| &**name).collect::<Vec<&str>>(),
        "balance": status.balance.as_str(),
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
        "state": health.state.as_str(),
        "since": seconds(health.since),
        "last_error": health.last_error,
        "in_flight": health.in_flight,
        "requests": health.requests,
        "failures": health.failures,
    })
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
