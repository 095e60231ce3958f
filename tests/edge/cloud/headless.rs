//! `RUNBEAM_MACHINE_TOKEN`: a token that the deployment brings along.

use std::time::{Duration, SystemTime};

use serde_json::json;

use super::{SOON, await_log, await_poll_with, await_state, edge, info, post};
use crate::support::cloud::GATEWAY_ID;
use crate::support::{Cloud, Edge, Program, Settings, Upstream, eventually, secrets};

const DAY: u64 = 86_400;

fn in_days(days: u64) -> String {
    let at = SystemTime::now() + Duration::from_secs(days * DAY);
    jiff::Timestamp::try_from(at).unwrap().to_string()
}

fn payload(token: &str, expires_at: &str) -> String {
    secrets::remember(token);
    json!({ "machine_token": token, "expires_at": expires_at, "gateway_id": GATEWAY_ID,
        "gateway_code": "edge-1", "abilities": [] })
    .to_string()
}

fn key() -> String {
    let key = runbeam_sdk::EncryptionKeys::generate().first().to_string();
    secrets::remember(&key);
    key
}

fn is_stored(edge: &Edge) -> bool {
    edge.directory().join("home/.runbeam/edge-1/auth.json").exists()
}

#[test]
fn the_whole_token_is_used_and_stored_only_with_a_key() {
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    let text = payload("mt_abcdefabcdefabcdef1234", &in_days(20));
    let edge_without =
        edge(&cloud, &upstream).env("RUNBEAM_MACHINE_TOKEN", &format!(" {text}\n")).start();
    let told = await_state(&edge_without, "authorized");
    assert_eq!(
        (&told["gateway_id"], &told["token_source"]),
        (&GATEWAY_ID.into(), &"environment".into())
    );
    await_poll_with(&cloud, "mt_abcdefabcdefabcdef1234");
    assert!(!is_stored(&edge_without));
    assert_eq!(info(&edge_without)["token_store"], "memory", "where it is, not where one goes");

    let edge_with = edge(&cloud, &upstream)
        .env("RUNBEAM_MACHINE_TOKEN", &text)
        .env("RUNBEAM_ENCRYPTION_KEY", &key())
        .start();
    await_state(&edge_with, "authorized");
    eventually("the stored token", SOON, || is_stored(&edge_with).then_some(()));
    let told = info(&edge_with)["token_store"].clone();
    assert!(told.as_str().is_some_and(|store| store.contains("auth.json")), "{told}");
}

/// Newer clients leave `gateway_code` out: then it is `proxy.id`.
#[test]
fn a_token_without_a_gateway_code_is_that_of_the_instance() {
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    let token = "mt_c0delessabcdefabcdefab";
    secrets::remember(token);
    // It is due, and renewed with the code.
    let text =
        json!({ "machine_token": token, "expires_at": in_days(3), "gateway_id": GATEWAY_ID });
    let edge = edge(&cloud, &upstream).env("RUNBEAM_MACHINE_TOKEN", &text.to_string()).start();
    let renewal = eventually("the renewal", SOON, || cloud.requests_to("/harmony/authorize").pop());
    assert_eq!(renewal.body["gateway_code"], "edge-1");
    // The same for a token that the client hands over.
    cloud.forget_requests();
    let text = text.to_string().replace(token, "mt_c0deless2bcdefabcdefab");
    secrets::remember("mt_c0deless2bcdefabcdefab");
    let answer = post(&edge, "/admin/token", &serde_json::from_str(&text).unwrap()).send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let renewal = eventually("the renewal", SOON, || {
        let with = Some("Bearer mt_c0deless2bcdefabcdefab".to_owned());
        let mut asked = cloud.requests_to("/harmony/authorize").into_iter();
        asked.find(|request| request.authorization == with)
    });
    assert_eq!(renewal.body["gateway_code"], "edge-1");
}

#[test]
fn the_cloud_says_whose_a_bare_token_is_once_it_can_be_asked() {
    let (mut cloud, upstream) = (Cloud::start(), Upstream::start());
    cloud.add("gateways", json!({ "id": "gw-1", "code": "other", "name": "Other" }));
    cloud.stop();
    let token = "mt_bareabcdefabcdefabcdef";
    secrets::remember(token);
    let edge = edge(&cloud, &upstream).env("RUNBEAM_MACHINE_TOKEN", &format!("{token}\n")).start();
    eventually("an error", SOON, || info(&edge)["last_error"].as_str().map(|_| ()));
    assert_eq!(edge.get("/api/x").send().status, 200);
    cloud.restart();
    // The only entry: none bears this instance's name.
    let told = eventually("the gateway", SOON, || {
        Some(info(&edge)).filter(|info| info["gateway_id"] == "gw-1")
    });
    assert_eq!(
        (&told["state"], &told["token_expires_at"]),
        (&"authorized".into(), &serde_json::Value::Null)
    );
    eventually("a poll", SOON, || cloud.requests_to("/harmony/changes/gw-1").pop());
    assert!(!is_stored(&edge));
}

#[test]
fn an_expired_one_does_not_stop_the_node() {
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    cloud.allow_renewal(false);
    let edge = edge(&cloud, &upstream)
        .env("RUNBEAM_MACHINE_TOKEN", &payload("mt_0ldabcdefabcdefabcdef", "2025-12-31T23:59:59Z"))
        .start();
    let told = await_state(&edge, "expired");
    assert_eq!(told["token_expires_at"], "2025-12-31T23:59:59Z");
    await_log(&edge, "RUNBEAM_MACHINE_TOKEN has expired");
    assert_eq!(edge.get("/api/x").send().status, 200);
    assert!(cloud.requests_to("/harmony/changes/").is_empty(), "it is not used for polls");
}

#[test]
fn a_renewed_token_in_the_store_outlives_it() {
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    let text = payload("mt_s00nabcdefabcdefabcde", &in_days(3));
    let mut edge = edge(&cloud, &upstream)
        .env("RUNBEAM_MACHINE_TOKEN", &text)
        .env("RUNBEAM_ENCRYPTION_KEY", &key())
        .start();
    let renewed = eventually("the renewal", SOON, || cloud.issued_tokens().pop());
    await_poll_with(&cloud, &renewed);
    edge.restart();
    let told = await_state(&edge, "authorized");
    assert_eq!(told["token_source"], "store");
    cloud.forget_requests();
    await_poll_with(&cloud, &renewed);
    assert_eq!(cloud.issued_tokens().len(), 1, "it is not renewed again");
}

#[test]
fn a_malformed_one_is_a_start_up_error_that_names_the_field() {
    for (value, named) in [
        (
            "{\"machine_token\":\"mt_x\",\"expires_at\":\"soon\",\"gateway_id\":\"g\",\"\
             gateway_code\":\"c\"}",
            "expires_at",
        ),
        ("{\"expires_at\":\"2099-01-01T00:00:00Z\"}", "machine_token"),
        ("{mt_x", "not JSON"),
    ] {
        let text = Settings::bare().text().replace("{port}", "18080").replace("{mport}", "19090");
        let ran = Program::check(&text).env("RUNBEAM_MACHINE_TOKEN", value).run();
        assert_eq!(ran.status, Some(1), "{value}");
        let line = ran.error_with(&["RUNBEAM_MACHINE_TOKEN", named]);
        assert!(!line.contains("mt_x") && !line.contains("soon"), "{line}");
        let ran = Program::with(&["-c", "harmony.toml"])
            .file("harmony.toml", &text)
            .env("RUNBEAM_MACHINE_TOKEN", value)
            .run();
        assert_eq!(ran.status, Some(1), "{value}");
    }
    let ran = Program::check(
        &Settings::bare().text().replace("{port}", "18080").replace("{mport}", "19090"),
    )
    .env("RUNBEAM_ENCRYPTION_KEY", "a passphrase")
    .run();
    assert_eq!(ran.status, Some(1));
    ran.error_with(&["RUNBEAM_ENCRYPTION_KEY"]);
}
