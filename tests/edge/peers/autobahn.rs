//! The Autobahn suite against a WebSocket server behind the edge: every case ends as it does
//! without the edge.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::edge_to;
use super::running::Running;

#[test]
fn websockets_are_what_they_are_without_the_edge() {
    let arguments = ["-m", "testeeserver", "-w", "ws://127.0.0.1:{port}", "--webport=0"];
    // A run without it says so itself (`.ci/run`).
    if std::env::var_os("NO_AUTOBAHN").is_some() {
        return;
    }
    let Some(server) = Running::start("wstest", &arguments, &[]) else { return };
    // Its handshake wants its own port in `Host`.
    let edge = edge_to(server.port(), "1.1").backend("host = \"upstream\"").start();
    // Not: performance (9), and compression (12, 13), of which an edge sees only bytes.
    let spec = format!(
        "{{\"outdir\": \"reports\", \"servers\": [{{\"agent\": \"edge\", \
         \"url\": \"ws://127.0.0.1:{}/api/\", \"options\": {{\"version\": 18}}}}], \
         \"cases\": [\"*\"], \"exclude-cases\": [\"9.*\", \"12.*\", \"13.*\"], \
         \"exclude-agent-cases\": {{}}}}",
        edge.port()
    );
    let directory = server.directory();
    std::fs::write(directory.join("spec.json"), spec).unwrap();
    let client = Command::new("wstest")
        .args(["-m", "fuzzingclient", "-s", "spec.json"])
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .expect("wstest was here");
    let said = String::from_utf8_lossy(&client.stderr);
    let report = std::fs::read_to_string(directory.join("reports/index.json")).expect(&said);
    let report: Value = serde_json::from_str(&report).unwrap();
    let cases = report["edge"].as_object().expect("the cases");
    assert!(cases.len() > 200, "{} cases", cases.len());
    let good = ["OK", "NON-STRICT", "INFORMATIONAL"];
    let is_good = |case: &Value, key: &str| good.contains(&case[key].as_str().unwrap_or_default());
    let wrong: Vec<&String> = cases
        .iter()
        .filter(|(_, case)| !is_good(case, "behavior") || !is_good(case, "behaviorClose"))
        .map(|(name, _)| name)
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}
