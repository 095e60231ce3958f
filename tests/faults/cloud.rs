//! Runbeam Cloud fails: the proxy serves, memory stays where it is, `/info` says what is wrong, and
//! all is well again without a restart.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::SOON;
use crate::row::Row;
use crate::support::cloud::Fault;
use crate::support::{Cloud, Edge, Issuer, Response, Upstream, eventually};
use crate::traffic::Traffic;

pub fn runbeam(cloud: &Cloud) -> String {
    format!(
        "[runbeam]\nenabled = true\ncloud_api_base_url = \"{}\"\npoll_interval_secs = 5",
        cloud.url()
    )
}

pub fn authorize(edge: &Edge, cloud: &Cloud) -> Response {
    let request = edge
        .steer("POST", "/admin/authorize")
        .header("Content-Type", "application/json")
        .body("{\"gateway_code\": \"edge-1\"}");
    request.bearer(&cloud.user_token().sign()).send()
}

/// What `/info` says about the connection.
pub fn info(edge: &Edge) -> Value {
    edge.manage("/admin/info").send().json()["runbeam"].clone()
}

#[track_caller]
pub fn await_health(edge: &Edge) {
    eventually("no error any more", SOON, || is_well(&info(edge)).then_some(()));
}

/// A pipeline that echoes at `/NAME`.
pub fn echo(name: &str) -> String {
    format!(
        "[pipelines.{name}]\nnetworks = [\"public\"]\nendpoints = [\"{name}\"]\nmiddleware = []\n\
         backends = [\"{name}\"]\n\
         [endpoints.{name}]\nservice = \"http\"\noptions = {{ path_prefix = \"/{name}\" }}\n\
         [backends.{name}]\nservice = \"echo\"\n"
    )
}

fn is_well(info: &Value) -> bool {
    info["last_error"].is_null() && info["state"] == "authorized"
}

/// Hands the token over again, which begins polling anew at once.
fn poll_now(edge: &Edge, cloud: &Cloud) {
    let body = json!({ "machine_token": cloud.issued_tokens().last(), "expires_at": "2099-01-01T00\
    :00:00Z", "gateway_id": "g", "gateway_code": "g" });
    let request = edge
        .steer("POST", "/admin/token")
        .header("Content-Type", "application/json")
        .body(body.to_string());
    assert_eq!(request.send().status, 200);
}

#[test]
fn the_cloud_fails_in_every_way() {
    let (cloud, other, upstream, issuer) =
        (Cloud::start(), Cloud::start(), Upstream::start(), Issuer::start());
    let edge = Edge::with_jwt(&issuer, &upstream).and(&runbeam(&cloud)).quiet().start();
    assert_eq!(authorize(&edge, &cloud).status, 201);
    await_health(&edge);
    let rows: [(&str, Fault, &str, &str); 12] = [
        ("cloud dies", Fault::Down, "cannot reach", "authorized"),
        ("cloud answers 1 GB", Fault::Endless, "list changes", "authorized"),
        (
            "cloud answers 10 MB of garbage",
            Fault::Garbage(10_000_000),
            "list changes",
            "authorized",
        ),
        ("cloud answers garbage", Fault::Garbage(100), "list changes", "authorized"),
        (
            "cloud answers wrong JSON",
            Fault::Body("{\"data\": 7}".to_owned()),
            "list changes",
            "authorized",
        ),
        ("cloud answers 500", Fault::status(500), "500", "authorized"),
        ("cloud answers 429", Fault::retry_after(429, 3600), "429", "authorized"),
        ("cloud answers 401", Fault::status(401), "401", "rejected"),
        ("cloud answers 403", Fault::status(403), "403", "rejected"),
        (
            "cloud redirects to another host",
            Fault::Redirect(302, other.url()),
            "list changes",
            "authorized",
        ),
        (
            "cloud redirects to another scheme",
            Fault::Redirect(307, "https://evil.example/".to_owned()),
            "list changes",
            "authorized",
        ),
        ("cloud hangs", Fault::Silence, "", "authorized"),
    ];
    for (fault, how, told, state) in rows {
        let mut row = Row::begin(fault, &edge, Traffic::with_tokens(&edge, &issuer, "/api/x"));
        cloud.fail(how);
        poll_now(&edge, &cloud);
        if told.is_empty() {
            // It takes 30 s until it counts as an error. Meanwhile nothing waits for it.
            let started = Instant::now();
            for _ in 0..20 {
                assert_eq!(edge.manage("/admin/info").send().status, 200);
            }
            assert!(started.elapsed() < Duration::from_secs(10));
        } else {
            let found = eventually(&format!("{fault}: an error with {told:?}"), SOON, || {
                Some(info(&edge)).filter(|info| {
                    info["last_error"].as_str().is_some_and(|error| error.contains(told))
                })
            });
            assert_eq!(found["state"], state, "{fault}: {found}");
            let error = found["last_error"].as_str().unwrap();
            assert!(!error.contains("mt_"), "{found}");
            row.sees(format!("/admin/info: {}, {error}", found["state"]));
            row.sees_line(&["WARN", "runbeam: ", told]);
            let state = format!("harmony_runbeam_state{{state=\"{state}\"");
            row.sees_metric(&state, |value| value == 1.0);
        }
        cloud.recover();
        poll_now(&edge, &cloud);
        row.recovers(|| is_well(&info(&edge)));
        row.end(48);
    }
    assert!(
        cloud.endless_written() < 64 << 20,
        "{} bytes were taken of 1 GB",
        cloud.endless_written()
    );
    assert!(other.requests().is_empty(), "no token went to another host");
}
