//! What requests and upstreams come to.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::families::{Families, count, flag, size};
use crate::gateway::{HealthState, Live, UpstreamStatus};
use crate::telemetry::PipelineMetrics;

pub(super) fn requests(all: &mut Families, live: &Live) {
    let pipelines = live.metrics().pipelines();
    outcomes(all, &pipelines);
    streams(all, &pipelines);
    shadow_denials(all, &pipelines);
    all.histogram(
        "harmony_http_request_duration_seconds",
        "Time from a request's head to the end of its response, without upgraded connections.",
        pipelines
            .iter()
            .map(|one| (vec![pipeline(one)], one.duration())),
    );
    connections(all, live);
    let in_flight = live.metrics().in_flight().load(Ordering::Relaxed);
    all.gauge(
        "harmony_http_requests_in_flight",
        "Requests in progress.",
        [(vec![], size(in_flight))],
    );
}

fn pipeline(metrics: &PipelineMetrics) -> (&'static str, String) {
    ("pipeline", metrics.name.to_string())
}

fn outcomes(all: &mut Families, pipelines: &[Arc<PipelineMetrics>]) {
    all.counter(
        "harmony_http_requests_total",
        "Requests that have ended, by pipeline (empty: none matched) and status code (0: the \
         client was gone before an answer).",
        pipelines.iter().flat_map(|one| {
            let codes = one.codes().into_iter();
            codes.map(|(code, times)| {
                (
                    vec![pipeline(one), ("code", code.to_string())],
                    count(times),
                )
            })
        }),
    );
    all.counter(
        "harmony_http_refusals_total",
        "Requests that were refused or failed, by pipeline and reason.",
        pipelines.iter().flat_map(|one| {
            let reasons = one.refusals().into_iter();
            reasons.map(|(reason, times)| {
                (
                    vec![pipeline(one), ("reason", reason.to_owned())],
                    count(times),
                )
            })
        }),
    );
}

fn streams(all: &mut Families, pipelines: &[Arc<PipelineMetrics>]) {
    all.gauge(
        "harmony_open_streams",
        "Responses under way that end with the credential that let their request in.",
        (pipelines.iter().filter(|one| !one.name.is_empty()))
            .map(|one| (vec![pipeline(one)], count(one.open_streams() as u64))),
    );
    all.counter(
        "harmony_streams_ended_total",
        "Responses that were ended because a credential has, by pipeline and cause: expired, \
         revoked, removed (by a reload), inactive (its issuer says so).",
        pipelines.iter().flat_map(|one| {
            let causes = one.ended_streams().into_iter();
            causes.map(|(cause, times)| {
                (
                    vec![pipeline(one), ("cause", cause.to_owned())],
                    count(times),
                )
            })
        }),
    );
}

fn shadow_denials(all: &mut Families, pipelines: &[Arc<PipelineMetrics>]) {
    all.counter(
        "harmony_shadow_denials_total",
        "Requests that a step or a rule in shadow would have refused, by pipeline, step and \
         reason.",
        pipelines.iter().flat_map(|one| {
            one.shadows().into_iter().flat_map(|shadow| {
                let reasons = shadow.denials().into_iter();
                let labels = |reason: &str| {
                    vec![
                        pipeline(one),
                        ("step", shadow.step.to_string()),
                        ("reason", reason.to_owned()),
                    ]
                };
                let rows = reasons.map(|(reason, times)| (labels(reason), count(times)));
                rows.collect::<Vec<_>>()
            })
        }),
    );
}

fn connections(all: &mut Families, live: &Live) {
    let networks = live.metrics().networks();
    all.gauge(
        "harmony_connections_open",
        "Open client connections, by network.",
        networks.iter().map(|one| {
            let open = one.open.load(Ordering::Relaxed);
            (vec![("network", one.name.to_string())], size(open))
        }),
    );
    all.counter(
        "harmony_connections_closed_total",
        "Client connections that were closed because of a limit, by network and reason.",
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
}

pub(super) fn upstreams(all: &mut Families, live: &Live) {
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
        "Addresses of an upstream's name; 0: it was never resolved.",
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
        "harmony_upstream_drained",
        "1: an operator has drained the upstream: it gets no new requests.",
        upstreams().map(|(name, one)| (labels(name, one), flag(one.drained))),
    );
    all.gauge(
        "harmony_upstream_requests_in_flight",
        "Requests in progress at an upstream.",
        upstreams().map(|(name, one)| (labels(name, one), size(one.health.in_flight))),
    );
    all.counter(
        "harmony_upstream_requests_total",
        "Attempts sent to an upstream.",
        upstreams().map(|(name, one)| (labels(name, one), count(one.health.requests))),
    );
}
