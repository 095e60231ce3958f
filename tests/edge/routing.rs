//! Where a request belongs, and what path the upstream sees.

use crate::support::ports::Port;
use crate::support::request::Request;
use crate::support::settings::Route;
use crate::support::{Edge, Issuer, Settings, Upstream};

/// Each route leads to a path of its own, so that the target tells which one was taken.
fn route(upstream: &Upstream, name: &str, endpoint: &str) -> Route {
    Route::to_url(name, &format!("http://127.0.0.1:{}/{name}", upstream.port())).endpoint(endpoint)
}

fn edge_with(routes: &[Route]) -> Edge {
    Edge::configured(
        routes.iter().fold(Settings::bare(), |settings, route| settings.and(&route.text())),
    )
    .start()
}

#[test]
fn the_best_match_wins() {
    let upstream = Upstream::start();
    let edge = edge_with(&[
        route(&upstream, "rest", "path_prefix = \"/\""),
        route(&upstream, "a", "path_prefix = \"/a\""),
        route(&upstream, "ab", "path_prefix = \"/a/b\""),
        route(
            &upstream,
            "hosted",
            "path_prefix = \"/\"\nhosts = [\"One.example\", \"two.example\"]",
        ),
        route(&upstream, "hosted-a", "path_prefix = \"/a\"\nhosts = [\"one.example\"]"),
        route(&upstream, "partly", "path_prefix = \"/only\"\nhosts = [\"three.example\"]"),
    ]);
    let rows = [
        ("any.example", "/", "/rest/"),
        ("any.example", "/x", "/rest/x"),
        ("any.example", "/a", "/a"),
        ("any.example", "/a/", "/a/"),
        ("any.example", "/a/x", "/a/x"),
        ("any.example", "/ax", "/rest/ax"),
        ("any.example", "/a-b", "/rest/a-b"),
        ("any.example", "/x/A", "/rest/x/A"),
        ("any.example", "/a/b", "/ab"),
        ("any.example", "/a/b/c", "/ab/c"),
        ("any.example", "/a/bc", "/a/bc"),
        ("one.example", "/x", "/hosted/x"),
        ("ONE.EXAMPLE", "/x", "/hosted/x"),
        ("one.example:8443", "/x", "/hosted/x"),
        ("one.example.", "/x", "/hosted/x"),
        ("two.example", "/a/b/x", "/hosted/a/b/x"),
        ("one.example", "/a/b/x", "/hosted-a/b/x"),
        ("sub.one.example", "/x", "/rest/x"),
        ("three.example", "/only/x", "/partly/x"),
        ("three.example", "/other", "/rest/other"),
    ];
    for (host, path, target) in rows {
        for http2 in [false, true] {
            upstream.clear();
            let request = edge.get(path).host(host);
            assert_eq!(
                if http2 { request.http2() } else { request }.send().status,
                200,
                "{host}{path}"
            );
            assert_eq!(upstream.only().target(), target, "{host}{path} (HTTP/2: {http2})");
        }
    }
}

#[test]
fn a_wildcard_takes_the_hosts_below_its_name() {
    let upstream = Upstream::start();
    let edge = edge_with(&[
        route(&upstream, "below", "hosts = [\"*.Example.com\"]"),
        route(&upstream, "deep", "hosts = [\"*.deep.example.com\"]"),
        route(&upstream, "exact", "hosts = [\"exact.example.com\"]"),
        route(&upstream, "partly", "path_prefix = \"/only\"\nhosts = [\"part.example.com\"]"),
    ]);
    for (host, target) in [
        ("a.example.com", Some("/below/x")),
        ("A.B.example.COM:8443", Some("/below/x")),
        ("a.example.com.", Some("/below/x")),
        ("x.deep.example.com", Some("/deep/x")),
        ("deep.example.com", Some("/below/x")),
        ("exact.example.com", Some("/exact/x")),
        ("x.exact.example.com", Some("/below/x")),
        ("part.example.com", Some("/below/x")),
        ("example.com", None),
        (".example.com", None),
        ("a..example.com", None),
        ("aexample.com", None),
        ("a.example.com.evil.example", None),
        ("*.example.org", None),
    ] {
        for http2 in [false, true] {
            upstream.clear();
            let request = edge.get("/x").host(host);
            let status = match if http2 { request.http2() } else { request }.try_send_either() {
                Some(response) => response.status,
                // What no library sends.
                None => continue,
            };
            let seen = upstream.requests().first().map(|request| request.target().to_owned());
            assert_eq!(seen.as_deref(), target, "{host} (HTTP/2: {http2}): {status}");
            assert_eq!(status == 200, target.is_some(), "{host} (HTTP/2: {http2}): {status}");
        }
    }
    // A path that folds to a prefix of a better host is refused there, too.
    assert_eq!(edge.get("/ONLY/x").host("part.example.com").send().status, 400);
    assert_eq!(edge.get("/ONLY/x").host("a.example.com").send().status, 200);
}

#[test]
fn methods_tell_routes_of_one_place_apart() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let step = format!(
        "[middleware.jwt]\ntype = \"jwt-auth\"\nconfig = {{ jwks_url = \"{}\", issuer = \
         \"https://auth.example.com\", audience = \"harmony-api\" }}",
        issuer.url()
    );
    let edge = Edge::configured(
        Settings::bare()
            .and(
                &route(&upstream, "read", "path_prefix = \"/x\"\nmethods = [\"GET\", \"HEAD\"]")
                    .text(),
            )
            .and(
                &route(&upstream, "write", "path_prefix = \"/x\"\nmethods = [\"POST\"]")
                    .steps(&["jwt"])
                    .text(),
            )
            .and(
                &route(
                    &upstream,
                    "locked",
                    "path_prefix = \"/locked\"\nmethods = [\"GET\", \"PUT\"]",
                )
                .steps(&["jwt"])
                .text(),
            )
            .and(&step),
    )
    .start();
    let token = issuer.token().sign();
    let target = |request: Request| {
        upstream.clear();
        assert_eq!(request.send().status, 200);
        upstream.only().target().to_owned()
    };
    assert_eq!(target(edge.get("/x/1")), "/read/1");
    assert_eq!(target(edge.request("HEAD", "/x/1")), "/read/1");
    assert_eq!(target(edge.post("/x/1", "").bearer(&token)), "/write/1");
    assert_eq!(edge.post("/x/1", "").send().status, 401, "the route of that method has a step");

    upstream.clear();
    assert_eq!(
        edge.request("DELETE", "/locked/1").send().status,
        401,
        "another method: first of all a token"
    );
    let refused = edge.request("DELETE", "/locked/1").bearer(&token).send();
    assert_eq!(refused.status, 405);
    assert_eq!(allowed(refused.field("allow")), ["GET", "PUT"]);
    assert_eq!(refused.json()["error"], "Method Not Allowed");
    let refused = edge.request("DELETE", "/x/1").bearer(&token).send();
    assert_eq!(
        (refused.status, allowed(refused.field("allow"))),
        (405, ["GET", "HEAD", "POST"].map(str::to_owned).to_vec())
    );
    assert_eq!(upstream.count(), 0);
}

#[test]
fn preflights_have_a_pipeline_of_their_own_at_the_same_place() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let preflight =
        route(&upstream, "preflight", "path_prefix = \"/api\"\nmethods = [\"OPTIONS\"]");
    let root = route(&upstream, "root", "path_prefix = \"/\"\nmethods = [\"OPTIONS\"]");
    let rest = route(&upstream, "rest", "path_prefix = \"/\"");
    // One before the pipeline that it stands beside, one behind it.
    let builder = Edge::with_jwt(&issuer, &upstream);
    let edge = builder.and(&(root.text() + &rest.text() + &preflight.text())).start();
    let token = issuer.token().sign();
    for http2 in [false, true] {
        let send = |request: Request| {
            upstream.clear();
            let status = if http2 { request.http2() } else { request }.send().status;
            (status, upstream.requests().first().map(|request| request.target().to_owned()))
        };
        let passed = |target: &str| (200, Some(target.to_owned()));
        assert_eq!(send(edge.request("OPTIONS", "/api/x")), passed("/preflight/x"));
        assert_eq!(send(edge.request("OPTIONS", "/y")), passed("/root/y"));
        assert_eq!(send(edge.get("/y")), passed("/rest/y"));
        for method in ["GET", "POST", "DELETE", "PATCH", "PURGE"] {
            assert_eq!(send(edge.request(method, "/api/x")), (401, None), "{method}");
            let request = edge.request(method, "/api/x").bearer(&token);
            assert_eq!(send(request), passed("/x"), "{method}");
        }
    }
}

fn allowed(allow: Option<&str>) -> Vec<String> {
    let mut methods: Vec<String> =
        allow.unwrap_or_default().split(',').map(|method| method.trim().to_owned()).collect();
    methods.sort();
    methods
}

#[test]
fn what_nobody_serves_is_404_in_json() {
    let upstream = Upstream::start();
    let edge = edge_with(&[
        route(&upstream, "a", "path_prefix = \"/a\""),
        route(&upstream, "h", "path_prefix = \"/\"\nhosts = [\"h.example\"]"),
    ]);
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/ax"),
        ("POST", "/b"),
        ("OPTIONS", "/b"),
        ("HEAD", "/b"),
        ("GET", "/A"),
    ] {
        for http2 in [false, true] {
            let request = edge.request(method, path);
            let response = if http2 { request.http2() } else { request }.send();
            assert_eq!(response.status, 404, "{method} {path}");
            assert_eq!(response.field("cache-control"), Some("no-store"), "{method} {path}");
            if method != "HEAD" {
                assert_eq!(response.json()["error"], "Not Found", "{method} {path}");
            }
        }
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn a_pipeline_belongs_to_its_networks() {
    let upstream = Upstream::start();
    let second = Port::claim();
    let network =
        format!("[network.inner.http]\nbind_address = \"127.0.0.1\"\nbind_port = {second}\n");
    let edge = Edge::configured(
        Settings::bare()
            .and(&network)
            .and(&route(&upstream, "outer", "path_prefix = \"/x\"").text())
            .and(&route(&upstream, "inner", "path_prefix = \"/x\"").networks(&["inner"]).text())
            .and(
                &route(&upstream, "secret", "path_prefix = \"/secret\"")
                    .networks(&["inner"])
                    .text(),
            )
            .and(
                &route(&upstream, "both", "path_prefix = \"/both\"")
                    .networks(&["public", "inner"])
                    .text(),
            ),
    )
    .start();
    let (outer, inner) = (edge.port(), second.number());
    for (port, path, target) in [
        (outer, "/x/1", Some("/outer/1")),
        (inner, "/x/1", Some("/inner/1")),
        (inner, "/secret/1", Some("/secret/1")),
        (outer, "/secret/1", None),
        (outer, "/both/1", Some("/both/1")),
        (inner, "/both/1", Some("/both/1")),
    ] {
        upstream.clear();
        let status = Request::new(port, "GET", path).send().status;
        let seen = upstream.requests().first().map(|request| request.target().to_owned());
        assert_eq!(
            (status, seen.as_deref()),
            (if target.is_some() { 200 } else { 404 }, target),
            "{path} at port {port}"
        );
    }
    assert_eq!(edge.manage("/x/1").send().status, 404, "no pipeline on the management network");
}

#[test]
fn the_upstream_sees_its_own_path_and_what_follows_the_prefix() {
    let upstream = Upstream::start();
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", upstream.port());
    let rows = [
        ("/api", "/base", "/api/x/y?q=1", "/base/x/y?q=1"),
        ("/api", "/base", "/api", "/base"),
        ("/api", "/base", "/api/", "/base/"),
        ("/api", "/base", "/api?q", "/base?q"),
        ("/api", "/base/", "/api/x", "/base/x"),
        ("/api", "/deep/base", "/api/x/", "/deep/base/x/"),
        ("/api", "", "/api/x", "/x"),
        ("/api", "", "/api", "/"),
        ("/api", "", "/api/", "/"),
        ("/api", "/", "/api/x", "/x"),
        ("/api/v1", "/v2", "/api/v1/x", "/v2/x"),
        ("/", "/base", "/x", "/base/x"),
        ("/", "", "/", "/"),
        ("", "", "/x", "/x"),
        // The query goes on byte for byte, whatever it holds.
        ("/api", "/base", "/api/x?", "/base/x?"),
        ("/api", "/base", "/api/x??", "/base/x??"),
        (
            "/api",
            "/base",
            "/api/x?a=%2F..//../%zz%00&b=+&&=;'()*",
            "/base/x?a=%2F..//../%zz%00&b=+&&=;'()*",
        ),
        ("/api", "/base", "/api/x?[]{}|^`\\~", "/base/x?[]{}|^`\\~"),
        ("/api", "/base", "/api/x?u=http://h/api?x", "/base/x?u=http://h/api?x"),
    ];
    for (prefix, base, target, forwarded) in rows {
        upstream.clear();
        let edge = Edge::configured(
            Settings::bare().and(&Route::to_url("r", &url(base)).prefix(prefix).text()),
        )
        .start();
        assert_eq!(edge.get(target).send().status, 200, "{target}");
        assert_eq!(upstream.only().target(), forwarded, "{prefix} to {base}: {target}");
    }
}

#[test]
fn the_prefix_of_a_backend_stands_before_what_follows() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).backend("path_prefix = \"/v2\"").start();
    edge.get("/api/x?y").send();
    assert_eq!(upstream.only().target(), "/v2/x?y");
}
