//! What `/status` and its history say of pipelines and backends.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::gateway::{BackendStatus, Pipeline};
use crate::management::backends;
use crate::telemetry::PipelineMetrics;

/// A pipeline, with its counts and its backends.
pub(super) fn pipeline(pipeline: &Pipeline, backends: &[BackendStatus]) -> Value {
    let settings = &pipeline.settings;
    let endpoints: Vec<Value> = settings
        .endpoints
        .iter()
        .map(|endpoint| {
            let methods: Vec<&str> = endpoint
                .methods
                .iter()
                .map(|method| method.as_str())
                .collect();
            json!({
                "name": &*endpoint.name,
                "path_prefix": endpoint.path_prefix,
                "hosts": endpoint.hosts,
                "methods": methods,
            })
        })
        .collect();
    let steps: Vec<Value> = settings
        .steps
        .iter()
        .map(|step| {
            json!({
                "name": &*step.name,
                "type": step.kind.type_name(),
                "optional": step.kind.is_optional(),
                "enforce": step.enforce,
                "rules_in_shadow": step.rules_in_shadow().collect::<Vec<_>>(),
            })
        })
        .collect();
    let networks: Vec<&str> = settings.networks.iter().map(|network| &**network).collect();
    let own = backends
        .iter()
        .filter(|one| one.pipelines.contains(&pipeline.name));
    let backends: Vec<Value> = own.map(backend).collect();
    let mut object = counts(&pipeline.metrics);
    object["name"] = json!(&*pipeline.name);
    object["description"] = json!(settings.description);
    object["open"] = json!(!settings.steps.iter().any(|step| step.authenticates()));
    object["networks"] = json!(networks);
    object["endpoints"] = json!(endpoints);
    object["steps"] = json!(steps);
    object["backends"] = json!(backends);
    object
}

/// What is counted of the requests of a pipeline.
pub(in crate::management) fn counts(metrics: &PipelineMetrics) -> Value {
    let codes: BTreeMap<String, u64> = metrics
        .codes()
        .into_iter()
        .map(|(code, count)| (code.to_string(), count))
        .collect();
    let refusals: BTreeMap<&str, u64> = metrics.refusals().into_iter().collect();
    let ended: BTreeMap<&str, u64> = metrics.ended_streams().into_iter().collect();
    let shadows = metrics.shadows();
    let shadow_denials: BTreeMap<&str, BTreeMap<&str, u64>> = shadows
        .iter()
        .map(|one| (&*one.step, one.denials().into_iter().collect()))
        .collect();
    let duration = metrics.duration();
    json!({
        "codes": codes,
        "refusals": refusals,
        "streams": { "open": metrics.open_streams(), "ended": ended },
        "shadow_denials": shadow_denials,
        "duration": { "sum": duration.sum, "cumulative": duration.cumulative },
    })
}

/// What `/backends` tells, what failed, and all of its URLs and addresses at a glance; `addresses`
/// is `null` for an echo.
fn backend(status: &BackendStatus) -> Value {
    let urls: Vec<&str> = status
        .upstreams
        .iter()
        .map(|one| one.url.as_str())
        .collect();
    let addresses = status.upstreams.iter().flat_map(|one| &one.addresses);
    let addresses: BTreeSet<String> = addresses.map(ToString::to_string).collect();
    let echoes = urls.is_empty();
    let mut object = backends::backend(status);
    object["target"] = json!(if echoes {
        "echo".to_owned()
    } else {
        urls.join(", ")
    });
    object["addresses"] = json!((!echoes).then_some(addresses));
    object["failures"] = json!(failures(status));
    object
}

fn failures(status: &BackendStatus) -> BTreeMap<&'static str, u64> {
    status.metrics.failures().into_iter().collect()
}

/// What of a backend only grows.
pub(in crate::management) fn backend_counts(status: &BackendStatus) -> Value {
    let upstreams = status.upstreams.iter();
    json!({
        "name": &*status.name,
        "failures": failures(status),
        "upstreams": upstreams
            .map(|one| json!({ "url": one.url, "requests": one.health.requests }))
            .collect::<Vec<_>>(),
    })
}
