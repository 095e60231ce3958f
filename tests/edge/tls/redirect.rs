//! `force_https`: a plain listener that only sends to the other one.

use std::time::Duration;

use super::Listening;
use crate::support::poll::becomes_true;
use crate::support::ports::Port;
use crate::support::request::Request;
use crate::support::{Edge, Upstream};

#[test]
fn everything_goes_to_the_same_place_by_https_and_reaches_nothing() {
    let plain = Port::claim();
    let upstream = Upstream::start();
    let tables = format!(
        "[network.plain.http]\nbind_address = \"127.0.0.1\"\nbind_port = {plain}\n\
         force_https = true\n\
         [pipelines.p]\nnetworks = [\"plain\"]\nendpoints = [\"p\"]\nmiddleware = [\"k\"]\n\
         backends = [\"p\"]\n[endpoints.p]\nservice = \"http\"\n\
         [backends.p]\nservice = \"http\"\nbase_url = \"http://127.0.0.1:{}\"\n\
         [middleware.k]\ntype = \"api-key\"\nkeys = \
         [\"sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae\"]\n",
        upstream.port()
    );
    let listening = Listening::with().and(&tables).start();
    let secure = listening.port();
    let request = |method: &str, target: &str| {
        Request::new(plain.number(), method, target).host("edge.example")
    };
    for (request, expected) in [
        (request("GET", "/a/b?c=d%20e&f"), format!("https://edge.example:{secure}/a/b?c=d%20e&f")),
        (request("GET", "/").host("edge.example:8080"), format!("https://edge.example:{secure}/")),
        (request("GET", "/").host("[::1]:8080"), format!("https://[::1]:{secure}/")),
        (
            request("GET", "//evil.example/x"),
            format!("https://edge.example:{secure}//evil.example/x"),
        ),
        (request("POST", "/a").body("secret"), format!("https://edge.example:{secure}/a")),
        (request("HEAD", "/a"), format!("https://edge.example:{secure}/a")),
        (request("OPTIONS", "/a"), format!("https://edge.example:{secure}/a")),
        (
            request("GET", "/a").header("X-API-Key", "foo"),
            format!("https://edge.example:{secure}/a"),
        ),
        (
            request("GET", "/a").header("X-Forwarded-Proto", "https"),
            format!("https://edge.example:{secure}/a"),
        ),
        (request("GET", "/a").http2(), format!("https://edge.example:{secure}/a")),
    ] {
        let answer = request.clone().send();
        assert_eq!(
            (answer.status, answer.field("location")),
            (301, Some(&*expected)),
            "{request:?}"
        );
        assert_eq!(answer.body, b"");
        assert_eq!(answer.field("cache-control"), Some("no-store"));
    }
    for bad in [request("GET", "/").host("a b"), request("GET", "/").host("user@edge.example")] {
        assert_eq!(bad.send().status, 400);
    }
    assert_eq!(request("TRACE", "/").send().status, 405);
    assert_eq!(upstream.count(), 0);
    assert!(becomes_true(Duration::from_secs(10), || listening
        .edge
        .log()
        .contains("reason=force_https")));
}

#[test]
fn a_port_as_clients_see_it_and_what_a_trusted_proxy_saw() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).proxy("trusted_proxies = [\"127.0.0.1\"]").start();
    assert_eq!(edge.get("/api/x").send().status, 200);
    let force = |port: &str| {
        edge.rewrite(|text| {
            let text: String = text
                .lines()
                .filter(|line| !line.starts_with("force_https"))
                .map(|line| format!("{line}\n"))
                .collect();
            text.replacen(
                "[network.public.http]\n",
                &format!("[network.public.http]\nforce_https = {port}\n"),
                1,
            )
        });
        let answer = edge.steer("POST", "/admin/reload").send();
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    for (port, expected) in
        [("8443", "https://h:8443/api/x"), ("443", "https://h/api/x"), ("true", "https://h/api/x")]
    {
        force(port);
        let answer = edge.get("/api/x").host("h").send();
        assert_eq!((answer.status, answer.field("location")), (301, Some(expected)), "{port}");
    }
    let by_proxy =
        |proto: &str| edge.get("/api/x").header("X-Forwarded-Proto", proto).send().status;
    assert_eq!(
        ["https", "HTTPS", "wss", "http", "ws", "http, https"].map(by_proxy),
        [200, 200, 200, 301, 301, 301]
    );
}
