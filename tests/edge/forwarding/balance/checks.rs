//! What active checks tell.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::Duration;

use super::{PATIENCE, await_state, configured, in_front_of, status};
use crate::support::authority::Authority;
use crate::support::ports::Port;
use crate::support::tls::SecureUpstream;
use crate::support::upstream::Received;
use crate::support::{Upstream, eventually};

/// An upstream whose `/healthz` answers with this status, and everything else with 200.
fn with_health(health: &Arc<AtomicU16>) -> Upstream {
    let health = health.clone();
    Upstream::with(move |exchange| {
        if exchange.target() == "/healthz?deep" {
            exchange.answer(health.load(Ordering::SeqCst), &[], b"");
        } else {
            exchange.echo_target();
        }
    })
}

fn is_check(request: &Received) -> bool {
    request.target().starts_with("/healthz")
}

fn checks_at(upstream: &Upstream) -> usize {
    upstream.requests().iter().filter(|request| is_check(request)).count()
}

#[test]
fn an_upstream_that_says_it_is_ill_gets_no_requests_until_it_is_well() {
    let (health, always) = (Arc::new(AtomicU16::new(204)), Arc::new(AtomicU16::new(301)));
    let (changing, steady) = (with_health(&health), with_health(&always));
    let edge = in_front_of(
        &[changing.port(), steady.port()],
        "authentication = \"authentications.a\"\n\
         health_check = { path = \"/healthz?deep\", interval_secs = 1, unhealthy_after = 2, \
         healthy_after = 2 }",
    )
    .and("[authentications.a]\nmethod = \"bearer\"\ntoken = \"upstream-secret-1\"")
    .start();
    let first = await_state(&edge, changing.port(), "healthy");
    assert_eq!(first["health_check"], true);

    health.store(503, Ordering::SeqCst);
    let told = await_state(&edge, changing.port(), "unhealthy");
    assert_eq!(told["last_error"], "it answered 503");
    assert!(told["since"].as_u64() >= first["since"].as_u64());
    let requests = || changing.requests().iter().filter(|request| !is_check(request)).count();
    let before = requests();
    for _ in 0..6 {
        assert_eq!(edge.get("/x").send().status, 200);
    }
    assert_eq!(requests(), before, "nothing but checks");

    health.store(200, Ordering::SeqCst);
    await_state(&edge, changing.port(), "healthy");
    for _ in 0..4 {
        assert_eq!(edge.get("/x").send().status, 200);
    }
    assert_eq!(requests(), before + 2);

    let check = changing.requests().into_iter().find(is_check).unwrap();
    assert_eq!(check.method(), "GET");
    assert_eq!(check.head.field("host"), Some(format!("127.0.0.1:{}", changing.port()).as_str()));
    let agent = check.head.field("user-agent").unwrap_or_default();
    assert!(agent.starts_with("harmony-edge/"), "{agent}");
    assert_eq!(check.head.field("authorization"), None, "the credential is for requests");
    let log = edge.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("its checks")).collect();
    assert_eq!(lines.len(), 2, "changes only: {lines:#?}");
    assert!(
        lines[0].contains("WARN")
            && lines[0].contains("unhealthy, its checks fail: it answered 503"),
        "{}",
        lines[0]
    );
    assert!(
        lines[1].contains("INFO") && lines[1].contains("healthy again, its checks succeed"),
        "{}",
        lines[1]
    );
}

#[test]
fn a_check_says_who_it_asks_for_and_brings_its_credential_when_told_to() {
    let upstream = with_health(&Arc::new(AtomicU16::new(200)));
    let edge = in_front_of(
        &[upstream.port()],
        "authentication = \"authentications.a\"\n\
         health_check = { path = \"/healthz?deep\", interval_secs = 1, host = \"app.example\", \
         send_credential = true }",
    )
    .and("[authentications.a]\nmethod = \"bearer\"\ntoken = \"upstream-secret-2\"")
    .start();
    await_state(&edge, upstream.port(), "healthy");
    let check = upstream.requests().into_iter().find(is_check).unwrap();
    assert_eq!(
        (check.head.field("host"), check.head.field("authorization")),
        (Some("app.example"), Some("Bearer upstream-secret-2"))
    );
}

#[test]
fn a_connection_is_check_enough() {
    let (place, good) = (Port::claim(), Upstream::start());
    let port = place.number();
    let edge = in_front_of(
        &[port, good.port()],
        "health_check = { type = \"tcp\", interval_secs = 1, unhealthy_after = 2, \
         healthy_after = 1 }",
    )
    .start();
    await_state(&edge, port, "unhealthy");
    await_state(&edge, good.port(), "healthy");
    for _ in 0..6 {
        assert_eq!(edge.post("/x", "body").send().status, 200);
    }
    assert_eq!(status(&edge, port)["requests"], 0);
    let back = Upstream::at(place, |exchange| exchange.echo_target());
    await_state(&edge, port, "healthy");
    for _ in 0..4 {
        assert_eq!(edge.get("/x").send().status, 200);
    }
    assert_eq!(back.count(), 2);
}

#[test]
fn a_slow_check_fails_and_keeps_no_other_waiting() {
    let slow = Upstream::with(|exchange| {
        exchange.pause(Duration::from_secs(5));
        exchange.echo_target();
    });
    let dead = Port::claim();
    let edge = in_front_of(
        &[slow.port(), dead.number()],
        "health_check = { interval_secs = 1, timeout_secs = 1, unhealthy_after = 1 }",
    )
    .start();
    let told = await_state(&edge, slow.port(), "unhealthy");
    assert_eq!(told["last_error"], "no response within 1 s");
    assert_eq!(await_state(&edge, dead.number(), "unhealthy")["last_error"], "connection refused");
    // All are ill, so all are tried: the one that is there answers.
    assert_eq!(edge.get("/x").send().status, 200);
}

#[test]
fn a_reload_keeps_what_is_known_and_ends_checks_of_what_is_gone() {
    let health = Arc::new(AtomicU16::new(500));
    let (ill, gone) = (with_health(&health), with_health(&Arc::new(AtomicU16::new(200))));
    let check =
        "health_check = { path = \"/healthz?deep\", interval_secs = 1, unhealthy_after = 1 }";
    let two = format!("\"http://127.0.0.1:{}\", \"http://127.0.0.1:{}\"", ill.port(), gone.port());
    let edge = configured(&format!("upstreams = [{two}]\n{check}")).start();
    let before = await_state(&edge, ill.port(), "unhealthy");
    await_state(&edge, gone.port(), "healthy");
    let one = format!("\"http://127.0.0.1:{}\"", ill.port());
    edge.rewrite(|text| {
        text.replace(&two, &one)
            .replace("[backends.app.options]", "[backends.app.options]\nread_timeout_secs = 7")
    });
    assert_eq!(edge.steer("POST", "/admin/reload").send().status, 200);
    let after = status(&edge, ill.port());
    assert_eq!(
        (&after["state"], &after["since"]),
        (&before["state"], &before["since"]),
        "still warm"
    );
    let backends = edge.manage("/admin/backends").send().json();
    assert_eq!(backends["backends"][0]["upstreams"].as_array().unwrap().len(), 1);

    // One that was on its way may still arrive.
    let settled = eventually("the end of the checks", PATIENCE, || {
        let before = checks_at(&gone);
        thread::sleep(Duration::from_millis(1500));
        (checks_at(&gone) == before).then_some(before)
    });
    let going_on = checks_at(&ill);
    eventually("checks that go on", PATIENCE, || (checks_at(&ill) >= going_on + 2).then_some(()));
    assert_eq!(checks_at(&gone), settled);

    // Other settings: judged anew.
    edge.rewrite(|text| text.replace("unhealthy_after = 1", "unhealthy_after = 50"));
    assert_eq!(edge.steer("POST", "/admin/reload").send().status, 200);
    assert_eq!(status(&edge, ill.port())["state"], "unchecked");
}

#[test]
fn a_check_over_tls_trusts_whom_requests_trust() {
    let (authority, other) = (Authority::new("upstreams"), Authority::new("others"));
    let (known, unknown) = (
        SecureUpstream::start(&authority.server(&["localhost"])),
        SecureUpstream::start(&other.server(&["localhost"])),
    );
    let urls = [known.port(), unknown.port()].map(|port| format!("https://localhost:{port}"));
    let options = format!(
        "upstreams = {urls:?}\nca_cert_path = \"ca.pem\"\n\
         health_check = {{ interval_secs = 1, unhealthy_after = 1 }}"
    );
    let edge = configured(&options).file("ca.pem", &authority.pem()).start();
    let told = || edge.manage("/admin/backends").send().json()["backends"][0]["upstreams"].clone();
    eventually("both states", PATIENCE, || {
        (told()[0]["state"] == "healthy" && told()[1]["state"] == "unhealthy").then_some(())
    });
    let why = told()[1]["last_error"].as_str().unwrap().to_owned();
    assert!(why.contains("UnknownIssuer") && why.contains("ca_cert_path"), "{why}");
    assert!(
        known.names().iter().all(|name| name.as_deref() == Some("localhost")),
        "{:?}",
        known.names()
    );
    for _ in 0..4 {
        assert_eq!(edge.get("/x").send().status, 200);
    }
}
