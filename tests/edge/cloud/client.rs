//! The published client, `runbeam` 0.9: the program itself where it is installed, and its calls
//! byte for byte everywhere.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::{await_state, edge, info};
use crate::support::{Client, Cloud, Edge, Response, Upstream, secrets};

/// What `harmony:info`, `harmony:pipelines` and `harmony:routes` send.
fn get(path: &str, port: u16) -> String {
    format!("GET {path} HTTP/1.1\r\naccept: */*\r\nhost: 127.0.0.1:{port}\r\n\r\n")
}

/// What `harmony:reload` and `harmony:update` send: no body, no Content-Type, no Content-Length.
fn bare_post(path: &str, port: u16) -> String {
    format!("POST {path} HTTP/1.1\r\naccept: */*\r\nhost: 127.0.0.1:{port}\r\n\r\n")
}

/// What `harmony:authorize` sends once the cloud has given it a machine token.
fn token(port: u16, machine_token: &str, base: &str) -> String {
    let body = format!(
        "{{\"abilities\":[\"harmony:read\",\"harmony:update\"],\"api_base_url\":\"{base}\",\"\
         expires_at\":\"2099-12-22T13:43:15+00:00\",\
         \"gateway_code\":\"75bf2226\",\"gateway_id\":\"01k8ek6h9aahhnrv3benret1nn\",\"\
         machine_token\":\"{machine_token}\"}}"
    );
    format!(
        "POST /admin/token HTTP/1.1\r\ncontent-type: application/json\r\naccept: */*\r\n\
         host: 127.0.0.1:{port}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn send(edge: &Edge, bytes: &str) -> Response {
    Client::connect(edge.management_port())
        .send(bytes)
        .response_to(bytes.split(' ').next().unwrap())
}

#[test]
fn its_calls_byte_for_byte() {
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    let edge = edge(&cloud, &upstream).start();
    let port = edge.management_port();
    let told = send(&edge, &get("/admin/info", port)).json();
    for member in ["version", "uptime", "os", "arch", "proxy_id", "config_generation", "runbeam"] {
        assert!(!told[member].is_null(), "{member}: {told}");
    }
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let uptime = told["uptime_secs"].as_u64().unwrap();
    let started = told["uptime"].as_u64().unwrap();
    assert!(uptime < 300 && now.abs_diff(started + uptime) <= 2, "{told}");
    let pipelines = send(&edge, &get("/admin/pipelines", port)).json();
    let expected = serde_json::json!([{ "id": "api", "description": "", "networks": ["public"],
        "endpoints": ["api"], "backends": ["app"], "middleware": [] }]);
    assert_eq!(pipelines["pipelines"], expected);
    let routes = send(&edge, &get("/admin/routes", port)).json();
    let route = &routes["routes"][0];
    assert_eq!(
        (&route["path"], &route["endpoint_name"], &route["service_type"], &route["pipeline"]),
        (&"/api".into(), &"api".into(), &"http".into(), &"api".into())
    );

    assert_eq!(
        send(&edge, &bare_post("/admin/update", port)).status,
        401,
        "nothing to upload with yet"
    );
    let machine_token = "mt_1f3b17cab6774d2386dc51c36e41dea8";
    secrets::remember(machine_token);
    // With and without `/api` at its end.
    for base in [cloud.url(), format!("{}/api", cloud.url()), format!("{}/", cloud.url())] {
        let answer = send(&edge, &token(port, machine_token, &base));
        assert_eq!(
            (answer.status, &answer.json()["success"]),
            (200, &Value::Bool(true)),
            "{base}: {}",
            answer.text()
        );
    }
    await_state(&edge, "authorized");
    let reload = send(&edge, &bare_post("/api/reload", port));
    assert_eq!((reload.status, &reload.json()["status"]), (200, &"unchanged".into()));
    let update = send(&edge, &bare_post("/admin/update", port));
    assert_eq!(update.status, 200, "{}", update.text());
    let update = update.json();
    assert!(
        update["config_size"].as_u64().is_some_and(|size| size > 0)
            && update["pipeline_count"] == 1,
        "{update}"
    );
    assert_eq!((&update["transform_count"], &update["mesh_count"]), (&0.into(), &0.into()));
}

#[test]
fn it_understands_why_it_is_refused_where_runbeam_is_off() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).start();
    let port = edge.management_port();
    for bytes in [
        token(port, "mt_x", "http://app.runbeam.io/api"),
        bare_post("/admin/update", port),
        bare_post("/admin/authorize", port),
    ] {
        let answer = send(&edge, &bytes);
        assert_eq!(answer.status, 403);
        let expected =
            "Runbeam Cloud integration is disabled. Set runbeam.enabled=true in the configuration.";
        assert_eq!(answer.json(), serde_json::json!({ "error": "Forbidden", "message": expected }));
    }
    assert_eq!(info(&edge)["state"], "disabled");
}

#[test]
fn the_program_itself() {
    let Some(program) = program() else {
        println!(
            "skipped: the published client is not installed (RUNBEAM_BIN, or `runbeam` in PATH): \
             its recorded calls are tested"
        );
        return;
    };
    let (cloud, upstream) = (Cloud::start(), Upstream::start());
    let login = cloud.user_token().sign();
    cloud.log_in_with(&login);
    let edge = edge(&cloud, &upstream).start();
    let home = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| run(&program, &home, arguments);
    run(&["config:set", "api-url", &cloud.url()]);
    run(&["login"]);
    let port = edge.management_port().to_string();
    run(&["harmony:add", "-i", "127.0.0.1", "-p", &port, "-l", "x"]);
    for (arguments, expected) in [
        (&["harmony:info", "-l", "x"][..], "config_generation"),
        (&["harmony:pipelines", "-l", "x"], "api"),
        (&["harmony:routes", "-l", "x"], "/api"),
        (&["harmony:authorize", "-l", "x", "-y"], "Token saved to Harmony proxy successfully"),
        (&["harmony:authorize", "-l", "x", "--update", "-y"], "uploaded"),
        (&["harmony:reload", "-l", "x"], "unchanged"),
        (&["harmony:update", "-l", "x"], "uploaded"),
    ] {
        let said = run(arguments);
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
    assert_eq!(await_state(&edge, "authorized")["gateway_id"], crate::support::cloud::GATEWAY_ID);

    let off = Edge::open(&upstream).start();
    let port = off.management_port().to_string();
    run(&["harmony:add", "-i", "127.0.0.1", "-p", &port, "-l", "off"]);
    let said = run(&["harmony:authorize", "-l", "off", "-y"]);
    assert!(
        said.contains("Runbeam Cloud integration is disabled on the Harmony instance"),
        "{said}"
    );
}

fn program() -> Option<PathBuf> {
    let named = std::env::var_os("RUNBEAM_BIN").map(PathBuf::from);
    let in_path = || {
        std::env::split_paths(&std::env::var_os("PATH")?)
            .map(|directory| directory.join("runbeam"))
            .find(|path| path.is_file())
    };
    named.or_else(in_path).filter(|path| path.is_file())
}

fn run(program: &PathBuf, home: &TempDir, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    let output = command
        .arg("-q")
        .args(arguments)
        .env("HOME", home.path())
        .env_remove("RUNBEAM_API_URL")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}
