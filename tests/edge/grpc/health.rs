//! Health checks by `grpc.health.v1`, and by HTTP where HTTP/2 alone is spoken.

use std::time::Duration;

use serde_json::Value;

use crate::support::authority::Authority;
use crate::support::grpc::Server;
use crate::support::settings::Route;
use crate::support::tls::SecureUpstream;
use crate::support::{Edge, Settings, Upstream, eventually};

const PATIENCE: Duration = Duration::from_secs(30);

/// An edge with a backend of one upstream.
fn in_front_of(url: &str, lines: &str) -> Edge {
    let route = Route::to_url("app", url).prefix("/").backend(lines);
    let authority = Authority::new("others").pem();
    Edge::configured(Settings::bare().and(&route.text())).file("ca.pem", &authority).start()
}

/// What the Management API tells of the upstream, once it is in this state.
#[track_caller]
fn await_state(edge: &Edge, state: &str) -> Value {
    eventually(state, PATIENCE, || {
        let told = edge.manage("/admin/backends").send().json();
        let upstream = told["backends"][0]["upstreams"][0].clone();
        (upstream["state"] == state).then_some(upstream)
    })
}

fn url(server: &Server) -> String {
    format!("http://127.0.0.1:{}", server.port())
}

fn check(service: &str) -> String {
    format!(
        "http_version = \"2\"\nhealth_check = {{ type = \"grpc\", interval_secs = 1{service}, \
         unhealthy_after = 1, healthy_after = 1 }}"
    )
}

#[test]
fn a_service_is_healthy_while_it_serves() {
    let mut server = Server::start();
    server.set_health("", 2);
    server.set_health("test.Svc", 1);
    let edge = in_front_of(&url(&server), &check(", service = \"test.Svc\""));
    await_state(&edge, "healthy");
    assert_eq!(server.metadata().get("te").unwrap(), "trailers");
    for (status, why) in [(2, "it answered NOT_SERVING"), (0, "it answered UNKNOWN")] {
        server.set_health("test.Svc", status);
        let told = await_state(&edge, "unhealthy");
        assert_eq!(told["last_error"], why);
        server.set_health("test.Svc", 1);
        await_state(&edge, "healthy");
    }
    server.kill();
    assert_eq!(await_state(&edge, "unhealthy")["last_error"], "connection refused");
    server.restart();
    await_state(&edge, "healthy");
}

#[test]
fn without_a_service_the_server_is_asked_about() {
    let server = Server::start();
    server.set_health("", 1);
    let edge = in_front_of(&url(&server), &check(""));
    await_state(&edge, "healthy");
    let other = in_front_of(&url(&server), &check(", service = \"another.Svc\""));
    let told = await_state(&other, "unhealthy");
    assert_eq!(told["last_error"], "it does not know the service (grpc-status 5)");
}

#[test]
fn what_is_no_server_of_grpc_is_unhealthy() {
    let plain = Upstream::start();
    let edge = in_front_of(&format!("http://127.0.0.1:{}", plain.port()), &check(""));
    let told = await_state(&edge, "unhealthy");
    let why = told["last_error"].as_str().unwrap();
    assert!(why.contains("HTTP/2"), "{why}");
    let pair = Authority::new("upstreams").server(&["127.0.0.1"]);
    let secure = SecureUpstream::start(&pair);
    let lines = format!("{}\nca_cert_path = \"ca.pem\"", check(""));
    let edge = in_front_of(&format!("https://127.0.0.1:{}", secure.port()), &lines);
    let told = await_state(&edge, "unhealthy");
    let why = told["last_error"].as_str().unwrap();
    assert!(why.starts_with("TLS: "), "{why}");
}

#[test]
fn a_check_by_http_speaks_http_2_where_requests_do() {
    let server = Server::start();
    // A server of gRPC answers 200 to what it does not know, and says so in `grpc-status`.
    let edge = in_front_of(
        &url(&server),
        "http_version = \"2\"\nhealth_check = { path = \"/\", interval_secs = 1 }",
    );
    await_state(&edge, "healthy");
    assert!(server.connections() > 0);
}
