//! Instructions for a request, counted by callgrind: repeatable to a fraction of a per cent where
//! times are not, so small differences are judged by them, and CI holds them to a bound.
//!
//! What the kernel does is not counted, nor how long an instruction takes. Valgrind's processor has
//! no SHA extensions, so a SHA-256 counts for much more than it costs.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

use crate::cases::Bench;
use crate::contestants::Contestant;
use crate::drive::Load;
use crate::process::{Process, program};

const WARM_UP: usize = 400;
const CONNECTIONS: usize = 8;

/// What harmony-edge may take at most, as a multiple of the second contestant of a case: what it
/// took when this was last changed, and two per cent for other compilers.
const BOUNDS: [(&str, f64); 8] = [
    ("no authentication", 0.99),
    ("JWT seen before", 1.11),
    ("API key", 1.12),
    ("limit by subject", 1.07),
    ("limit without fields", 1.04),
    ("spans of one in a hundred", 1.03),
    ("shared limit by subject", 1.07),
    ("100,000 revocations", 1.02),
];

/// Counts the chosen cases, and fails if one is over its bound.
pub fn check(bench: &Bench, chosen: impl Fn(&str) -> bool, requests: usize) -> anyhow::Result<()> {
    for tool in ["valgrind", "callgrind_control", "h2load"] {
        ensure!(program(tool).is_some(), "{tool} is not installed");
    }
    println!("| case | proxy | instructions/request | ratio | at most |");
    println!("|---|---|---:|---:|---:|");
    let mut over = Vec::new();
    for case in bench.cases().iter().filter(|case| chosen(case.name)) {
        let Some((_, bound)) = BOUNDS.iter().find(|(name, _)| *name == case.name) else {
            continue;
        };
        let [ours, other, ..] = &case.contestants[..] else {
            bail!("{}: nothing to compare with", case.name);
        };
        let others = count(bench, other, requests)?;
        let count = count(bench, ours, requests)?;
        let ratio = count / others;
        println!("| {} | {} | {others:.0} | | |", case.name, other.name);
        println!("| {} | {} | {count:.0} | {ratio:.3} | {bound:.2} |", case.name, ours.name);
        if ratio > *bound {
            over.push(case.name);
        }
    }
    ensure!(over.is_empty(), "over the bound: {}", over.join(", "));
    Ok(())
}

/// Instructions for one request of this contestant's load.
fn count(bench: &Bench, contestant: &Contestant, requests: usize) -> anyhow::Result<f64> {
    let file = bench.directory.path().join(format!("callgrind-{}", contestant.port));
    let mut command = vec![
        "valgrind".to_owned(),
        "--quiet".to_owned(),
        "--tool=callgrind".to_owned(),
        format!("--callgrind-out-file={}", file.display()),
    ];
    command.extend(contestant.command.iter().cloned());
    let process = Process::start(contestant.name, "0,1", &command, contestant.port)?;
    // Every dump has what was counted since the last one.
    send(contestant, WARM_UP)?;
    dump(&process)?;
    send(contestant, requests)?;
    dump(&process)?;
    let counted = total(&file.with_extension("2"))?;
    if let Ok(kept) = std::env::var("KEEP_COUNTS") {
        std::fs::copy(
            file.with_extension("2"),
            Path::new(&kept).join(format!(
                "{}.{}",
                contestant.name.replace(' ', "-"),
                contestant.port
            )),
        )?;
    }
    #[allow(clippy::cast_precision_loss, reason = "a ratio is made of them")]
    Ok(counted as f64 / requests as f64)
}

fn send(contestant: &Contestant, requests: usize) -> anyhow::Result<()> {
    let mut h2load = Command::new("h2load");
    h2load.arg("--h1").arg(format!("-n{requests}")).arg(format!("-c{CONNECTIONS}"));
    let Load { field, tokens, .. } = &contestant.load;
    if let Some(field) = field {
        h2load.args(["-H", field]);
    }
    if let Some(tokens) = tokens {
        // It sends the same fields each time.
        let tokens = std::fs::read_to_string(&tokens.file)?;
        let token = tokens.lines().next().context("no token")?;
        h2load.args(["-H", &format!("Authorization: Bearer {token}")]);
    }
    let output = h2load.arg(&contestant.load.url).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        text.contains(&format!(" {requests} 2xx")),
        "{}: not every request succeeded: {text}",
        contestant.name
    );
    Ok(())
}

fn dump(process: &Process) -> anyhow::Result<()> {
    let status = Command::new("callgrind_control")
        .arg("--dump")
        .arg(process.id().to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    ensure!(status.success(), "callgrind_control: {status}");
    Ok(())
}

fn total(file: &Path) -> anyhow::Result<u64> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let line = text.lines().rev().find_map(|line| line.strip_prefix("totals: "));
    match line.and_then(|total| total.trim().parse().ok()) {
        Some(total) => Ok(total),
        None => bail!("{} has no total", file.display()),
    }
}
