//! The management network: probes, metrics, and places that are none.

use crate::support::issuer::Answer;
use crate::support::{Edge, Issuer, Settings, Upstream};

#[test]
fn health_and_readiness_are_told_without_a_credential() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    for path in ["/health", "/ready", "/admin/health", "/admin/ready"] {
        assert_eq!(edge.manage(path).send().status, 200, "{path}");
        assert_eq!(
            edge.manage(path).host("any.example").send().status,
            200,
            "{path} needs no Host of its own"
        );
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn an_unknown_place_is_404_in_json() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).start();
    for path in ["/", "/nonsense", "/healthx", "/api/x"] {
        let response = edge.manage(path).send();
        assert_eq!(response.status, 404, "{path}");
        assert!(response.json()["error"].is_string(), "{path}");
    }
}

#[test]
fn the_public_network_has_no_management() {
    let edge = Edge::configured(Settings::bare()).start();
    for path in ["/health", "/ready", "/admin/info", "/metrics"] {
        assert_eq!(edge.get(path).send().status, 404, "{path}");
    }
}

#[test]
fn a_key_set_that_failed_is_tried_and_does_not_keep_readiness_waiting() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    issuer.answer(Answer::Status(500));
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    assert_eq!(edge.manage("/ready").send().status, 200);
    assert_eq!(edge.manage("/health").send().status, 200);
}

#[test]
fn metrics_count_what_was_remembered_and_fetched() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let token = issuer.token().sign();
    for _ in 0..3 {
        assert_eq!(edge.get("/api/x").bearer(&token).send().status, 200);
    }
    for path in ["/metrics", "/admin/metrics"] {
        let answer = edge.manage(path).send();
        assert_eq!(answer.status, 200, "{path}");
        let text = answer.text();
        for line in [
            "harmony_token_cache_lookups_total{result=\"hit\"} 2",
            "harmony_token_cache_lookups_total{result=\"miss\"} 1",
            "harmony_config_generation 1",
            &format!("harmony_jwks_keys{{url=\"{}\"}} 1", issuer.url()),
            &format!("harmony_jwks_fetches_total{{url=\"{}\"}} 1", issuer.url()),
        ] {
            assert!(text.lines().any(|found| found == line), "{path}: {line}: {text}");
        }
    }
    assert_eq!(edge.manage("/metrics").host("evil.example").send().status, 403);
}
