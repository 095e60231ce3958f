//! Reload: what changes serves at once, what is wrong changes nothing, and no connection notices.

mod watcher;

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::poll::eventually;
use crate::support::{Edge, Issuer, Upstream};

#[test]
fn a_change_serves_at_once_and_connections_stay() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let token = issuer.token().sign();
    let mut kept = edge.connect();
    kept.send(edge.get("/api/x").bearer(&token).bytes());
    assert_eq!(kept.response().status, 200);

    edge.rewrite(|text| text.replace("harmony-api", "another-api"));
    let answer = edge.steer("POST", "/admin/reload").send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let json = answer.json();
    assert_eq!(json["status"], "reloaded");
    assert_eq!(json["diff"]["zero_downtime_changes"][0], "pipeline api changed");

    kept.send(edge.get("/api/x").bearer(&token).bytes());
    assert_eq!(kept.response().status, 401, "the same connection, the new audience");
    let fetches = issuer.fetches();
    assert_eq!(
        edge.get("/api/x").bearer(&issuer.token().claim("aud", "another-api").sign()).send().status,
        200
    );
    assert_eq!(issuer.fetches(), fetches, "the key set stayed warm");
}

#[test]
fn a_pipeline_that_loses_its_authentication_is_warned_of() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    assert_eq!(edge.get("/api/x").send().status, 401);
    edge.rewrite(|text| text.replace("middleware = [\"jwt\"]\n", "middleware = []\n"));
    assert_eq!(edge.steer("POST", "/admin/reload").send().status, 200);
    assert_eq!(edge.get("/api/x").send().status, 200);
    let warned = || {
        edge.log().contains(
            " WARN  harmony::gateway::live::apply: pipeline api no longer \
             authenticates: it is open to everyone",
        )
    };
    assert!(crate::support::poll::becomes_true(Duration::from_secs(10), warned), "{}", edge.log());
}

#[test]
fn an_unchanged_file_is_unchanged_and_a_broken_one_is_refused_whole() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let token = issuer.token().sign();
    assert_eq!(edge.steer("POST", "/admin/reload").send().json()["status"], "unchanged");

    edge.rewrite(|text| text.replace("audience", "audiance").replace("\"http\"", "\"dicom\""));
    // The published client calls the alias, without a body.
    let answer = edge.steer("POST", "/api/reload").send();
    assert_eq!(answer.status, 422);
    let errors = answer.json()["errors"].as_array().expect("a list of errors").len();
    assert!(errors >= 3, "{}", answer.text());
    assert_eq!(edge.get("/api/x").bearer(&token).send().status, 200);
    let status = edge.manage("/admin/config/status").send().json();
    assert_eq!(status["generation"], 1);
    assert!(
        status["last_error"].as_str().is_some_and(|error| error.contains("audiance")),
        "{status}"
    );
}

#[test]
fn a_listener_cannot_be_changed_while_running() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).start();
    edge.rewrite(|text| text.replacen("127.0.0.1", "127.0.0.2", 1));
    let answer = edge.steer("POST", "/admin/reload").send();
    assert_eq!(answer.status, 422);
    assert!(answer.text().contains("restart required: network.public"), "{}", answer.text());
    assert_eq!(edge.get("/api/x").send().status, 200);
}

#[test]
fn hang_up_is_reload() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).start();
    edge.rewrite(|text| text.replace("\"/api\"", "\"/moved\""));
    edge.signal(Signal::SIGHUP);
    eventually("the new route", Duration::from_secs(10), || {
        (edge.get("/moved/x").send().status == 200).then_some(())
    });
    assert_eq!(edge.get("/api/x").send().status, 404);
}

#[test]
fn only_the_operator_may() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).start();
    let ask = || edge.steer("POST", "/admin/reload");
    for (what, request, expected) in [
        ("a page", ask().header("Origin", "https://evil.example"), 403),
        ("a page, newer browser", ask().header("Sec-Fetch-Site", "cross-site"), 403),
        ("a rebound name", ask().host("evil.example"), 403),
        ("a form", ask().header("Content-Type", "text/plain").body("{}"), 415),
        ("a body without a type", ask().body("{}"), 415),
        ("json", ask().header("Content-Type", "application/json").body("{}"), 200),
        (
            "a large body",
            ask().header("Content-Type", "application/json").body(vec![b' '; 2 << 20]),
            413,
        ),
        ("GET", edge.manage("/admin/reload"), 405),
        ("the root", edge.steer("POST", "/reload"), 404),
    ] {
        assert_eq!(request.send().status, expected, "{what}");
    }
}
