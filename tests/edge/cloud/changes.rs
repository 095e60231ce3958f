//! Pulled changes: oldest first, each in service before the cloud is told so, none twice, and none
//! that reaches beyond what the cloud may decide.

use std::time::Duration;

use super::{
    SOON, authorize, await_log, await_state, await_status, echo, edge, forwarding, info, poll_now,
    reports, runbeam,
};
use crate::support::cloud::Fault;
use crate::support::{Cloud, Edge, Upstream, eventually};

#[test]
fn three_changes_the_middle_one_broken_and_a_restart_without_the_cloud() {
    let (mut cloud, upstream) = (Cloud::start(), Upstream::start());
    let mut edge = edge(&cloud, &upstream).start();
    cloud.page_size(2);
    cloud.add_change("c1", "pipeline", &echo("one"));
    cloud.add_change(
        "c2",
        "pipeline",
        &echo("two").replace("\"echo\"", "\"dicom\"").replace("path_prefix", "path_prefiks"),
    );
    cloud.add_change("c3", "pipeline", &echo("three"));
    cloud.add_change("c4", "transform", "[transforms.x]\nname = \"x\"\n");
    // The first report is lost: the change is not applied again, only reported again.
    cloud.fail_at("/change/c1/applied", 3, Fault::status(500));
    assert_eq!(authorize(&edge, &cloud).status, 201);
    for (id, status) in [("c1", "applied"), ("c3", "applied"), ("c2", "failed"), ("c4", "failed")] {
        await_status(&cloud, id, status);
    }
    assert_eq!((edge.get("/one/x").send().status, edge.get("/three/x").send().status), (200, 200));
    assert_eq!(edge.get("/two/x").send().status, 404);
    await_log(&edge, "change c3 is in service");
    let log = edge.log();
    assert_eq!(log.matches("change c1 is in service").count(), 1);
    let (_, failed) = reports(&cloud, "c2").pop().unwrap();
    let details = failed["details"].as_array().unwrap();
    assert!(
        details.len() >= 2
            && details.iter().any(|detail| detail.as_str().unwrap().contains("path_prefiks")),
        "{failed}"
    );
    let (_, transform) = reports(&cloud, "c4").pop().unwrap();
    assert!(transform["error"].as_str().unwrap().contains("transform"), "{transform}");
    // Fetched, acknowledged, put in service, and only then reported.
    let steps: Vec<String> = cloud
        .requests()
        .into_iter()
        .map(|request| request.path)
        .filter(|path| path.contains("c3") || path.contains("acknowledge"))
        .collect();
    let place = |part: &str| steps.iter().position(|path| path.ends_with(part)).unwrap();
    assert!(place("/change/c3") < place("/change/c3/applied"), "{steps:?}");
    let generation =
        edge.manage("/admin/info").send().json()["config_generation"].as_u64().unwrap();
    assert_eq!(generation, 3, "two changes were put in service");
    let pipelines = edge.manage("/admin/pipelines").send().text();
    assert!(
        pipelines.contains("\"one\"")
            && pipelines.contains("\"three\"")
            && !pipelines.contains("\"two\""),
        "{pipelines}"
    );

    cloud.stop();
    edge.restart();
    assert_eq!(edge.get("/one/x").send().status, 200, "the last good configuration");
    assert_eq!((edge.get("/three/x").send().status, edge.get("/api/x").send().status), (200, 200));
    eventually("an error", SOON, || info(&edge)["last_error"].as_str().map(|_| ()));
    cloud.forget_requests();
    cloud.restart();
    eventually("a poll that succeeds", SOON, || {
        Some(info(&edge)).filter(|info| info["last_poll"].is_u64() && info["last_error"].is_null())
    });
    assert!(cloud.requests_to("/applied").is_empty(), "applied once");

    let answer = edge.steer("POST", "/admin/cloud/discard").send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!((edge.get("/one/x").send().status, edge.get("/api/x").send().status), (404, 200));
}

#[test]
fn the_cloud_decides_about_pipelines_and_nothing_else() {
    let (cloud, upstream, secret_taker) = (Cloud::start(), Upstream::start(), Upstream::start());
    let secret = "correct-horse-battery-staple-1234";
    crate::support::secrets::remember(secret);
    let edge = edge(&cloud, &upstream).env("EDGE_SECRET", secret).start();
    let listener = "[network.evil.http]\nbind_address = \"0.0.0.0\"\nbind_port = 18099\n";
    let management = format!("http://127.0.0.1:{}/admin", edge.management_port());
    let refused = [
        ("x1", "a listener", "gateway", echo("x1") + listener),
        (
            "x2",
            "management",
            "gateway",
            echo("x2") + "[management]\nenabled = true\nallow_from = [\"0.0.0.0/0\"]\n",
        ),
        (
            "x3",
            "runbeam",
            "pipeline",
            echo("x3")
                + "[runbeam]\nenabled = true\ncloud_api_base_url = \"https://evil.example\"\n",
        ),
        (
            "x4",
            "a secret",
            "pipeline",
            forwarding("x4", &format!("http://127.0.0.1:{}/${{EDGE_SECRET}}", secret_taker.port())),
        ),
        (
            "x5",
            "a secret file",
            "pipeline",
            forwarding(
                "x5",
                &format!("http://127.0.0.1:{}/${{file:/etc/passwd}}", secret_taker.port()),
            ),
        ),
        ("x6", "the management listener", "pipeline", forwarding("x6", &management)),
        ("x7", "a name of the local files", "pipeline", echo("api")),
        ("x8", "a place of the local files", "pipeline", echo("x8").replace("\"/x8\"", "\"/api\"")),
        (
            "x9",
            "silence about who may pass",
            "pipeline",
            echo("x9").replace("middleware = []\n", ""),
        ),
    ];
    for (id, _, kind, toml) in &refused {
        cloud.add_change(id, kind, toml);
    }
    cloud.add_change("good", "pipeline", &echo("good"));
    assert_eq!(authorize(&edge, &cloud).status, 201);
    await_status(&cloud, "good", "applied");
    for (id, what, ..) in &refused {
        assert_eq!(cloud.change_status(id).as_deref(), Some("failed"), "{id}: {what}");
        assert_eq!(edge.get(&format!("/{id}/info")).send().status, 404, "{id}: {what}");
    }
    let (_, silent) = reports(&cloud, "x9").pop().unwrap();
    let reason = "pipelines.x9.middleware: is missing; list the steps";
    assert!(silent.to_string().contains(reason), "{silent}");
    assert_eq!(edge.get("/api/x").send().status, 200);
    assert!(secret_taker.requests().is_empty());
    let told: Vec<String> = cloud
        .requests()
        .into_iter()
        .map(|request| request.body.to_string() + &request.head)
        .collect();
    assert!(!told.iter().any(|text| text.contains(secret)), "no secret leaves");
    assert!(std::net::TcpStream::connect("127.0.0.1:18099").is_err());
}

#[test]
fn a_frozen_layer_leaves_changes_pending() {
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    let edge =
        Edge::open(&upstream).and(&format!("{}\napply_changes = false", runbeam(&cloud))).start();
    cloud.add_change("c1", "pipeline", &echo("one"));
    assert_eq!(authorize(&edge, &cloud).status, 201);
    eventually("a poll", SOON, || Some(info(&edge)).filter(|info| info["pending_changes"] == 1));
    assert_eq!(cloud.change_status("c1").as_deref(), Some("pending"));
    assert!(cloud.requests_to("/harmony/change/").is_empty());
    edge.rewrite(|text| text.replace("apply_changes = false", "apply_changes = true"));
    assert_eq!(edge.steer("POST", "/admin/reload").send().status, 200);
    await_status(&cloud, "c1", "applied");
    assert_eq!(edge.get("/one/x").send().status, 200);
}

#[test]
fn the_cloud_hears_how_things_stand_unless_it_does_not_listen() {
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    let edge = edge(&cloud, &upstream).start();
    assert_eq!(authorize(&edge, &cloud).status, 201);
    let status = eventually("a status", SOON, || cloud.requests_to("/harmony/status").pop());
    assert_eq!(
        (&status.body["version"], &status.body["config_generation"]),
        (&env!("CARGO_PKG_VERSION").into(), &1.into())
    );
    await_state(&edge, "authorized");
    cloud.fail_at("/harmony/status", usize::MAX, Fault::status(404));
    let again = || {
        cloud.forget_requests();
        poll_now(&edge, &cloud);
        eventually("a poll", SOON, || cloud.requests_to("/harmony/changes/").pop());
    };
    again();
    eventually("the refused status", SOON, || cloud.requests_to("/harmony/status").pop());
    again();
    std::thread::sleep(Duration::from_millis(500));
    assert!(cloud.requests_to("/harmony/status").is_empty());
    assert_eq!(info(&edge)["last_error"], serde_json::Value::Null);
}
