//! `GET /metrics`: what is counted and how things stand, in the Prometheus text format, version
//! 0.0.4.
//!
//! Everything is asked for at the scrape; nothing is kept here. A metric without a sample still has
//! its `HELP` and `TYPE`, so that one scrape shows all there are.

mod families;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::counts::CallCounts;
use super::process::Process;
use super::response::ApiResponse;
use crate::control::{Agent, State, Status};
use crate::gateway::{HealthState, KeySetStatus, Live, UpstreamStatus};
use crate::telemetry::LogWriter;
use families::Families;
use http::StatusCode;

const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The state of the process, for a scraper.
pub(super) fn answer(
    live: &Live,
    agent: &Agent,
    log: &LogWriter,
    calls: &CallCounts,
) -> ApiResponse {
    let mut all = Families::default();
    requests(&mut all, live);
    upstreams(&mut all, live);
    key_sets(&mut all, &live.key_sets().status());
    credentials(&mut all, live);
    configuration(&mut all, live);
    runbeam(&mut all, &agent.status());
    management(&mut all, calls);
    all.gauge(
        "harmony_certificate_expiry_timestamp_seconds",
        "When a certificate that a listener serves expires, in Unix time.",
        live.gateway().certificates().map(|it| {
            let labels = vec![
                ("network", it.network.to_string()),
                ("name", it.name.clone()),
            ];
            (labels, count(u64::try_from(it.not_after).unwrap_or(0)))
        }),
    );
    let dropped = log.dropped();
    all.counter(
        "harmony_log_records_dropped_total",
        "Log records that were dropped, because the log is written slower than it fills or cannot be written.",
        [(vec![], count(dropped))],
    );
    all.gauge(
        "harmony_build_info",
        "The version that runs.",
        [(vec![("version", env!("CARGO_PKG_VERSION").to_owned())], 1.0)],
    );
    process(&mut all, live);
    ApiResponse::text(StatusCode::OK, TEXT_FORMAT, all.into_text())
}

fn requests(all: &mut Families, live: &Live) {
    let pipelines = live.metrics().pipelines();
    let label = |name: &str| ("pipeline", name.to_owned());
    all.counter(
        "harmony_http_requests_total",
        "Requests that have ended, by pipeline (empty: none matched) and status code (0: the client was gone before an answer).",
        pipelines.iter().flat_map(|one| {
            let codes = one.codes().into_iter();
            codes.map(|(code, times)| (vec![label(&one.name), ("code", code.to_string())], count(times)))
        }),
    );
    all.counter(
        "harmony_http_refusals_total",
        "Requests that were refused or failed, by pipeline and reason.",
        pipelines.iter().flat_map(|one| {
            let reasons = one.refusals().into_iter();
            reasons.map(|(reason, times)| {
                (
                    vec![label(&one.name), ("reason", reason.to_owned())],
                    count(times),
                )
            })
        }),
    );
    all.histogram(
        "harmony_http_request_duration_seconds",
        "From a request's head to its response's end, without upgraded connections.",
        pipelines
            .iter()
            .map(|one| (vec![label(&one.name)], one.duration())),
    );
    let networks = live.metrics().networks();
    all.gauge(
        "harmony_connections_open",
        "Connections of clients that are open, by network.",
        networks.iter().map(|one| {
            let open = one.open.load(std::sync::atomic::Ordering::Relaxed);
            (vec![("network", one.name.to_string())], size(open))
        }),
    );
    all.counter(
        "harmony_connections_closed_total",
        "Connections of clients that were closed for the sake of a limit, by network and reason.",
        networks.iter().flat_map(|one| {
            let reasons = one.closed().into_iter();
            reasons.map(|(reason, times)| {
                let labels = vec![
                    ("network", one.name.to_string()),
                    ("reason", reason.to_owned()),
                ];
                (labels, count(times))
            })
        }),
    );
    let in_flight = live
        .metrics()
        .in_flight()
        .load(std::sync::atomic::Ordering::Relaxed);
    all.gauge(
        "harmony_http_requests_in_flight",
        "Requests that are being served.",
        [(vec![], size(in_flight))],
    );
}

fn upstreams(all: &mut Families, live: &Live) {
    let label = |name: &str| ("backend", name.to_owned());
    all.counter(
        "harmony_upstream_failures_total",
        "Attempts at an upstream that failed, by backend and kind.",
        live.metrics().backends().iter().flat_map(|one| {
            let kinds = one.failures().into_iter();
            kinds.map(|(kind, times)| {
                (
                    vec![label(&one.name), ("kind", kind.to_owned())],
                    count(times),
                )
            })
        }),
    );
    let backends = live.backends();
    let upstreams = || {
        let each = backends.iter();
        each.flat_map(|backend| backend.upstreams.iter().map(|one| (&*backend.name, one)))
    };
    let labels =
        |backend: &str, one: &UpstreamStatus| vec![label(backend), ("upstream", one.url.clone())];
    all.gauge(
        "harmony_upstream_addresses",
        "Addresses that an upstream's name has; 0: it was never resolved.",
        upstreams().map(|(name, one)| (labels(name, one), size(one.addresses.len()))),
    );
    all.gauge(
        "harmony_upstream_healthy",
        "1: the upstream gets requests; 0: its checks fail, or it was ejected.",
        upstreams().map(|(name, one)| {
            let out = matches!(
                one.health.state,
                HealthState::Unhealthy | HealthState::Ejected
            );
            (labels(name, one), flag(!out))
        }),
    );
    all.gauge(
        "harmony_upstream_requests_in_flight",
        "Requests that are at an upstream.",
        upstreams().map(|(name, one)| (labels(name, one), size(one.health.in_flight))),
    );
    all.counter(
        "harmony_upstream_requests_total",
        "Attempts that were sent to an upstream.",
        upstreams().map(|(name, one)| (labels(name, one), count(one.health.requests))),
    );
}

fn key_sets(all: &mut Families, sets: &[KeySetStatus]) {
    // Without their queries, two URLs may look the same; two samples must not.
    let urls: Vec<String> = sets
        .iter()
        .enumerate()
        .map(|(place, set)| {
            match sets[..place]
                .iter()
                .filter(|other| other.url == set.url)
                .count()
            {
                0 => set.url.clone(),
                before => format!("{}#{}", set.url, before + 1),
            }
        })
        .collect();
    let of_sets = |value: &dyn Fn(&KeySetStatus) -> Option<f64>| -> Vec<_> {
        let sets = sets.iter().zip(&urls);
        sets.filter_map(|(set, url)| Some((vec![("url", url.clone())], value(set)?)))
            .collect()
    };
    all.gauge(
        "harmony_jwks_age_seconds",
        "Since the keys that serve were fetched.",
        of_sets(&|set| set.age.map(|age| age.as_secs_f64())),
    );
    all.gauge(
        "harmony_jwks_keys",
        "Keys that serve; 0: no token of this issuer can be verified.",
        of_sets(&|set| Some(size(set.keys))),
    );
    all.counter(
        "harmony_jwks_fetches_total",
        "Fetches of a key set.",
        of_sets(&|set| Some(count(set.fetches.0))),
    );
    all.counter(
        "harmony_jwks_fetch_failures_total",
        "Fetches of a key set that failed.",
        of_sets(&|set| Some(count(set.fetches.1))),
    );
    all.gauge(
        "harmony_jwks_last_fetch_successful",
        "Whether the last fetch of a key set succeeded; absent before the first.",
        of_sets(&|set| (set.fetches.0 > 0).then(|| flag(set.last_error.is_none()))),
    );
}

fn credentials(all: &mut Families, live: &Live) {
    let tokens = live.token_cache();
    let result = |name: &str| vec![("result", name.to_owned())];
    all.counter(
        "harmony_token_cache_lookups_total",
        "Look-ups of verified tokens.",
        [
            (result("hit"), count(tokens.hits)),
            (result("miss"), count(tokens.misses)),
        ],
    );
    let entries = count(tokens.entries);
    all.gauge(
        "harmony_token_cache_entries",
        "Verified tokens that are remembered.",
        [(vec![], entries)],
    );
    all.gauge(
        "harmony_token_cache_bytes",
        "What they take, about.",
        [(vec![], count(tokens.bytes))],
    );
    let passwords = live.passwords();
    all.counter(
        "harmony_password_hashes_total",
        "Passwords that were hashed.",
        [(vec![], count(passwords.hashed))],
    );
    all.gauge(
        "harmony_password_hash_queue_length",
        "Passwords that wait to be hashed.",
        [(vec![], count(passwords.waiting))],
    );
}

fn configuration(all: &mut Families, live: &Live) {
    let status = live.status();
    all.gauge(
        "harmony_config_generation",
        "Configurations put in service so far.",
        [(vec![], count(status.generation))],
    );
    all.gauge(
        "harmony_config_applied_timestamp_seconds",
        "When the configuration that serves was put in service, in Unix time.",
        [(vec![], unix(status.applied_at))],
    );
    all.gauge(
        "harmony_config_last_reload_successful",
        "0: the last reload was refused, and what served before goes on serving.",
        [(vec![], flag(status.last_error.is_none()))],
    );
    let reloads = status.reloads;
    let results = [
        ("reloaded", reloads.reloaded),
        ("unchanged", reloads.unchanged),
        ("refused", reloads.refused),
    ];
    all.counter(
        "harmony_config_reloads_total",
        "Reloads, by how they ended.",
        results.map(|(result, times)| (vec![("result", result.to_owned())], count(times))),
    );
}

fn runbeam(all: &mut Families, cloud: &Status) {
    all.gauge(
        "harmony_runbeam_state",
        "1 for the state of the connection to Runbeam Cloud, 0 for the others.",
        State::ALL.map(|state| {
            (
                vec![("state", state.to_string())],
                flag(state == cloud.state),
            )
        }),
    );
    all.gauge(
        "harmony_machine_token_expiry_timestamp_seconds",
        "When the machine token expires, in Unix time; absent without a token, or if nobody knows.",
        cloud.token_expires.map(|at| (vec![], unix(at))),
    );
    let counters = cloud.counters;
    for (name, help, results) in [
        (
            "harmony_runbeam_polls_total",
            "Polls of Runbeam Cloud.",
            [("ok", counters.polls_ok), ("failed", counters.polls_failed)],
        ),
        (
            "harmony_runbeam_changes_total",
            "Changes that Runbeam Cloud sent.",
            [
                ("applied", counters.changes_applied),
                ("failed", counters.changes_failed),
            ],
        ),
        (
            "harmony_runbeam_renewals_total",
            "Renewals of the machine token.",
            [
                ("ok", counters.renewals_ok),
                ("failed", counters.renewals_failed),
            ],
        ),
    ] {
        let sample =
            |(result, times): (&str, u64)| (vec![("result", result.to_owned())], count(times));
        all.counter(name, help, results.map(sample));
    }
}

fn management(all: &mut Families, calls: &CallCounts) {
    let sample =
        |label| move |(value, times): (&str, u64)| (vec![(label, value.to_owned())], count(times));
    all.counter(
        "harmony_management_refusals_total",
        "Calls of the Management API that were turned away, by reason.",
        calls.refusals().map(sample("reason")),
    );
    all.counter(
        "harmony_runbeam_authorizations_total",
        "Calls of /authorize and /token: ok, refused (the caller's error), failed (ours or the cloud's).",
        calls.authorizations().map(sample("result")),
    );
}

/// By the names that every Prometheus client gives them.
fn process(all: &mut Families, live: &Live) {
    let process = Process::now();
    all.counter(
        "process_cpu_seconds_total",
        "Total user and system CPU time spent in seconds.",
        [(vec![], process.cpu.as_secs_f64())],
    );
    let gauges = [
        (
            "process_resident_memory_bytes",
            "Resident memory size in bytes.",
            process.resident,
        ),
        (
            "process_open_fds",
            "Number of open file descriptors.",
            process.open_files,
        ),
        (
            "process_max_fds",
            "Maximum number of open file descriptors.",
            process.max_files,
        ),
    ];
    for (name, help, value) in gauges {
        all.gauge(name, help, value.map(|value| (vec![], count(value))));
    }
    all.gauge(
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds.",
        [(vec![], unix(live.metrics().started))],
    );
}

/// Prometheus counts in doubles; above 2^53 a count loses its last digits.
#[allow(clippy::cast_precision_loss, reason = "said above")]
fn count(value: u64) -> f64 {
    value as f64
}

fn size(value: usize) -> f64 {
    count(u64::try_from(value).unwrap_or(u64::MAX))
}

fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}

/// Unix time, in seconds.
pub(super) fn unix(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs_f64()
}
