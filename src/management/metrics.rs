//! `GET /metrics`: counters and gauges in the Prometheus text format, version 0.0.4.

use std::fmt::Write as _;

use crate::gateway::{KeySetStatus, Live};

/// The state of the process, for a scraper.
pub(super) fn render(live: &Live) -> String {
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
