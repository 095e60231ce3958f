//! harmony-edge beside bare Pingora, HAProxy, Envoy and nginx, under load: `cargo bench --bench
//! load`, or as it is installed `cargo bench --profile dist --bench load`.
//!
//! Each proxy runs on one core; the upstreams and the client share another. Small responses come
//! from nginx and are asked for by wrk for a time; bodies, HTTP/2 and gRPC come from an upstream of
//! this binary and are asked for by h2load, so many requests for each second of a turn. The
//! contestants of a case take turns, round after round, each time in a fresh process, and medians
//! of the rounds are compared. What is compared is the CPU time that the proxy took for a request,
//! from the kernel's accounts: on a shared machine, requests a second tell more about the
//! neighbours. Needs `wrk`, `h2load`, `nginx` and `taskset`; HAProxy and Envoy (`ENVOY`, or `envoy`
//! on the path) take part where they are installed.
//!
//! `-- --instructions` counts instructions with callgrind instead, beside bare Pingora or the same
//! without a feature, and fails if there are too many (`REQUESTS`).
//!
//! `-- CASE ...` runs the cases whose names contain one of the words; `ROUNDS` and `SECONDS` (of
//! each turn) are taken from the environment; `--plot FILE` writes an SVG.

#![allow(clippy::print_stdout, reason = "what a benchmark is for")]
#![allow(unreachable_pub, reason = "a binary of several files")]

mod bare;
mod cases;
mod contestants;
mod credentials;
mod drive;
mod features;
mod idle;
mod instructions;
#[allow(dead_code, reason = "the soak needs other parts of it")]
#[path = "../common/process.rs"]
mod process;
#[path = "../common/proofs.rs"]
mod proofs;
mod report;
#[path = "../common/signing.rs"]
mod signing;
mod start;
mod upstream;

use anyhow::Context as _;

use cases::Bench;
use report::Report;

/// As the binary under test has it, so that bare Pingora in this one does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let mut arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if arguments.first().is_some_and(|first| first == bare::ARGUMENT) {
        return bare::serve(&arguments[1..]);
    }
    if arguments.first().is_some_and(|first| first == upstream::ARGUMENT) {
        return upstream::serve(&arguments[1..]);
    }
    let plot = match arguments.iter().position(|argument| argument == "--plot") {
        Some(at) => {
            arguments.remove(at);
            anyhow::ensure!(at < arguments.len(), "--plot needs a file");
            Some(arguments.remove(at))
        }
        None => None,
    };
    let counting = arguments.iter().position(|argument| argument == "--instructions");
    if let Some(at) = counting {
        arguments.remove(at);
    }
    let chosen = |name: &str| {
        arguments.is_empty() || arguments.iter().any(|word| name.contains(word.as_str()))
    };
    let rounds = from_environment("ROUNDS", 5)?;
    let seconds = from_environment("SECONDS", 4)?;

    let new_tokens = counting.is_none() && chosen(cases::NEW_TOKENS);
    let bench = Bench::prepare(if new_tokens { credentials::TOKENS } else { 0 })?;
    if counting.is_some() {
        return instructions::check(&bench, chosen, from_environment("REQUESTS", 3000)?);
    }
    let mut report = Report::new(rounds, seconds, bench.missing());
    for case in bench.cases().into_iter().filter(|case| chosen(case.name)) {
        match bench.measure(&case, rounds, seconds) {
            Ok(measured) => report.add(measured),
            Err(error) => report.add_lines(vec![format!("{}: not measured: {error:#}", case.name)]),
        }
    }
    if chosen("idle connections") {
        report.add_lines(idle::measure(&bench)?);
    }
    if chosen("start and reload") {
        report.add_lines(start::measure(rounds)?);
    }
    report.print();
    if let Some(file) = plot {
        std::fs::write(&file, report.plot()).with_context(|| format!("cannot write {file}"))?;
    }
    Ok(())
}

fn from_environment(name: &str, default: usize) -> anyhow::Result<usize> {
    match std::env::var(name) {
        Ok(value) => value.parse().with_context(|| format!("{name} is not a number")),
        Err(_) => Ok(default),
    }
}
