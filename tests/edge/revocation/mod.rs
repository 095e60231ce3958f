//! What was revoked before its time: the list, how it is fed, and what is left of it after a crash.

mod command;
mod entries;
mod events;
mod limits;
mod logout;
mod persistence;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::token::ISSUER;
use crate::support::{Edge, Response, eventually};

/// Asks for entries.
fn revoke(edge: &Edge, entry: &Value) -> Response {
    edge.steer("POST", "/admin/revocations")
        .header("Content-Type", "application/json")
        .body(entry.to_string())
        .send()
}

/// Asks for an entry of the issuer of the tests' tokens; its id.
#[track_caller]
fn revoked(edge: &Edge, name: &str, value: &str) -> String {
    revoked_as(edge, json!({ "issuer": ISSUER, name: value }))
}

#[track_caller]
pub fn revoked_as(edge: &Edge, entry: Value) -> String {
    let answer = revoke(edge, &entry);
    assert_eq!(answer.status, 201, "{entry}: {}", answer.text());
    let id = answer.json()["ids"][0].as_str().expect("an id").to_owned();
    assert_eq!(answer.json()["ids"].as_array().map(Vec::len), Some(1));
    id
}

fn delete(edge: &Edge, id: &str) -> u16 {
    edge.steer("DELETE", &format!("/admin/revocations/{id}")).send().status
}

/// The status that a request with this token gets.
fn status(edge: &Edge, token: &str) -> u16 {
    edge.get("/api/x").bearer(token).send().status
}

/// A page of the list.
fn page(edge: &Edge, query: &str) -> Value {
    edge.manage(&format!("/admin/revocations{query}")).send().json()
}

/// The events of this kind in the audit log, which goes to the log.
fn audited(edge: &Edge, event: &str) -> Vec<Value> {
    let mark = format!("\"target\":\"harmony::audit\",\"event\":\"{event}\"");
    eventually("the audit log", Duration::from_secs(20), || {
        let log = edge.log();
        let lines = log.lines().filter(|line| line.contains(&mark));
        let events: Vec<Value> =
            lines.map(|line| serde_json::from_str(line).expect("JSON")).collect();
        (!events.is_empty()).then_some(events)
    })
}
