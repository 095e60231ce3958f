//! The local configuration goes to the cloud with its references, and comes back whole.

use super::{SOON, authorize, await_state, await_status, edge};
use crate::support::{Cloud, Edge, Upstream, eventually, secrets};

/// A second pipeline, whose secrets stand in the environment.
const KEYED: &str = r#"
[pipelines.keyed]
networks = ["public"]
endpoints = ["keyed"]
middleware = ["key"]
backends = ["keyed"]
[endpoints.keyed]
service = "http"
options = { path_prefix = "/keyed" }
[middleware.key]
type = "api-key"
config = { keys = ["${KEY_HASH}"] }
[backends.keyed]
service = "echo"
"#;

const PEPPER: &str = "3a7bd3e2360a3d29eea436fcfb7e44c735d117c42d1c1835420b6b9942dd4f1b";

fn with_key(cloud: &Cloud, upstream: &Upstream) -> Edge {
    secrets::remember(PEPPER);
    edge(cloud, upstream).and(KEYED).env("KEY_HASH", PEPPER).start()
}

#[test]
fn references_go_up_and_come_back() {
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    let edge = with_key(&cloud, &upstream);
    assert_eq!(authorize(&edge, &cloud).status, 201);
    let answer = edge.steer("POST", "/admin/update").send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    assert_eq!(told["pipeline_count"], 2);
    let sent = cloud.requests_to("/harmony/update").pop().unwrap();
    let text = sent.body["config"].as_str().unwrap().to_owned();
    assert_eq!(told["config_size"], text.len());
    assert_eq!(
        (&sent.body["type"], &sent.body["id"]),
        (&"gateway".into(), &crate::support::cloud::GATEWAY_ID.into())
    );
    assert!(text.contains("${KEY_HASH}") && !text.contains(PEPPER), "{text}");

    // What was uploaded comes back as it was, and serves unchanged.
    let status = || edge.get("/keyed/x").header("X-API-Key", "wrong").send().status;
    assert_eq!(status(), 401);
    cloud.add_change("back", "gateway", &text);
    eventually("the change is decided", SOON, || {
        cloud.change_status("back").filter(|status| status != "pending" && status != "acknowledged")
    });
    await_status(&cloud, "back", "applied");
    assert_eq!((status(), edge.get("/api/x").send().status), (401, 200));
}

/// The cloud adds what is its own: nothing of that has an effect here.
#[test]
fn what_comes_back_with_ids_and_defaults_is_applied() {
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    let edge = with_key(&cloud, &upstream);
    assert_eq!(authorize(&edge, &cloud).status, 201);
    assert_eq!(edge.steer("POST", "/admin/update").send().status, 200);
    let sent = cloud.requests_to("/harmony/update").pop().unwrap();
    let text = sent.body["config"].as_str().unwrap().to_owned();
    let ids = "id = \"01k8\"\nname = \"A name\"\ntags = [\"x\"]\n";
    let mut back = text.clone();
    for table in ["pipelines.keyed", "endpoints.keyed", "middleware.key", "backends.keyed"] {
        back = back.replace(&format!("[{table}]\n"), &format!("[{table}]\n{ids}"));
    }
    back = back.replace(
        "[network.public.http]",
        "[network.public]\nenable_wireguard = false\n[network.public.http]",
    );
    assert!(back.matches("01k8").count() == 4 && back.contains("wireguard"), "{back}");
    cloud.add_change("back", "gateway", &back);
    await_status(&cloud, "back", "applied");
    let other = back.replace("name = \"A name\"", "description = \"another\"");
    cloud.add_change("other", "gateway", &other);
    await_status(&cloud, "other", "failed");
}

#[test]
fn what_was_uploaded_is_the_clouds_where_the_operator_says_so() {
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    secrets::remember(PEPPER);
    let settings = format!("{}\ncloud_owns_uploaded = true\n{KEYED}", super::runbeam(&cloud));
    let mut edge = Edge::open(&upstream).and(&settings).env("KEY_HASH", PEPPER).start();
    assert_eq!(authorize(&edge, &cloud).status, 201);
    let changed = |path: &str| {
        KEYED.replace("path_prefix = \"/keyed\"", &format!("path_prefix = \"{path}\""))
    };
    cloud.add_change("before", "pipeline", &changed("/before"));
    await_status(&cloud, "before", "failed");
    assert_eq!(edge.steer("POST", "/admin/update").send().status, 200);
    cloud.add_change("after", "pipeline", &changed("/after"));
    await_status(&cloud, "after", "applied");
    let status = |edge: &Edge, path: &str| edge.get(path).send().status;
    assert_eq!((status(&edge, "/after/x"), status(&edge, "/keyed/x")), (401, 404));
    edge.restart();
    assert_eq!((status(&edge, "/after/x"), status(&edge, "/keyed/x")), (401, 404), "it is kept");
    assert_eq!(edge.steer("POST", "/admin/cloud/discard").send().status, 200);
    assert_eq!((status(&edge, "/after/x"), status(&edge, "/keyed/x")), (404, 401));
    // The right outlives the discard.
    cloud.add_change("again", "pipeline", &changed("/again"));
    await_status(&cloud, "again", "applied");
    assert_eq!(status(&edge, "/again/x"), 401);
}

#[test]
fn a_literal_secret_stays_here() {
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    let secret = "a-literal-secret-of-thirty-two-bytes-and-more";
    secrets::remember(secret);
    let literal = KEYED.replace("type = \"api-key\"", "type = \"jwt-auth\"").replace(
        "keys = [\"${KEY_HASH}\"]",
        &format!("algorithm = \"HS256\", secret = \"{secret}\", issuer = \"i\", audience = \"a\""),
    );
    let edge = edge(&cloud, &upstream).and(&literal).start();
    assert_eq!(authorize(&edge, &cloud).status, 201);
    let answer = edge.steer("POST", "/admin/update").send();
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(
        answer.text().contains("middleware.key.config.secret") && !answer.text().contains(secret),
        "{}",
        answer.text()
    );
    assert!(cloud.requests_to("/harmony/update").is_empty());
    assert_eq!(
        edge.steer("POST", "/admin/update").bearer("x").send().status,
        422,
        "the token is the gateway's, not the caller's"
    );
}

#[test]
fn one_upload_before_the_first_poll() {
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    let edge = edge(&cloud, &upstream).env("RUNBEAM_PUSH_CONFIG_ON_STARTUP", "true").start();
    assert_eq!(authorize(&edge, &cloud).status, 201);
    await_state(&edge, "authorized");
    eventually("a poll", SOON, || cloud.requests_to("/harmony/changes/").get(1).cloned());
    let paths: Vec<String> = cloud.requests().into_iter().map(|request| request.path).collect();
    let place = |part: &str| paths.iter().position(|path| path.contains(part)).unwrap();
    assert!(place("/harmony/update") < place("/harmony/changes/"), "{paths:?}");
    assert_eq!(cloud.requests_to("/harmony/update").len(), 1);
}
