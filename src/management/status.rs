//! `GET /status`: everything that the status page shows, in one JSON object. Counts only grow;
//! rates are differences to what `history` holds.

mod traffic;

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::metrics::unix;
use super::process::Process;
use super::reload;
use super::response::ApiResponse;
use crate::control::{Agent, Status};
use crate::gateway::{
    BackendStatus, CertificateStatus, Gateway, IssuerStatus, KeySetStatus, Live, ReceiverStatus,
};
use crate::telemetry::spans::{self, Tracer};
use crate::telemetry::{BOUNDS, LogWriter, audit};
use traffic::pipeline;

pub(super) use traffic::{backend_counts, counts};

/// How everything stands now.
pub(super) fn answer(live: &Live, agent: &Agent, log: &LogWriter) -> ApiResponse {
    let gateway = live.gateway();
    let metrics = live.metrics();
    let backends = BackendStatus::of(&gateway);
    let pipelines = gateway.pipelines().iter();
    let pipelines: Vec<Value> = pipelines.map(|one| pipeline(one, &backends)).collect();
    let key_sets = live.auth().key_sets();
    let issuers: Vec<Value> = key_sets.issuers().iter().map(issuer).collect();
    let key_sets = key_sets.status();
    let key_sets: Vec<Value> = key_sets.iter().map(|set| key_set(set, &gateway)).collect();
    let limiters = live.limiters().status();
    let passwords = live.auth().passwords();
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
        "token_cache": token_cache(live),
        "dpop": dpop(live),
        "introspection": introspection(live),
        "revocations": revocations(live),
        "shared_store": shared_store(live),
        "rate_limits": { "keys": limiters.keys, "forgotten": limiters.forgotten },
        "passwords": { "hashed": passwords.hashed, "waiting": passwords.waiting },
        "runbeam": runbeam(&agent.status()),
        "certificates": certificates(&gateway),
        "spans": span_counts(),
        "log": { "dropped": log.dropped() + audit::dropped().unwrap_or(0) },
        "process": process(),
    }))
}

fn token_cache(live: &Live) -> Value {
    let tokens = live.auth().token_cache();
    json!({
        "hits": tokens.hits,
        "misses": tokens.misses,
        "entries": tokens.entries,
        "bytes": tokens.bytes,
        "limit": tokens.limit,
    })
}

fn dpop(live: &Live) -> Value {
    let proofs = live.auth().proofs();
    json!({
        "remembered": proofs.remembered,
        "limit": proofs.limit,
        "replayed": proofs.replayed,
        "turned_away": proofs.turned_away,
    })
}

fn introspection(live: &Live) -> Value {
    let calls = live.auth().introspections();
    json!({
        "active": calls.active,
        "inactive": calls.inactive,
        "failed": calls.failed,
        "turned_away": calls.turned_away,
        "in_flight": calls.in_flight,
    })
}

fn revocations(live: &Live) -> Value {
    let list = live.auth().revocations().status();
    let notices: Vec<Value> = live.auth().receivers().iter().map(notice).collect();
    json!({
        "entries": list.entries,
        "max": list.max,
        "revoked": list.revoked,
        "turned_away": list.turned_away,
        "failed": list.failed,
        "denied": list.denied,
        "notices": notices,
    })
}

fn notice(receiver: &ReceiverStatus) -> Value {
    json!({
        "service": receiver.service,
        "accepted": receiver.accepted,
        "refused": receiver.refused,
        "turned_away": receiver.turned_away,
    })
}

/// `null` without a store.
fn shared_store(live: &Live) -> Option<Value> {
    let status = live.shared_store()?.status();
    Some(json!({
        "up": status.up,
        "questions": status.questions,
        "late": status.late,
        "last_error": status.last_error,
    }))
}

fn certificates(gateway: &Gateway) -> Vec<Value> {
    let certificate = |one: &CertificateStatus| {
        let (network, name) = (&*one.network, &one.name);
        json!({ "network": network, "name": name, "not_after": one.not_after })
    };
    gateway.certificates().map(certificate).collect()
}

fn process() -> Value {
    let process = Process::now();
    json!({
        "cpu_seconds": process.cpu.as_secs_f64(),
        "resident_bytes": process.resident,
        "open_files": process.open_files,
        "max_files": process.max_files,
    })
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
