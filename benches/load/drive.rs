//! wrk and h2load, and what they say.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::proofs::Sender;

/// What a client sends.
#[derive(Debug, Clone)]
pub struct Load {
    pub url: String,
    /// `Name: value`.
    pub field: Option<String>,
    pub tokens: Option<Tokens>,
    /// A proof goes with each request, made shortly before the turn.
    pub proofs: Option<Proofs>,
    pub connections: usize,
    /// A connection for each request.
    pub close: bool,
    /// `None`: wrk sends for a time.
    pub h2load: Option<H2load>,
}

/// A file of tokens, a line each.
#[derive(Debug, Clone)]
pub struct Tokens {
    pub file: PathBuf,
    /// Whether they are sent again and again, or the turn ends with the last one.
    pub again: bool,
}

/// A token that is bound to its sender.
#[derive(Debug, Clone)]
pub struct Proofs {
    pub sender: Sender,
    pub token: String,
}

/// Proofs for each second of a turn: more than a core verifies.
const PROOFS_A_SECOND: usize = 12_000;

/// Whole requests by h2load: where each costs much, those that a time cuts off would count.
#[derive(Debug, Clone)]
pub struct H2load {
    /// Streams of HTTP/2 at a time on each connection; `None`: HTTP/1.1.
    pub streams: Option<usize>,
    /// Requests for each second of a turn.
    pub rate: usize,
    pub body: Option<PathBuf>,
    /// Bytes of each response's body.
    pub response: usize,
}

/// What came of a turn.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    pub requests: f64,
    pub seconds: f64,
    /// Microseconds: median, 99th and 99.9th percentile.
    pub latency: [f64; 3],
}

const SCRIPT: &str = r#"
local tokens, at, again = {}, 0, false
function init(args)
  if args[1] then
    local from, skipped = tonumber(args[2]), 0
    again = args[3] == "again"
    for line in io.lines(args[1]) do
      local token, proof = line:match("^(%S+) (%S+)$")
      local fields = { ["Host"] = "localhost", ["Authorization"] = proof and "DPoP " .. token or "Bearer " .. line, ["DPoP"] = proof }
      if skipped < from then skipped = skipped + 1 else tokens[#tokens + 1] = wrk.format(nil, nil, fields) end
    end
  end
end
function request()
  if #tokens == 0 then return wrk.format() end
  at = at + 1
  if again and at > #tokens then at = 1 end
  if at >= #tokens and not again then wrk.thread:stop() end
  return tokens[math.min(at, #tokens)]
end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("OUTCOME %d %d %d %d %d %d\n", summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency:percentile(99.9), e.connect + e.read + e.write + e.status + e.timeout))
end
"#;

impl Load {
    /// Sends for this long from these cores, beginning with the token of this number. Fails when a
    /// request did.
    pub fn send(
        &self,
        cores: &str,
        directory: &Path,
        duration: Duration,
        first_token: usize,
    ) -> anyhow::Result<Outcome> {
        match &self.h2load {
            None => self.wrk(cores, directory, duration, first_token),
            Some(h2load) => {
                let requests = h2load.rate * duration.as_secs() as usize;
                let log = directory.join("h2load.log");
                h2load.send(self, cores, requests.max(self.connections), &log)
            }
        }
    }

    fn wrk(
        &self,
        cores: &str,
        directory: &Path,
        duration: Duration,
        first_token: usize,
    ) -> anyhow::Result<Outcome> {
        let script = directory.join("load.lua");
        // A script makes wrk build each request anew, so that nobody has an advantage by not
        // needing one.
        std::fs::write(&script, SCRIPT)?;
        let mut wrk = Command::new("taskset");
        wrk.args(["-c", cores, "wrk", "-t1", "--latency", "--timeout", "10s"]);
        wrk.arg(format!("-c{}", self.connections))
            .arg(format!("-d{}s", duration.as_secs()))
            .arg("-s")
            .arg(&script);
        for field in
            self.field.iter().cloned().chain(self.close.then(|| "Connection: close".to_owned()))
        {
            wrk.args(["-H", &field]);
        }
        wrk.arg(&self.url);
        if let Some(tokens) = &self.tokens {
            let first = if tokens.again { 0 } else { first_token };
            wrk.arg("--").arg(&tokens.file).arg(first.to_string());
            wrk.args(tokens.again.then_some("again"));
        }
        if let Some(proofs) = &self.proofs {
            let file = directory.join("proofs");
            let count = PROOFS_A_SECOND * usize::try_from(duration.as_secs())?;
            std::fs::write(&file, proofs.lines(&self.url, count)?)?;
            wrk.arg("--").arg(&file).arg("0");
        }
        let output = wrk.output().context("cannot run wrk")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line =
            text.lines().find_map(|line| line.strip_prefix("OUTCOME ")).with_context(|| {
                format!("wrk said nothing: {text}{}", String::from_utf8_lossy(&output.stderr))
            })?;
        let numbers: Vec<f64> = line.split(' ').filter_map(|number| number.parse().ok()).collect();
        let [requests, microseconds, p50, p99, p999, errors] = numbers[..] else {
            anyhow::bail!("wrk said: {line}")
        };
        ensure!(
            errors == 0.0 && requests > 0.0,
            "{errors} of {requests} requests to {} failed",
            self.url
        );
        Ok(Outcome { requests, seconds: microseconds / 1e6, latency: [p50, p99, p999] })
    }
}

impl Proofs {
    /// So many lines of the token and a proof for `url`, as the script names its host.
    fn lines(&self, url: &str, count: usize) -> anyhow::Result<String> {
        let path = url.splitn(4, '/').nth(3).context("a URL without a path")?;
        let url = format!("http://localhost/{}", path.split('?').next().unwrap_or(path));
        let line = |id| {
            let proof = self.sender.prove(&url, &self.token, id)?;
            Some(format!("{} {proof}\n", self.token))
        };
        (0..count).map(line).collect::<Option<String>>().context("a proof cannot be signed")
    }
}

impl H2load {
    /// Sends so many requests. Fails when one did, or a response was not of its length.
    fn send(
        &self,
        load: &Load,
        cores: &str,
        requests: usize,
        log: &Path,
    ) -> anyhow::Result<Outcome> {
        // It appends to it.
        let _ = std::fs::remove_file(log);
        let mut h2load = Command::new("taskset");
        h2load.args(["-c", cores, "h2load", &format!("-n{requests}")]);
        h2load.arg(format!("-c{}", load.connections)).arg("--log-file").arg(log);
        match self.streams {
            Some(streams) => h2load.arg(format!("-m{streams}")).args(["-w", "20", "-W", "24"]),
            None => h2load.arg("--h1"),
        };
        if let Some(body) = &self.body {
            h2load.arg("-d").arg(body);
        }
        for field in load.field.iter().flat_map(|fields| fields.lines()) {
            h2load.args(["-H", field]);
        }
        let output = h2load.arg(&load.url).output().context("cannot run h2load")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let bytes = self.response * requests;
        ensure!(
            text.contains(&format!(" {requests} 2xx")) && text.contains(&format!("({bytes}) data")),
            "not every request to {} succeeded: {text}{}",
            load.url,
            String::from_utf8_lossy(&output.stderr)
        );
        // Begin in microseconds, status, and duration in microseconds.
        let text = std::fs::read_to_string(log)?;
        let mut spans = Vec::with_capacity(requests);
        for line in text.lines() {
            let mut words = line.split('\t').map(|word| word.parse().unwrap_or_default());
            let (begun, _, duration) = (words.next(), words.next(), words.next());
            let (begun, duration): (f64, f64) = begun.zip(duration).context("h2load's log")?;
            spans.push((begun, duration));
        }
        let first = spans.iter().map(|(begun, _)| *begun).fold(f64::MAX, f64::min);
        let last = spans.iter().map(|(begun, duration)| begun + duration).fold(0.0, f64::max);
        spans.sort_unstable_by(|one, other| one.1.total_cmp(&other.1));
        let percentile = |share: f64| spans[(spans.len() as f64 * share) as usize].1;
        Ok(Outcome {
            requests: requests as f64,
            seconds: (last - first) / 1e6,
            latency: [0.5, 0.99, 0.999].map(percentile),
        })
    }
}
