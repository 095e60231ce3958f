//! `GET /metrics`: what is counted and how things stand, in the Prometheus text format, version
//! 0.0.4.
//!
//! Everything is asked for at the scrape; nothing is kept here. A metric without a sample still has
//! its `HELP` and `TYPE`, so that one scrape shows all there are.

mod credentials;
mod families;
mod traffic;

use super::counts::CallCounts;
use super::process::Process;
use super::response::ApiResponse;
use crate::control::{Agent, State, Status};
use crate::gateway::Live;
use crate::telemetry::spans::{self, Tracer};
use crate::telemetry::{LogWriter, audit};
pub(super) use families::unix;
use families::{Families, count, flag};
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
    traffic::requests(&mut all, live);
    traffic::upstreams(&mut all, live);
    credentials::key_sets(&mut all, &live.auth().key_sets().status());
    credentials::issuers(&mut all, &live.auth().key_sets().issuers());
    credentials::credentials(&mut all, live);
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
    all.counter(
        "harmony_log_records_dropped_total",
        "Log records that were dropped, because they came faster than they could be written, or \
         the log cannot be written.",
        [("log", Some(log.dropped())), ("audit", audit::dropped())]
            .into_iter()
            .filter_map(|(log, dropped)| Some((vec![("log", log.to_owned())], count(dropped?)))),
    );
    let spans = spans::tracer().map(Tracer::counts).into_iter();
    all.counter(
        "harmony_spans_total",
        "Spans of requests, by what became of them: exported, dropped since the queue was full, or \
         failed since the receiver did not take them.",
        spans.flat_map(|spans| {
            [
                ("exported", spans.exported),
                ("dropped", spans.dropped),
                ("failed", spans.failed),
            ]
            .map(|(result, value)| (vec![("result", result.to_owned())], count(value)))
        }),
    );
    all.gauge(
        "harmony_build_info",
        "The version of the running process.",
        [(vec![("version", env!("CARGO_PKG_VERSION").to_owned())], 1.0)],
    );
    process(&mut all, live);
    ApiResponse::text(StatusCode::OK, TEXT_FORMAT, all.into_text())
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
        "When the current configuration was put in service, in Unix time.",
        [(vec![], unix(status.applied_at))],
    );
    all.gauge(
        "harmony_config_last_reload_successful",
        "0: the last reload was rejected, and the previous configuration stays in service.",
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
        "When the machine token expires, in Unix time; absent without a token, or if that is \
         unknown.",
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
        "Calls of the Management API that were rejected, by reason.",
        calls.refusals().map(sample("reason")),
    );
    all.counter(
        "harmony_runbeam_authorizations_total",
        "Calls of /authorize and /token: ok, refused (the caller's error), failed (ours or the \
         cloud's).",
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
