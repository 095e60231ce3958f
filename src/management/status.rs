//! `GET /status`: everything that the status page shows, in one JSON object. Counts only grow;
//! rates are differences to what `history` holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::backends;
use super::metrics::unix;
use super::process::Process;
use super::reload;
use super::response::ApiResponse;
use crate::control::{Agent, Status};
use crate::gateway::{
    BackendStatus, Gateway, IssuerStatus, KeySetStatus, Live, Pipeline, ReceiverStatus,
};
use crate::telemetry::spans::{self, Tracer};
use crate::telemetry::{BOUNDS, LogWriter, PipelineMetrics, audit};

/// How everything stands now.
pub(super) fn answer(live: &Live, agent: &Agent, log: &LogWriter) -> ApiResponse {
    let gateway = live.gateway();
    let metrics = live.metrics();
    let backends = BackendStatus::of(&gateway);
    let pipelines = gateway.pipelines().iter();
    let pipelines: Vec<Value> = pipelines.map(|one| pipeline(one, &backends)).collect();
    let certificates: Vec<Value> = gateway
        .certificates()
        .map(
            |one| json!({ "network": &*one.network, "name": one.name, "not_after": one.not_after }),
        )
        .collect();
    let key_sets = live.auth().key_sets().status();
    let key_sets: Vec<Value> = key_sets.iter().map(|set| key_set(set, &gateway)).collect();
    let issuers: Vec<Value> = live
        .auth()
        .key_sets()
        .issuers()
        .iter()
        .map(issuer)
        .collect();
    let questions = live.auth().introspections();
    let revocations = live.auth().revocations().status();
    let notices: Vec<Value> = live.auth().receivers().iter().map(notice).collect();
    let limiters = live.limiters().status();
    let proofs = live.auth().proofs();
    let (tokens, passwords, process) = (
        live.auth().token_cache(),
        live.auth().passwords(),
        Process::now(),
    );
    ApiResponse::ok(&json!({
        "id": gateway.id(),
        "version": env!("CARGO_PKG_VERSION"),
        "now": unix(SystemTime::now()),
        "started": unix(metrics.started),
        "config": configuration(live),
        "in_flight": metrics.in_flight().load(Ordering::Relaxed),
        "duration_bounds": BOUNDS,
        "pipelines": pipelines,
        "unmatched": counts(metrics.unmatched()),
        "issuers": issuers,
        "key_sets": key_sets,
        "token_cache": {
            "hits": tokens.hits,
            "misses": tokens.misses,
            "entries": tokens.entries,
            "bytes": tokens.bytes,
            "limit": tokens.limit,
        },
        "dpop": {
            "remembered": proofs.remembered,
            "limit": proofs.limit,
            "replayed": proofs.replayed,
            "turned_away": proofs.turned_away,
        },
        "introspection": {
            "active": questions.active,
            "inactive": questions.inactive,
            "failed": questions.failed,
            "turned_away": questions.turned_away,
            "in_flight": questions.in_flight,
        },
        "revocations": {
            "entries": revocations.entries,
            "max": revocations.max,
            "revoked": revocations.revoked,
            "turned_away": revocations.turned_away,
            "failed": revocations.failed,
            "denied": revocations.denied,
            "notices": notices,
        },
        "shared_store": live.shared_store().map(|store| {
            let status = store.status();
            json!({
                "up": status.up,
                "questions": status.questions,
                "late": status.late,
                "last_error": status.last_error,
            })
        }),
        "rate_limits": { "keys": limiters.keys, "forgotten": limiters.forgotten },
        "passwords": { "hashed": passwords.hashed, "waiting": passwords.waiting },
        "runbeam": runbeam(&agent.status()),
        "certificates": certificates,
        "spans": span_counts(),
        "log": { "dropped": log.dropped() + audit::dropped().unwrap_or(0) },
        "process": {
            "cpu_seconds": process.cpu.as_secs_f64(),
            "resident_bytes": process.resident,
            "open_files": process.open_files,
            "max_files": process.max_files,
        },
    }))
}

/// What became of spans; `null` where none are made.
pub(super) fn span_counts() -> Option<Value> {
    let counts = spans::tracer().map(Tracer::counts)?;
    Some(json!({
        "exported": counts.exported,
        "dropped": counts.dropped,
        "failed": counts.failed,
    }))
}

fn notice(receiver: &ReceiverStatus) -> Value {
    json!({
        "service": receiver.service,
        "accepted": receiver.accepted,
        "refused": receiver.refused,
        "turned_away": receiver.turned_away,
    })
}

/// What `/config/status` tells, and how reloads ended.
fn configuration(live: &Live) -> Value {
    let status = live.status();
    let reloads = status.reloads;
    let mut object = reload::configuration(live);
    object["last_try"] = json!(unix(status.tried_at));
    let set_aside = live.set_aside();
    object["set_aside"] = json!(
        set_aside
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    );
    object["reloads"] = json!({
        "reloaded": reloads.reloaded,
        "unchanged": reloads.unchanged,
        "refused": reloads.refused,
    });
    object
}

fn pipeline(pipeline: &Pipeline, backends: &[BackendStatus]) -> Value {
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
pub(super) fn counts(metrics: &PipelineMetrics) -> Value {
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
pub(super) fn backend_counts(status: &BackendStatus) -> Value {
    let upstreams = status.upstreams.iter();
    json!({
        "name": &*status.name,
        "failures": failures(status),
        "upstreams": upstreams
            .map(|one| json!({ "url": one.url, "requests": one.health.requests }))
            .collect::<Vec<_>>(),
    })
}

/// An issuer, its document, and where that document leads: its key set is the one of `key_sets`
/// that names the issuer.
fn issuer(issuer: &IssuerStatus) -> Value {
    json!({
        "issuer": issuer.issuer,
        "document": issuer.document,
        "age_secs": issuer.age.map(|age| age.as_secs()),
        "fetches": issuer.fetches.0,
        "fetch_failures": issuer.fetches.1,
        "last_error": issuer.last_error,
        "jwks_uri": issuer.jwks_uri,
        "introspection_endpoint": issuer.introspection_endpoint,
    })
}

/// A key set, and whose tokens it verifies.
fn key_set(set: &KeySetStatus, gateway: &Gateway) -> Value {
    let pipelines = gateway.pipelines().iter();
    let served = pipelines.filter(|pipeline| pipeline.uses_key_set(set));
    let served: Vec<&str> = served.map(|pipeline| &*pipeline.name).collect();
    json!({
        "pipelines": served,
        "url": set.url,
        "issuer": set.issuer,
        "age_secs": set.age.map(|age| age.as_secs()),
        "keys": set.keys,
        "fetches": set.fetches.0,
        "fetch_failures": set.fetches.1,
        "last_error": set.last_error,
    })
}

fn runbeam(cloud: &Status) -> Option<Value> {
    let counters = cloud.counters;
    cloud.enabled.then(|| {
        json!({
            "state": cloud.state.name(),
            "gateway_id": cloud.gateway_id,
            "token_expires_at": cloud.token_expires.map(unix),
            "token_store": cloud.token_store,
            "last_poll": cloud.last_poll.map(unix),
            "last_error": cloud.last_error,
            "polls_failed": counters.polls_failed,
            "changes_pending": cloud.pending_changes,
            "changes_applied": counters.changes_applied,
            "changes_failed": counters.changes_failed,
        })
    })
}
