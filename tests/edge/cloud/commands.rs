//! `/authorize`, `/token`, `/deauthorize`, `/keys/refresh`: what is done, and what is refused
//! before anything happens.

use std::time::Duration;

use serde_json::{Value, json};

use super::{authorize, await_log, await_state, edge, info, post, runbeam};
use crate::support::cloud::{Fault, GATEWAY_ID};
use crate::support::{Cloud, Edge, Issuer, Upstream, eventually, secrets};

#[test]
fn a_user_token_becomes_a_machine_token() {
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    let edge = edge(&cloud, &upstream).start();
    let unauthorized = info(&edge);
    assert_eq!(
        (&unauthorized["enabled"], &unauthorized["state"]),
        (&true.into(), &"unauthorized".into())
    );
    let user_token = cloud.user_token().sign();
    let body = json!({ "gateway_code": "edge-1", "machine_public_key": "-----BEGIN\nx",
        "metadata": { "version": "1", "up": true } });
    let answer = post(&edge, "/admin/authorize", &body).bearer(&user_token).send();
    assert_eq!(answer.status, 201, "{}", answer.text());
    let told = answer.json();
    assert_eq!(
        told["gateway"],
        json!({ "id": GATEWAY_ID, "code": "edge-1", "name": "Gateway edge-1" })
    );
    assert_eq!(told["success"], true);
    assert!(
        told["expires_in"].as_f64().is_some_and(|left| left > 86_400.0)
            && told["expires_at"].is_string(),
        "{told}"
    );
    assert!(!answer.text().contains("mt_"), "no machine token leaves");
    let sent = &cloud.requests_to("/harmony/authorize")[0];
    assert_eq!(sent.authorization, Some(format!("Bearer {user_token}")));
    assert_eq!(sent.body["metadata"], json!(["up=true", "version=1"]));

    // It is used at once.
    let request = eventually("a poll with the machine token", Duration::from_secs(10), || {
        cloud.requests_to("/harmony/changes/").pop()
    });
    assert_eq!(request.authorization, Some(format!("Bearer {}", cloud.issued_tokens()[0])));
    let authorized = eventually("a poll that ended", Duration::from_secs(10), || {
        Some(info(&edge)).filter(|info| info["last_poll"].is_u64())
    });
    assert_eq!(
        (&authorized["state"], &authorized["gateway_id"]),
        (&"authorized".into(), &GATEWAY_ID.into())
    );
    assert!(
        authorized["token_expires_at"].is_string() && authorized["last_error"].is_null(),
        "{authorized}"
    );
    let metrics = edge.manage("/metrics").send().text();
    for line in [
        "harmony_runbeam_state{state=\"authorized\"} 1",
        "harmony_runbeam_state{state=\"rejected\"} 0",
        "harmony_runbeam_polls_total{result=\"failed\"} 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
    assert!(
        metrics
            .lines()
            .any(|line| line.starts_with("harmony_machine_token_expiry_timestamp_seconds 1")),
        "{metrics}"
    );

    // A Sanctum token is passed on unseen.
    secrets::remember("17|qwertyuiopasdfghjklzxcvbnm12");
    let answer = post(&edge, "/admin/authorize", &json!({ "gateway_code": "edge-1" }))
        .bearer("17|qwertyuiopasdfghjklzxcvbnm12")
        .send();
    assert_eq!(answer.status, 201, "{}", answer.text());

    assert_eq!(edge.steer("POST", "/admin/deauthorize").send().status, 200);
    assert_eq!(info(&edge)["state"], "unauthorized");
    assert!(cloud.requests_to("deauthorize").is_empty(), "here only");
    for line in [
        "management: POST /admin/authorize from 127.0.0.1: 201: gateway \"edge-1\"",
        "management: POST /admin/deauthorize from 127.0.0.1: 200",
    ] {
        await_log(&edge, line);
    }
}

#[test]
fn what_is_wrong_is_refused_and_named() {
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    let edge = edge(&cloud, &upstream).start();
    let user_token = cloud.user_token().sign();
    let whole = json!({ "machine_token": "mt_x", "expires_at": "2099-01-01T00:00:00Z",
        "gateway_id": "g", "gateway_code": "c" });
    let with = |name: &str, value: Value| {
        let mut body = whole.clone();
        body[name] = value;
        body
    };
    for (body, named) in [
        (with("machine_token", 7.into()), "machine_token"),
        (with("machine_token", "mt x".into()), "machine_token"),
        (with("machine_token", "mt_\r\nX: y".into()), "machine_token"),
        (with("expires_at", "soon".into()), "expires_at"),
        (with("gateway_id", Value::Null), "gateway_id"),
        (with("gateway_code", "".into()), "gateway_code"),
        (with("gateway_code", 7.into()), "gateway_code"),
        (with("gateway_code", "x".repeat(300).into()), "gateway_code"),
        (with("abilities", "all".into()), "abilities"),
        (with("abilities", json!([1])), "abilities[0]"),
        (with("encryption_key", "no key".into()), "encryption_key"),
        (with("api_base_url", json!(["x"])), "api_base_url"),
        (json!([]), "object"),
    ] {
        let answer = post(&edge, "/admin/token", &body).send();
        assert_eq!(answer.status, 400, "{body}");
        let told = answer.json();
        assert!(
            told["error"] == "Bad Request"
                && told["message"].as_str().is_some_and(|message| message.contains(named)),
            "{body}: {told}"
        );
    }
    let authorize = |body: &Value| post(&edge, "/admin/authorize", body).bearer(&user_token).send();
    for (body, named) in [
        (json!({}), "gateway_code"),
        (json!({ "gateway_code": ["x"] }), "gateway_code"),
        (json!({ "gateway_code": "g", "metadata": "x" }), "metadata"),
        (json!({ "gateway_code": "g", "metadata": [1] }), "metadata[0]"),
        (json!({ "gateway_code": "g", "encryption_key": "AGE-SECRET-KEY-1X" }), "encryption_key"),
    ] {
        let answer = authorize(&body);
        assert_eq!(answer.status, 400, "{body}");
        assert!(
            answer.json()["message"].as_str().is_some_and(|message| message.contains(named)),
            "{body}: {}",
            answer.text()
        );
    }
    let not_json = edge
        .steer("POST", "/admin/token")
        .header("Content-Type", "application/json")
        .body("{\"machine_token\": \"mt_x")
        .send();
    assert!(not_json.status == 400 && !not_json.text().contains("mt_x"), "{}", not_json.text());
    assert!(cloud.requests_to("/harmony/authorize").is_empty());
    assert_eq!(info(&edge)["state"], "unauthorized");
    let metrics = edge.manage("/metrics").send().text();
    for (result, times) in [("ok", 0), ("refused", 19), ("failed", 0)] {
        let line = format!("harmony_runbeam_authorizations_total{{result=\"{result}\"}} {times}");
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
}

#[test]
fn checks_come_in_their_order_and_before_the_body() {
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    let edge = edge(&cloud, &upstream).start();
    let good = cloud.user_token().sign();
    let ask = |path: &str| edge.steer("POST", path);
    let kind = ("Content-Type", "application/json");
    let large = vec![b' '; 2 << 20];
    for (what, request, expected) in [
        (
            "a page, though all else is right",
            ask("/admin/authorize").header("Origin", "https://evil.example").bearer(&good),
            403,
        ),
        (
            "a rebound name",
            ask("/admin/token").host("evil.example").header(kind.0, kind.1).body("{}"),
            403,
        ),
        (
            "no token, and a body that is wrong in every way",
            ask("/admin/authorize").header("Content-Type", "text/plain").body(large.clone()),
            401,
        ),
        ("two tokens", ask("/admin/authorize").bearer(&good).bearer(&good), 400),
        (
            "another scheme",
            ask("/admin/authorize").header("Authorization", format!("Basic {good}")),
            401,
        ),
        (
            "a large body of the wrong kind",
            ask("/admin/authorize")
                .bearer(&good)
                .header("Content-Type", "text/plain")
                .body(large.clone()),
            413,
        ),
        (
            "a large body in chunks",
            ask("/admin/token").header(kind.0, kind.1).body(large).chunked(),
            413,
        ),
        (
            "the wrong kind",
            ask("/admin/token").header("Content-Type", "text/plain").body("{}"),
            415,
        ),
        ("no kind", ask("/admin/update").body("{}"), 415),
        ("no body", ask("/admin/token"), 400),
        (
            "a form",
            ask("/admin/deauthorize")
                .header("Content-Type", "application/x-www-form-urlencoded")
                .body("a=b"),
            415,
        ),
        ("GET", edge.manage("/admin/token"), 405),
        ("GET", edge.manage("/admin/cloud/discard"), 405),
    ] {
        let answer = request.send();
        assert_eq!(answer.status, expected, "{what}: {}", answer.text());
        if expected == 405 {
            assert_eq!(answer.field("Allow"), Some("POST"));
        }
        if expected == 401 {
            assert!(answer.field("WWW-Authenticate").is_some());
        }
    }
    // Whoever asks for leave to send a body gets it only where the body is wanted.
    let body = json!({ "gateway_code": "g", "metadata": 7 }).to_string();
    let polite = |request: crate::support::request::Request| {
        request
            .header(kind.0, kind.1)
            .header("Expect", "100-continue")
            .bearer(&good)
            .body(body.clone())
    };
    let answer = polite(ask("/admin/authorize")).send();
    assert_eq!((answer.status, answer.interim), (400, vec![100]));
    let answer = polite(ask("/admin/authorize").header("Origin", "https://evil.example")).send();
    assert_eq!((answer.status, answer.interim), (403, vec![]));
    // A connection goes on after a body that was refused.
    let mut kept = crate::support::Client::connect(edge.management_port());
    kept.send(
        ask("/admin/token").header("Content-Type", "text/plain").body(vec![b' '; 4096]).bytes(),
    );
    assert_eq!(kept.response().status, 415);
    kept.send(edge.manage("/admin/info").bytes());
    assert_eq!(kept.response().status, 200);
    assert_eq!(info(&edge)["state"], "unauthorized");
    let metrics = edge.manage("/metrics").send().text();
    for (reason, times) in [("host", 1), ("origin", 2), ("address", 0), ("credential", 0)] {
        let line = format!("harmony_management_refusals_total{{reason=\"{reason}\"}} {times}");
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
}

#[test]
fn the_clouds_refusal_comes_through_without_its_words() {
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    let edge = edge(&cloud, &upstream).start();
    assert_eq!(authorize(&edge, &cloud).status, 201);
    for (fault, expected) in [
        (Fault::status(401), 401),
        (Fault::status(403), 403),
        (Fault::status(404), 404),
        (Fault::status(422), 422),
        (Fault::retry_after(429, 3000), 429),
        (Fault::status(500), 502),
        (Fault::Garbage(100), 502),
        (Fault::Down, 502),
    ] {
        let what = format!("{fault:?}");
        cloud.fail_at("/harmony/authorize", usize::MAX, fault);
        let answer = authorize(&edge, &cloud);
        assert_eq!(answer.status, expected, "{what}: {}", answer.text());
        let told = answer.json();
        assert!(told["message"].is_string() && !answer.text().contains("The cloud says"), "{told}");
        if expected == 429 {
            assert_eq!(answer.field("Retry-After"), Some("3000"));
        }
        cloud.recover();
        assert_ne!(info(&edge)["state"], "unauthorized", "the old token stays: {what}");
    }
}

#[test]
fn a_reload_that_switches_runbeam_on_is_enough() {
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    let edge = Edge::open(&upstream).start();
    assert_eq!(authorize(&edge, &cloud).status, 403);
    edge.rewrite(|text| text + &runbeam(&cloud) + "\n");
    assert_eq!(edge.steer("POST", "/api/reload").send().status, 200);
    assert_eq!(info(&edge)["state"], "unauthorized");
    let answer = authorize(&edge, &cloud);
    assert_eq!(answer.status, 201, "{}", answer.text());
    await_state(&edge, "authorized");
    eventually("a poll", Duration::from_secs(20), || cloud.requests_to("/harmony/changes/").pop());
    edge.rewrite(|text| text.replace("enabled = true\ncloud", "enabled = false\ncloud"));
    assert_eq!(edge.steer("POST", "/api/reload").send().status, 200);
    assert_eq!(info(&edge)["state"], "disabled");
    assert_eq!(authorize(&edge, &cloud).status, 403);
}

#[test]
fn key_sets_are_fetched_when_asked() {
    let (mut issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let old = issuer.token().sign();
    assert_eq!(edge.get("/api/x").bearer(&old).send().status, 200);
    issuer.rotate("k2", 1);
    let answer = edge.steer("POST", "/admin/keys/refresh").send();
    assert_eq!(answer.status, 200);
    let told = answer.json();
    assert_eq!((&told["refreshed"], &told["failed"]), (&1.into(), &0.into()), "{told}");
    assert_eq!(edge.get("/api/x").bearer(&old).send().status, 401, "the old key is gone");
    assert_eq!(edge.get("/api/x").bearer(&issuer.token().sign()).send().status, 200);
    issuer.stop();
    let answer = edge.steer("POST", "/admin/keys/refresh").send();
    assert_eq!((answer.status, &answer.json()["failed"]), (502, &1.into()));
    assert_eq!(
        edge.get("/api/x").bearer(&issuer.token().sign()).send().status,
        200,
        "what was known goes on serving"
    );
}
