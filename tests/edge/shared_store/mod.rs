//! Several nodes on one `redis-server`: what they share, and that none of them needs it.

mod failures;
mod limits;
mod proofs;
mod redis;
mod refusals;
mod revocations;
mod sentinel;
mod topologies;

use std::time::Duration;

use crate::support::poll::becomes_true;
use crate::support::{Edge, Issuer, Settings, Upstream};

/// A node with the pipeline `/api`: a token, then `rules`.
fn node(issuer: &Issuer, upstream: &Upstream, shared: &str, rules: &str) -> Edge {
    let middleware =
        "[middleware.limits]\ntype = \"policies\"\nrules = [{ type = \"allow_all\" }, ";
    let tables = format!("[shared]\n{shared}\n{middleware}{rules}]\n");
    let settings = Settings::with_jwt(issuer, upstream).and(&tables);
    let text =
        settings.text().replace("middleware = [\"jwt\"]", "middleware = [\"jwt\", \"limits\"]");
    Edge::configured(Settings::of_text(&text)).quiet().start()
}

/// Of a subject, 60 s, with this budget of all nodes.
fn budget(most: u32) -> String {
    format!(
        "{{ id = \"fair\", type = \"rate_limit\", max_requests = {most}, window_seconds = 60, \
         by = \"subject\", scope = \"shared\" }}"
    )
}

fn is_up(edge: &Edge) -> bool {
    let metrics = edge.manage("/metrics").send().text();
    let line = metrics.lines().find(|line| line.starts_with("harmony_shared_store_up"));
    line.unwrap_or_else(|| panic!("no metric of the store: {metrics}")).ends_with(" 1")
}

/// Within 6 s.
#[track_caller]
fn assert_becomes(up: bool, nodes: &[Edge]) {
    let all = || nodes.iter().all(|node| is_up(node) == up);
    assert!(becomes_true(Duration::from_secs(6), all), "up: {up}");
}
