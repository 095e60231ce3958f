//! What a flood of bad credentials does to everybody else: `cargo bench --bench flood`.
//!
//! Starts the real binary with an issuer and an upstream, sends 400 requests a second with good
//! tokens, and measures how long each takes from the moment it was due: alone, and beside a flood.
//! The phases take turns, and the medians of the rounds are compared. Fails when a flood more than
//! doubles the 99th percentile. Takes about two and a half minutes. The floods are:
//!
//! - 200 wrong passwords a second for a user whose hash has cost 12, with `max_failures = 0` and
//!   with its default, beside a JSON Web Token;
//! - 5,000 made-up tokens a second, from as many addresses, for a step that asks the issuer about
//!   tokens, beside 100 tokens that it has asked about.

#![allow(clippy::print_stdout, reason = "what a benchmark is for")]
#![allow(unreachable_pub, reason = "a binary of several files")]

#[path = "../common/signing.rs"]
#[allow(dead_code, reason = "other benches need the rest")]
mod signing;

mod clients;
mod message;
mod servers;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::JwkSet;
use tokio::time::sleep;

use clients::{Flood, measure};
use servers::{Edge, KNOWN};
use signing::SigningKey;

const ROUNDS: usize = 5;
const TURN: Duration = Duration::from_secs(5);
const COST: u32 = 12;
const MOST: f64 = 2.0;

/// Good requests, and what goes on beside them: nothing first, with which the others are compared.
struct Case {
    name: &'static str,
    good: Vec<String>,
    phases: Vec<Phase>,
}

#[derive(Default)]
struct Phase {
    name: &'static str,
    flood: Option<Flood>,
    /// The 50th and the 99th percentile of each round.
    rounds: Vec<(Duration, Duration)>,
    answers: BTreeMap<u16, u64>,
}

fn main() -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run())
}

async fn run() -> anyhow::Result<ExitCode> {
    let key = SigningKey::make("k")?;
    let key_set = serde_json::to_string(&JwkSet { keys: vec![key.jwk.clone()] })?;
    let keys = servers::serve(move |_| std::future::ready(key_set.clone())).await?;
    let upstream = servers::serve(|_| std::future::ready("hello".to_owned())).await?;
    let issuer = servers::serve(servers::introspect).await?;
    let hash = bcrypt::hash("right", COST)?;
    let steps = [
        (
            "jwt",
            format!(
                "type = \"jwt-auth\"\nconfig = {{ jwks_url = \"http://{keys}/\", \
                 issuer = {:?}, audience = {:?} }}",
                signing::ISSUER,
                signing::AUDIENCE
            ),
        ),
        (
            "unlimited",
            format!(
                "type = \"basic-auth\"\nconfig = {{ username = \"admin\", \
                 password_hash = \"{hash}\", max_failures = 0 }}"
            ),
        ),
        (
            "limited",
            format!(
                "type = \"basic-auth\"\n\
                 config = {{ username = \"admin\", password_hash = \"{hash}\" }}"
            ),
        ),
        (
            "opaque",
            format!(
                "type = \"introspection\"\nconfig = {{ introspection_url = \
                 \"http://{issuer}/\", client_id = \"edge\", audience = \"bench\" }}"
            ),
        ),
    ];
    let edge = Edge::start(&steps, upstream)?;
    let get = |path: &str, token: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer {token}\r\n\r\n")
    };
    let password = |name, path| Phase {
        name,
        flood: Some(Flood {
            path,
            rate: 200,
            authorization: || {
                let pair = format!("admin:wrong {}", fastrand::u64(..));
                format!("Basic {}", STANDARD.encode(pair))
            },
            scattered: false,
        }),
        ..Phase::default()
    };
    let quiet = || Phase { name: "no flood", ..Phase::default() };
    let made_up = Flood {
        path: "/opaque",
        rate: 5000,
        authorization: || format!("Bearer made-up-{}", fastrand::u64(..)),
        scattered: true,
    };
    let mut cases = [
        Case {
            name: "a token, 200 wrong passwords a second",
            good: vec![get("/jwt", &key.sign(0, 3600)?)],
            phases: vec![
                quiet(),
                password("max_failures = 0", "/unlimited"),
                password("max_failures = 10", "/limited"),
            ],
        },
        Case {
            name: "100 opaque tokens, 5,000 made-up ones a second",
            good: (0..100).map(|id| get("/opaque", &format!("{KNOWN}{id}"))).collect(),
            phases: vec![
                quiet(),
                Phase { name: "made-up tokens", flood: Some(made_up), ..Phase::default() },
            ],
        },
    ];
    for case in &cases {
        for request in &case.good {
            edge.wait_for(request).await?;
        }
        measure(edge.address, &case.good, None, Duration::from_secs(1)).await?;
    }
    for _ in 0..ROUNDS {
        for case in &mut cases {
            for phase in &mut case.phases {
                let (mut found, statuses) =
                    measure(edge.address, &case.good, phase.flood, TURN).await?;
                found.sort_unstable();
                phase.rounds.push((percentile(&found, 50), percentile(&found, 99)));
                for status in statuses {
                    *phase.answers.entry(status).or_default() += 1;
                }
                // What still waits is given up with its connections.
                sleep(Duration::from_millis(500)).await;
            }
        }
    }

    println!(
        "{} good requests a second, medians of {ROUNDS} rounds, {} cores",
        clients::RATE,
        std::thread::available_parallelism()?
    );
    let worst = cases.iter().map(report).fold(0.0, f64::max);
    println!("p99 ratio at most {MOST}: {}", if worst <= MOST { "yes" } else { "NO" });
    Ok(if worst <= MOST { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints what was measured; the worst ratio of the 99th percentiles.
fn report(case: &Case) -> f64 {
    println!(
        "{:48} {:>9} {:>9} {:>9} {:>9}  answers to the flood",
        case.name, "p50", "p99", "p50 ratio", "p99 ratio"
    );
    let mut quiet = None;
    let mut worst = 0.0_f64;
    for phase in &case.phases {
        let p50 = median(phase.rounds.iter().map(|(p50, _)| *p50));
        let p99 = median(phase.rounds.iter().map(|(_, p99)| *p99));
        let (quiet50, quiet99) = *quiet.get_or_insert((p50, p99));
        let ratio = p99.as_secs_f64() / quiet99.as_secs_f64();
        worst = worst.max(ratio);
        println!(
            "  {:46} {:>6} us {:>6} us {:>9.2} {ratio:>9.2}  {}",
            phase.name,
            p50.as_micros(),
            p99.as_micros(),
            p50.as_secs_f64() / quiet50.as_secs_f64(),
            shown(&phase.answers)
        );
    }
    worst
}

fn median(values: impl Iterator<Item = Duration>) -> Duration {
    let mut sorted: Vec<Duration> = values.collect();
    sorted.sort_unstable();
    percentile(&sorted, 50)
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}

fn shown(answers: &BTreeMap<u16, u64>) -> String {
    let each: Vec<String> = answers
        .iter()
        .map(|(status, count)| match status {
            0 => format!("{count} given up"),
            status => format!("{count} x {status}"),
        })
        .collect();
    each.join(", ")
}
