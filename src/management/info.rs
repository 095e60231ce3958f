//! `GET /info`, `/pipelines` and `/routes`: what runs, and what it serves. Never a secret.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::response::ApiResponse;
use crate::control::Agent;
use crate::gateway::{Live, SetAside};

/// The process and its connection to the cloud. Times are Unix seconds; the expiry is as the cloud
/// wrote it.
pub(super) fn info(
    live: &Live,
    agent: &Agent,
    started_at: SystemTime,
    uptime: Duration,
) -> ApiResponse {
    let status = agent.status();
    let mut runbeam = json!({
        "enabled": status.enabled,
        "state": status.state.name(),
        "set_aside": live.set_aside().iter().map(set_aside).collect::<Vec<_>>(),
    });
    let counters = status.counters;
    let known: [(&str, Option<Value>); 8] = [
        ("gateway_id", status.gateway_id.map(Value::from)),
        ("token_expires_at", status.token_expires_at.map(Value::from)),
        ("token_source", status.token_source.map(Value::from)),
        ("token_store", status.token_store.map(Value::from)),
        ("last_poll", status.last_poll.map(|at| seconds(at).into())),
        ("last_error", status.last_error.map(Value::from)),
        (
            "pending_changes",
            status.enabled.then(|| status.pending_changes.into()),
        ),
        (
            "counters",
            status.enabled.then(|| {
                json!({
                    "polls": counters.polls_ok,
                    "polls_failed": counters.polls_failed,
                    "changes_applied": counters.changes_applied,
                    "changes_failed": counters.changes_failed,
                    "renewals": counters.renewals_ok,
                    "renewals_failed": counters.renewals_failed,
                })
            }),
        ),
    ];
    for (name, value) in known {
        if let Some(value) = value {
            runbeam[name] = value;
        }
    }
    ApiResponse::ok(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        // What the published client reads: the start.
        "uptime": seconds(started_at),
        "uptime_secs": uptime.as_secs(),
        "os": std::env::consts::OS,
        "arch": std::env::consts::ARCH,
        "proxy_id": live.config().id,
        "config_generation": live.status().generation,
        "runbeam": runbeam,
    }))
}

/// The pipelines that serve, those from the cloud included.
pub(super) fn pipelines(live: &Live) -> ApiResponse {
    let config = live.config();
    let pipelines: Vec<Value> = config
        .pipelines
        .iter()
        .map(|pipeline| {
            let endpoints: Vec<&str> = pipeline.endpoints.iter().map(|it| &*it.name).collect();
            let backends: Vec<&str> = pipeline.backends.iter().map(|it| &*it.name).collect();
            let middleware: Vec<&str> = pipeline.steps.iter().map(|it| &*it.name).collect();
            let networks: Vec<&str> = pipeline.networks.iter().map(|name| &**name).collect();
            json!({
                "id": &*pipeline.name,
                "description": pipeline.description,
                "networks": networks,
                "endpoints": endpoints,
                "backends": backends,
                "middleware": middleware,
            })
        })
        .collect();
    ApiResponse::ok(&json!({ "pipelines": pipelines }))
}

/// The places where requests come in. No method named means every method.
pub(super) fn routes(live: &Live) -> ApiResponse {
    let config = live.config();
    let mut routes: Vec<Value> = Vec::new();
    for pipeline in &config.pipelines {
        for endpoint in &pipeline.endpoints {
            let methods: Vec<&str> = match endpoint.methods.as_slice() {
                [] => vec!["*"],
                methods => methods.iter().map(|method| method.as_str()).collect(),
            };
            routes.push(json!({
                "path": endpoint.path_prefix,
                "methods": methods,
                "description": pipeline.description,
                "endpoint_name": &*endpoint.name,
                "service_type": endpoint.service.as_str(),
                "pipeline": &*pipeline.name,
                "hosts": endpoint.hosts,
            }));
        }
    }
    ApiResponse::ok(&json!({ "routes": routes }))
}

fn set_aside(part: &SetAside) -> Value {
    let errors: Vec<String> = part.errors.iter().map(ToString::to_string).collect();
    json!({ "change": part.change, "entry": part.entry.to_string(), "errors": errors })
}

/// Unix time.
pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
