//! The connection to Runbeam Cloud, from outside: the real binary, a stand-in cloud, and the bytes
//! that the published client sends.

mod changes;
mod client;
mod commands;
mod headless;
mod issuers;
mod outage;
mod reach;
mod renewal;
mod stores;
mod trust;
mod upload;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::edge::EdgeBuilder;
use crate::support::{Cloud, Edge, Response, Upstream, eventually};

/// A poll interval, what may be in its way, and a machine that is busy.
const SOON: Duration = Duration::from_secs(40);

/// An edge with one open pipeline, `/api`, and Runbeam switched on.
fn edge(cloud: &Cloud, upstream: &Upstream) -> EdgeBuilder {
    Edge::open(upstream).and(&runbeam(cloud))
}

fn runbeam(cloud: &Cloud) -> String {
    format!(
        "[runbeam]\nenabled = true\ncloud_api_base_url = \"{}\"\npoll_interval_secs = 5",
        cloud.url()
    )
}

fn post(edge: &Edge, path: &str, body: &Value) -> crate::support::request::Request {
    edge.steer("POST", path).header("Content-Type", "application/json").body(body.to_string())
}

fn authorize(edge: &Edge, cloud: &Cloud) -> Response {
    let token = cloud.user_token().sign();
    post(edge, "/admin/authorize", &json!({ "gateway_code": "edge-1" })).bearer(&token).send()
}

/// The log is written beside the answers.
#[track_caller]
fn await_log(edge: &Edge, part: &str) {
    eventually(&format!("a line with {part:?}"), SOON, || edge.log().contains(part).then_some(()));
}

/// What `/info` says about the connection.
fn info(edge: &Edge) -> Value {
    edge.manage("/admin/info").send().json()["runbeam"].clone()
}

#[track_caller]
fn await_state(edge: &Edge, state: &str) -> Value {
    eventually(&format!("state {state}"), SOON, || {
        Some(info(edge)).filter(|info| info["state"] == state)
    })
}

/// A pipeline that echoes at `/NAME`.
fn echo(name: &str) -> String {
    format!(
        "[pipelines.{name}]\nnetworks = [\"public\"]\nendpoints = [\"{name}\"]\nmiddleware = []\n\
         backends = [\"{name}\"]\n\
         [endpoints.{name}]\nservice = \"http\"\noptions = {{ path_prefix = \"/{name}\" }}\n\
         [backends.{name}]\nservice = \"echo\"\n"
    )
}

/// The same, forwarding to an address.
fn forwarding(name: &str, url: &str) -> String {
    echo(name).replace(
        "service = \"echo\"",
        &format!("service = \"http\"\noptions = {{ base_url = \"{url}\" }}"),
    )
}

/// The same behind a step of the same name.
fn guarded(name: &str, url: &str, step: &str) -> String {
    let text = forwarding(name, url);
    text.replace("middleware = []", &format!("middleware = [\"{name}\"]")) + step
}

/// Hands the machine token over again, which begins polling anew at once.
fn poll_now(edge: &Edge, cloud: &Cloud) {
    let body = json!({ "machine_token": cloud.issued_tokens().last(),
        "expires_at": "2099-01-01T00:00:00Z", "gateway_id": "g", "gateway_code": "g" });
    assert_eq!(post(edge, "/admin/token", &body).send().status, 200);
}

/// A poll with this machine token.
#[track_caller]
fn await_poll_with(cloud: &Cloud, machine_token: &str) {
    let with = Some(format!("Bearer {machine_token}"));
    eventually("a poll with this token", SOON, || {
        let mut polls = cloud.requests_to("/harmony/changes/").into_iter();
        polls.find(|request| request.authorization == with)
    });
}

/// What the cloud was told about a change: `applied` or `failed`, and the body.
fn reports(cloud: &Cloud, id: &str) -> Vec<(String, Value)> {
    let marked = |request: crate::support::cloud::Recorded| {
        let status = request.path.rsplit('/').next().unwrap_or_default().to_owned();
        (request.method == "POST").then_some((status, request.body))
    };
    cloud.requests_to(&format!("/harmony/change/{id}/")).into_iter().filter_map(marked).collect()
}

#[track_caller]
fn await_status(cloud: &Cloud, id: &str, status: &str) {
    eventually(&format!("change {id} {status}"), SOON, || {
        (cloud.change_status(id).as_deref() == Some(status)).then_some(())
    });
}
