//! wrk, and what it says.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};

/// What a client sends.
#[derive(Debug, Clone)]
pub struct Load {
    pub url: String,
    /// `Name: value`.
    pub field: Option<String>,
    /// A file of tokens, of which each is sent once.
    pub tokens: Option<PathBuf>,
    pub connections: usize,
    /// A connection for each request.
    pub close: bool,
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
local tokens, at, stop = {}, 0, 0
function init(args)
  if args[1] then
    local from, skipped = tonumber(args[2]), 0
    for line in io.lines(args[1]) do
      if skipped < from then skipped = skipped + 1 else tokens[#tokens + 1] = wrk.format(nil, nil, { ["Host"] = "localhost", ["Authorization"] = "Bearer " .. line }) end
    end
  end
end
function request()
  if #tokens == 0 then return wrk.format() end
  at = at + 1
  if at >= #tokens then wrk.thread:stop() end
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
            wrk.arg("--").arg(tokens).arg(first_token.to_string());
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
