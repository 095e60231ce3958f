//! Several upstreams of one backend: how they share the load, what happens when one of them dies,
//! and how it is seen.

mod checks;
mod ejection;
mod sharing;

use std::time::Duration;

use serde_json::Value;

use crate::support::edge::EdgeBuilder;
use crate::support::{Edge, Settings, eventually};

/// Long enough for a machine that is very busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// The backend `app` with these upstreams, in front of everything.
fn in_front_of(ports: &[u16], options: &str) -> EdgeBuilder {
    let urls: Vec<String> = ports.iter().map(|port| format!("http://127.0.0.1:{port}")).collect();
    configured(&format!("upstreams = {urls:?}\n{options}"))
}

/// The same with options that name their upstreams themselves.
fn configured(options: &str) -> EdgeBuilder {
    let tables = format!(
        "[pipelines.p]\nnetworks = [\"public\"]\nendpoints = [\"e\"]\nmiddleware = []\n\
         backends = [\"app\"]\n[endpoints.e]\nservice = \"http\"\n\
         [backends.app]\nservice = \"http\"\n[backends.app.options]\n{options}\n"
    );
    Edge::configured(Settings::bare().and(&tables)).quiet()
}

/// What the Management API tells of the upstream at a port.
#[track_caller]
fn status(edge: &Edge, port: u16) -> Value {
    let answer = edge.manage("/admin/backends").send();
    assert_eq!(answer.status, 200);
    let answer = answer.json();
    let url = format!("http://127.0.0.1:{port}");
    let upstreams = answer["backends"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|backend| backend["upstreams"].as_array().unwrap());
    upstreams
        .clone()
        .find(|upstream| upstream["url"] == url.as_str())
        .unwrap_or_else(|| panic!("{url} in {answer}"))
        .clone()
}

#[track_caller]
fn await_state(edge: &Edge, port: u16, state: &str) -> Value {
    eventually(&format!("{port} {state}"), PATIENCE, || {
        let status = status(edge, port);
        (status["state"] == state).then_some(status)
    })
}
