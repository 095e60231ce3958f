//! Half an hour of everything at once: `cargo bench --bench soak`, for less `MINUTES=5`. Tokens
//! seen before and new ones, API keys, wrong credentials, small and large bodies in both
//! directions, HTTP/1.1 and HTTP/2, new connections; the configuration is reloaded every few
//! seconds, the issuer changes its key, the upstreams are started anew. It tells what grows:
//! memory, descriptors, threads, latency; and which requests failed.
//!
//! The rate is gentle (`RATE`, 300 requests a second in all), so that it can run beside other work;
//! it measures no speed. What is excused: an upload or a `POST` that met an upstream within two
//! seconds of its restart. It may have been sent whole, so nobody may send it again.

#![allow(clippy::print_stdout, reason = "what a benchmark is for")]
#![allow(unreachable_pub, reason = "a binary of several files")]

mod clients;
mod http;
#[allow(dead_code, reason = "the bench `load` needs other parts of it")]
#[path = "../common/process.rs"]
mod process;
mod record;
#[allow(dead_code, reason = "the bench `load` needs other parts of it")]
#[path = "../common/signing.rs"]
mod signing;
mod upstream;
mod world;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use record::{Record, Sample};
use world::World;

const MINUTE: Duration = Duration::from_secs(60);

fn main() -> anyhow::Result<()> {
    let minutes = from_environment("MINUTES", 30)?;
    let rate = from_environment("RATE", 300)?;
    ensure!(
        minutes >= 3,
        "MINUTES: the first one warms up, and the second is compared with the last"
    );
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let failed = runtime.block_on(soak(minutes, rate))?;
    ensure!(failed == 0, "{failed} requests failed that should not have");
    Ok(())
}

async fn soak(minutes: usize, rate: usize) -> anyhow::Result<usize> {
    let mut world = World::start().await?;
    let record = Arc::new(Record::default());
    clients::start(rate, world.target(), record.clone());
    let _events = tokio::spawn(world.events(record.clone()));
    println!("{}", Sample::HEAD);
    let mut samples = Vec::new();
    let begun = Instant::now();
    for minute in 1..=minutes {
        let end = begun + MINUTE * u32::try_from(minute)?;
        tokio::time::sleep_until(end.into()).await;
        ensure!(world.edge.is_alive()?, "the edge has ended");
        let sample = record.take(minute, &world.edge)?;
        println!("{sample}");
        samples.push(sample);
    }
    println!("{}", world.tell().await?);
    record::compare(&samples);
    record.print_failures();
    Ok(samples.iter().map(|sample| sample.failed).sum())
}

fn from_environment(name: &str, default: usize) -> anyhow::Result<usize> {
    match std::env::var(name) {
        Ok(value) => value.parse().with_context(|| format!("{name} is not a number")),
        Err(_) => Ok(default),
    }
}
