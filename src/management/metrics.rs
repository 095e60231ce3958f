//! `GET /metrics`: counters and gauges in the Prometheus text format, version 0.0.4.

use std::fmt::Write as _;
use std::time::UNIX_EPOCH;

use http::StatusCode;

use super::answer::Answer;
use crate::gateway::{KeySetStatus, Live};
use crate::runbeam::agent::{Agent, State, Status};

/// The state of the process, for a scraper.
pub(super) fn answer(live: &Live, agent: &Agent) -> Answer {
    let text = render(live, &agent.status());
    Answer::text(StatusCode::OK, "text/plain; version=0.0.4", text)
}

fn render(live: &Live, cloud: &Status) -> String {
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, help: &str, samples: &[(String, f64)]| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    };
    let one = |value: f64| [(String::new(), value)];
    let version = format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    family(
        "harmony_build_info",
        "gauge",
        "The version that runs.",
        &[(version, 1.0)],
    );
    let generation = count(live.status().generation);
    family(
        "harmony_config_generation",
        "gauge",
        "Configurations put in service so far.",
        &one(generation),
    );

    let tokens = live.key_sets().token_cache();
    let results = [
        ("{result=\"hit\"}".to_owned(), count(tokens.hits)),
        ("{result=\"miss\"}".to_owned(), count(tokens.misses)),
    ];
    family(
        "harmony_token_cache_lookups_total",
        "counter",
        "Look-ups of verified tokens.",
        &results,
    );
    family(
        "harmony_token_cache_entries",
        "gauge",
        "Verified tokens that are remembered.",
        &one(count(tokens.entries)),
    );
    family(
        "harmony_token_cache_bytes",
        "gauge",
        "What they take, about.",
        &one(count(tokens.bytes)),
    );

    let sets = live.key_sets().status();
    let of_sets = |value: &dyn Fn(&KeySetStatus) -> Option<f64>| -> Vec<(String, f64)> {
        let labels = |set: &KeySetStatus| format!("{{url=\"{}\"}}", escaped(&set.url));
        sets.iter()
            .filter_map(|set| Some((labels(set), value(set)?)))
            .collect()
    };
    let ages = of_sets(&|set| set.age.map(|age| age.as_secs_f64()));
    family(
        "harmony_jwks_age_seconds",
        "gauge",
        "Since the keys that serve were fetched.",
        &ages,
    );
    let keys = of_sets(&|set| u32::try_from(set.keys).ok().map(f64::from));
    family("harmony_jwks_keys", "gauge", "Keys that serve.", &keys);
    let fetches = of_sets(&|set| Some(count(set.fetches.0)));
    family(
        "harmony_jwks_fetches_total",
        "counter",
        "Fetches of a key set.",
        &fetches,
    );
    let failures = of_sets(&|set| Some(count(set.fetches.1)));
    family(
        "harmony_jwks_fetch_failures_total",
        "counter",
        "Fetches of a key set that failed.",
        &failures,
    );

    let states = State::ALL.map(|state| {
        let labels = format!("{{state=\"{state}\"}}");
        (labels, f64::from(u8::from(state == cloud.state)))
    });
    family(
        "harmony_runbeam_state",
        "gauge",
        "1 for the state of the connection to Runbeam Cloud.",
        &states,
    );
    let expiry = cloud
        .token_expires
        .and_then(|at| at.duration_since(UNIX_EPOCH).ok())
        .map(|since| (String::new(), since.as_secs_f64()));
    family(
        "harmony_machine_token_expiry_timestamp_seconds",
        "gauge",
        "When the machine token expires, as Unix time.",
        expiry.as_slice(),
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
        let results =
            results.map(|(result, number)| (format!("{{result=\"{result}\"}}"), count(number)));
        family(name, "counter", help, &results);
    }
    text
}

/// Prometheus counts in doubles; above 2^53 a count loses its last digits.
#[allow(clippy::cast_precision_loss, reason = "said above")]
fn count(value: u64) -> f64 {
    value as f64
}

/// A label's value: backslash, quote and line feed escaped.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
