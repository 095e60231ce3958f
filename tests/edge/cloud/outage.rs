//! Whatever the cloud does, the proxy serves, memory stays where it is, `/info` says what is wrong, and all is well again without a restart.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{SOON, authorize, await_state, edge, info, post};
use crate::support::cloud::Fault;
use crate::support::{Cloud, Edge, Upstream, eventually};

/// Hands the token over again, which begins polling anew at once.
fn poll_now(edge: &Edge, cloud: &Cloud) {
    let body = json!({ "machine_token": cloud.issued_tokens().last(), "expires_at": "2099-01-01T00:00:00Z", "gateway_id": "g", "gateway_code": "g" });
    assert_eq!(post(edge, "/admin/token", &body).send().status, 200);
}

#[track_caller]
fn await_error(edge: &Edge, part: &str) -> Value {
    let holds = |info: &Value| info["last_error"].as_str().is_some_and(|error| error.contains(part));
    eventually(&format!("an error with {part:?}"), SOON, || Some(info(edge)).filter(holds))
}

#[track_caller]
fn await_health(edge: &Edge) {
    eventually("no error any more", SOON, || Some(info(edge)).filter(|info| info["last_error"].is_null() && info["state"] == "authorized"));
}

#[test]
fn the_cloud_fails_in_every_way() {
    let (cloud, other, upstream) = (Cloud::start(), Cloud::start(), Upstream::start());
    let edge = edge(&cloud, &upstream).quiet().start();
    assert_eq!(authorize(&edge, &cloud).status, 201);
    await_health(&edge);
    poll_now(&edge, &cloud);
    let before = edge.resident_mib();
    for (fault, told, state) in [
        (Fault::Down, "cannot reach", "authorized"),
        (Fault::Garbage(100), "list changes", "authorized"),
        (Fault::Garbage(10_000_000), "list changes", "authorized"),
        (Fault::Body("{\"data\": 7}".to_owned()), "list changes", "authorized"),
        (Fault::status(500), "500", "authorized"),
        (Fault::retry_after(429, 3600), "429", "authorized"),
        (Fault::status(401), "401", "rejected"),
        (Fault::status(403), "403", "rejected"),
        (Fault::Redirect(302, other.url()), "list changes", "authorized"),
        (Fault::Redirect(307, "https://evil.example/".to_owned()), "list changes", "authorized"),
    ] {
        let what = format!("{fault:?}").chars().take(80).collect::<String>();
        cloud.fail(fault);
        poll_now(&edge, &cloud);
        let found = await_error(&edge, told);
        assert_eq!(found["state"], state, "{what}: {found}");
        assert!(!found["last_error"].as_str().unwrap().contains("mt_"), "{found}");
        assert_eq!(edge.get("/api/x").send().status, 200, "{what}");
        cloud.recover();
        poll_now(&edge, &cloud);
        await_health(&edge);
    }
    // Slow: nothing waits for it.
    cloud.fail(Fault::Silence);
    poll_now(&edge, &cloud);
    let started = Instant::now();
    for _ in 0..20 {
        assert_eq!(edge.get("/api/x").send().status, 200);
        assert_eq!(edge.manage("/admin/info").send().status, 200);
    }
    assert!(started.elapsed() < Duration::from_secs(10));
    cloud.recover();
    poll_now(&edge, &cloud);
    await_health(&edge);
    let after = edge.resident_mib();
    assert!(after < before + 40, "from {before} to {after} MiB");
    assert!(other.requests().is_empty(), "no token went to another host");
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
