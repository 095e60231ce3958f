//! Whatever the cloud does, the proxy serves, `/info` says what is wrong, and all is well again
//! without a restart. `tests/faults` has the ways in which it can fail.

use std::time::Duration;

use serde_json::Value;

use super::{SOON, authorize, await_state, edge, info, poll_now};
use crate::support::cloud::Fault;
use crate::support::{Cloud, Edge, Upstream, eventually};

#[track_caller]
fn await_error(edge: &Edge, part: &str) -> Value {
    let holds =
        |info: &Value| info["last_error"].as_str().is_some_and(|error| error.contains(part));
    eventually(&format!("an error with {part:?}"), SOON, || Some(info(edge)).filter(holds))
}

#[track_caller]
fn await_health(edge: &Edge) {
    eventually("no error any more", SOON, || {
        Some(info(edge))
            .filter(|info| info["last_error"].is_null() && info["state"] == "authorized")
    });
}

#[test]
fn it_recovers_by_itself() {
    let (mut cloud, upstream) = (Cloud::start(), Upstream::start());
    let edge = edge(&cloud, &upstream).start();
    assert_eq!(authorize(&edge, &cloud).status, 201);
    await_health(&edge);
    cloud.stop();
    await_error(&edge, "cannot reach");
    assert_eq!(edge.get("/api/x").send().status, 200);
    cloud.restart();
    await_health(&edge);

    // A token that is revoked, and one that the operator fetches then.
    cloud.revoke_issued_tokens();
    await_state(&edge, "rejected");
    assert_eq!(authorize(&edge, &cloud).status, 201);
    await_health(&edge);
}

#[test]
fn it_asks_again_no_sooner_than_it_is_told_to() {
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    let edge = edge(&cloud, &upstream).start();
    cloud.fail_at("/harmony/changes/", usize::MAX, Fault::retry_after(429, 600));
    assert_eq!(authorize(&edge, &cloud).status, 201);
    await_error(&edge, "429");
    cloud.recover();
    cloud.forget_requests();
    // Two poll intervals, and the first step of the backoff.
    std::thread::sleep(Duration::from_secs(11));
    assert!(cloud.requests_to("/harmony/").is_empty(), "{:?}", cloud.requests());
    poll_now(&edge, &cloud);
    await_health(&edge);
}

#[test]
fn who_authorizes_hears_that_the_cloud_is_slow() {
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    let edge = edge(&cloud, &upstream).start();
    cloud.fail_at("/harmony/authorize", usize::MAX, Fault::Silence);
    let answer = authorize(&edge, &cloud);
    assert_eq!(answer.status, 504, "{}", answer.text());
    assert_eq!(answer.json()["error"], "Gateway Timeout");
    assert_eq!(info(&edge)["state"], "unauthorized");
}
