//! Endpoints that send their clients elsewhere, and prefixes that are added.

use crate::support::settings::Route;
use crate::support::{Edge, Issuer, Program, Settings, Upstream};

fn redirect(name: &str, endpoint: &str) -> String {
    format!(
        "[pipelines.{name}]\nnetworks = [\"public\"]\nendpoints = [\"{name}\"]\n\
         [endpoints.{name}]\nservice = \"redirect\"\noptions = {{ {endpoint} }}\n"
    )
}

#[test]
fn a_redirect_leads_where_it_says() {
    let rows = [
        redirect("old", "path_prefix = \"/old\", to = \"https://new.example{path}\""),
        redirect(
            "host",
            "path_prefix = \"/\", hosts = [\"h.example\", \"*.h.example\"], status = 301, \
             to = \"https://{host}:8443/base{path}\"",
        ),
        redirect("fixed", "path_prefix = \"/fixed\", status = 302, to = \"/somewhere?x=1\""),
        redirect("below", "path_prefix = \"/below\", status = 307, to = \"/new{path}\""),
    ];
    let edge = Edge::configured(Settings::bare().and(&rows.concat())).start();
    for (host, target, expected) in [
        ("a.example", "/old", (308, "https://new.example/old")),
        ("a.example", "/old/a/b?x=1&y", (308, "https://new.example/old/a/b?x=1&y")),
        ("a.example", "/old/a/b?", (308, "https://new.example/old/a/b?")),
        ("a.example", "/x/..//old//%61%20b", (308, "https://new.example/old/a%20b")),
        ("a.example", "/old/?a=é", (308, "https://new.example/old/?a=%C3%A9")),
        ("h.example", "/x", (301, "https://h.example:8443/base/x")),
        (
            "H.Example.:8080",
            "//evil.example/x",
            (301, "https://h.example:8443/base/evil.example/x"),
        ),
        ("A.h.example", "/", (301, "https://a.h.example:8443/base/")),
        ("a.example", "/fixed/x?y", (302, "/somewhere?x=1")),
        ("a.example", "/below/x?y", (307, "/new/below/x?y")),
    ] {
        for (method, body) in [("GET", None), ("HEAD", None), ("POST", Some("body"))] {
            let mut request = edge.request(method, target).host(host);
            if let Some(body) = body {
                request = request.body(body);
            }
            let response = request.send();
            let found = (response.status, response.field("location").unwrap_or_default());
            assert_eq!(found, expected, "{method} {host}{target}");
            assert!(response.body.is_empty() && response.complete, "{method} {host}{target}");
            assert!(response.field("x-request-id").is_some());
        }
    }
    let response = edge.get("/old/x?q").host("a.example").http2().send();
    assert_eq!(response.field("location"), Some("https://new.example/old/x?q"));
    // A host that the endpoint does not name never gets there.
    assert_eq!(edge.get("/x").host("evil.example").send().status, 404);
    let log = edge.log();
    assert!(log.contains("pipeline old: /old/* -> 308 https://new.example{path}"), "{log}");
    assert!(!log.contains("open: anyone"), "{log}");
    let routes = edge.manage("/admin/routes").send().json();
    assert_eq!(routes["routes"][0]["service_type"], "redirect");
}

#[test]
fn a_redirect_has_the_steps_that_it_names_and_no_others() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let chain = format!(
        "[[middleware]]\ntype = \"jwt-auth\"\nname = \"jwt\"\nconfig = {{ jwks_url = \"{}\", \
         issuer = \"https://auth.example.com\", audience = \"harmony-api\", \
         token_query = \"token\" }}\n",
        issuer.url()
    );
    let locked =
        redirect("locked", "path_prefix = \"/locked\", to = \"https://new.example{path}\"")
            .replacen("networks", "middleware = [\"jwt\"]\nnetworks", 1);
    let tables = redirect("old", "path_prefix = \"/old\", to = \"https://new.example{path}\"")
        + &locked
        + &Route::to("app", &upstream).prefix("/app").text().replace("middleware = []\n", "")
        + &chain;
    let edge = Edge::configured(Settings::bare().and(&tables)).start();
    assert_eq!(edge.get("/old/x").send().status, 308);
    assert_eq!(edge.get("/app/x").send().status, 401);
    assert_eq!(edge.get("/locked/x").send().status, 401);
    let token = issuer.token().sign();
    let response = edge.get(&format!("/locked/x?a=1&token={token}")).send();
    // A credential goes nowhere.
    assert_eq!(
        (response.status, response.field("location")),
        (308, Some("https://new.example/locked/x?a=1"))
    );
}

#[test]
fn a_prefix_is_added_behind_the_base_path() {
    let upstream = Upstream::start();
    let base = format!("http://127.0.0.1:{}/base", upstream.port());
    let route = |name: &str, options: &str| {
        Route::to_url(name, &base).prefix(&format!("/{name}")).endpoint(options).text()
    };
    let tables = route("a", "add_prefix = \"/v1\"")
        + &route("b", "add_prefix = \"/v1/x\"\nstrip_prefix = false")
        + &route("c", "strip_prefix = false");
    let edge = Edge::configured(Settings::bare().and(&tables)).start();
    for (target, expected) in [
        ("/a", "/base/v1"),
        ("/a/", "/base/v1/"),
        ("/a/x/y?q=1", "/base/v1/x/y?q=1"),
        ("/b/x?q=1", "/base/v1/x/b/x?q=1"),
        ("/c/y?q=1", "/base/c/y?q=1"),
    ] {
        upstream.clear();
        assert_eq!(edge.get(target).send().status, 200);
        assert_eq!(upstream.only().target(), expected, "{target}");
    }
    let log = edge.log();
    assert!(log.contains("/v1/*"), "{log}");
}

#[test]
fn explain_shows_where_a_redirect_leads_and_what_an_upstream_gets() {
    let app = Route::to_url("app", "http://127.0.0.1:3/base")
        .prefix("/app")
        .endpoint("add_prefix = \"/v1\"\nhosts = [\"*.example.com\"]")
        .text();
    let tables =
        redirect("old", "path_prefix = \"/old\", to = \"https://new.example{path}\"") + &app;
    let text = Settings::bare().and(&tables).text();
    let text = text.replace("{port}", "1").replace("{mport}", "2");
    for (request, expected) in [
        ("GET /old/x?q", "location: https://new.example/old/x?q"),
        ("GET http://a.example.com/app/x", "GET /base/v1/x HTTP/1.1"),
        ("GET http://example.com/app/x", "route     none"),
    ] {
        let ran = Program::with(&["explain", "-c", "harmony.toml", "--request", request])
            .file("harmony.toml", &text)
            .run();
        let told = ran.stdout.replace("Location:", "location:");
        assert!(told.contains(expected), "{request}: {told}\n{}", ran.stderr);
    }
}
