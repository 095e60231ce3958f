//! What a pipeline publishes of itself (RFC 9728), and how challenges point at it.

use serde_json::json;

use crate::support::settings::Route;
use crate::support::{Edge, Issuer, Program, Settings, Upstream};
use crate::tls::Listening;

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

fn resource(name: &str, identifier: &str) -> String {
    format!(
        "[pipelines.{name}.resource]\nidentifier = \"{identifier}\"\n\
         authorization_servers = [\"https://auth.example.com\"]\n"
    )
}

#[test]
fn the_document_is_for_everybody_and_says_what_the_steps_take() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let resource = resource("api", "https://api.example.com/orders")
        + "scopes_supported = [\"read\", \"write\"]\n\
           documentation = \"https://docs.example.com/\"\n";
    let edge = Edge::with_jwt(&issuer, &upstream).jwt("dpop = \"require\"").and(&resource).start();
    let path = format!("{WELL_KNOWN}/orders");
    for host in ["api.example.com", "anything"] {
        for http2 in [false, true] {
            let request = edge.get(&path).host(host);
            let response = if http2 { request.http2() } else { request }.send();
            assert_eq!(response.status, 200);
            assert_eq!(response.head.field("content-type"), Some("application/json"));
            assert_eq!(response.head.field("access-control-allow-origin"), Some("*"));
            let expected = json!({
                "resource": "https://api.example.com/orders",
                "authorization_servers": ["https://auth.example.com"],
                "scopes_supported": ["read", "write"],
                "resource_documentation": "https://docs.example.com/",
                "bearer_methods_supported": ["header"],
                "dpop_signing_alg_values_supported": ["ES256", "EdDSA", "RS256"],
                "dpop_bound_access_tokens_required": true,
                "tls_client_certificate_bound_access_tokens": false,
            });
            assert_eq!(response.json(), expected);
        }
    }
    assert_eq!(edge.request("HEAD", &path).send().status, 200);
    let preflight = |method: &str| {
        let request = edge.request("OPTIONS", &path).header("Origin", "https://app.example");
        request.header("Access-Control-Request-Method", method).send()
    };
    let allowed = preflight("GET");
    assert_eq!(allowed.status, 204);
    for (name, value) in [("origin", "*"), ("methods", "GET, HEAD"), ("headers", "*")] {
        let name = format!("access-control-allow-{name}");
        assert_eq!(allowed.head.field(&name), Some(value), "{name}");
    }
    assert_eq!(preflight("POST").status, 405);
    assert_eq!(edge.request("OPTIONS", &path).send().status, 405);
    let post = edge.post(&path, "x").send();
    assert_eq!((post.status, post.head.field("allow")), (405, Some("GET, HEAD")));
    for other in
        [WELL_KNOWN.to_owned(), format!("{path}/x"), format!("{path}/"), path.to_uppercase()]
    {
        assert_eq!(edge.get(&other).send().status, 404, "{other}");
    }
    assert_eq!(edge.get("/.well-known//oauth-protected-resource/%6frders").send().status, 200);
    assert_eq!(upstream.count(), 0);
}

#[test]
fn a_step_in_shadow_does_not_show() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let step = |name: &str, lines: &str| {
        format!(
            "[middleware.{name}]\ntype = \"jwt-auth\"\n{lines}\njwks_url = \"{}\"\n\
             issuer = \"https://auth.example.com\"\naudience = \"a\"\n",
            issuer.url()
        )
    };
    let tables = step("strict", "enforce = false\ndpop = \"require\"")
        + &step("query", "enforce = false\ntoken_query = \"access_token\"")
        + &step("jwt", "")
        + &resource("api", "https://api.example.com/orders");
    let route = Route::to("api", &upstream).prefix("/api").steps(&["strict", "query", "jwt"]);
    let edge = Edge::configured(Settings::bare().and(&route.text()).and(&tables)).start();
    let document = edge.get(&format!("{WELL_KNOWN}/orders")).send().json();
    assert_eq!(document["bearer_methods_supported"], json!(["header"]));
    assert_eq!(document["dpop_bound_access_tokens_required"], json!(null), "{document}");
}

#[test]
fn challenges_point_at_it_and_name_what_is_missing() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let identifier = "https://api.example.com/orders";
    let edge = Edge::with_jwt(&issuer, &upstream)
        .jwt("required_scopes = [\"read\", \"orders:write\"]")
        .and(&resource("api", identifier))
        .start();
    let metadata = format!("resource_metadata=\"https://api.example.com{WELL_KNOWN}/orders\"");
    let got = |token: Option<&str>, host: &str| {
        let request = edge.get("/api/x").host(host);
        let response = match token {
            Some(token) => request.bearer(token).send(),
            None => request.send(),
        };
        (response.status, response.fields("www-authenticate").join("|"))
    };
    let realm = "Bearer realm=\"harmony\"";
    for host in ["a", "evil.example"] {
        assert_eq!(got(None, host), (401, format!("{realm}, {metadata}")));
        let invalid = format!("{realm}, error=\"invalid_token\", {metadata}");
        assert_eq!(got(Some("a.b.c"), host), (401, invalid));
    }
    let token = issuer.token().claim("scope", "read").sign();
    let missing =
        format!("{realm}, error=\"insufficient_scope\", scope=\"read orders:write\", {metadata}");
    assert_eq!(got(Some(&token), "a"), (403, missing));
    let token = issuer.token().claim("scope", "orders:write read").sign();
    assert_eq!(got(Some(&token), "a").0, 200);
}

#[test]
fn several_resources_have_places_of_their_own() {
    let upstream = Upstream::start();
    let routes = [
        Route::to("one", &upstream).prefix("/one").endpoint("hosts = [\"one.example\"]"),
        Route::to("two", &upstream).prefix("/two").endpoint("hosts = [\"two.example\"]"),
        Route::to("root", &upstream).prefix("/root"),
    ];
    let tables: String = routes.iter().map(Route::text).collect();
    let resources = resource("one", "https://one.example/x")
        + &resource("two", "https://two.example/x")
        + &resource("root", "https://root.example");
    let edge = Edge::configured(Settings::bare().and(&tables).and(&resources)).start();
    for (host, path, expected) in [
        ("one.example", "/x", Some("https://one.example/x")),
        ("two.example", "/x", Some("https://two.example/x")),
        ("three.example", "/x", None),
        ("three.example", "", Some("https://root.example")),
        ("one.example", "", Some("https://root.example")),
    ] {
        let response = edge.get(&format!("{WELL_KNOWN}{path}")).host(host).send();
        let found = (response.status == 200).then(|| response.json()["resource"].clone());
        assert_eq!(found, expected.map(Into::into), "{host} {path}");
    }
}

#[test]
fn a_network_that_asks_for_certificates_says_so() {
    let listening = Listening::with()
        .network("client_certificate = \"request\"")
        .pipeline("middleware = [\"jwt\"]")
        .and(
            "[middleware.jwt]\ntype = \"jwt-auth\"\nalgorithm = \"HS256\"\n\
              secret = \"0123456789abcdef0123456789abcdef\"\nissuer = \"i\"\naudience = \"a\"\n",
        )
        .and(&resource("secure", "https://localhost/s"))
        .start();
    let response = listening.offer().get(listening.port(), &format!("{WELL_KNOWN}/s")).unwrap();
    let document = response.json();
    assert_eq!(document["tls_client_certificate_bound_access_tokens"], true, "{document}");
}

#[test]
fn check_tells_what_contradicts() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let check = |settings: Settings, other: &str| {
        let text = settings.text().replace("{port}", "18080").replace("{mport}", "19090");
        let text = text.replacen("bind_address = \"127.0.0.1\"", other, 1);
        let checked = Program::with(&["--check", "-c", "harmony.toml"]);
        let run = checked.file("harmony.toml", &text).run();
        run.stdout + &run.stderr
    };
    let here = "bind_address = \"127.0.0.1\"";
    let settings = || Settings::with_jwt(&issuer, &upstream);
    for (settings, bind, expected) in [
        (
            settings().and(&resource("api", "https://api.example.com/orders")),
            here,
            "its identifier \"https://api.example.com/orders\" is no audience of step \"jwt\"",
        ),
        (
            settings().jwt("dpop = \"require\""),
            "bind_address = \"0.0.0.0\"",
            "step \"jwt\" has dpop = \"require\" on network \"public\", which is not encrypted",
        ),
        (
            settings().jwt("dpop = \"require\""),
            here,
            "step \"jwt\" has dpop = \"require\" on network \"public\", which is not encrypted",
        ),
        (
            settings().jwt("dpop_nonce = true"),
            here,
            "has no effect: dpop is \"off\", which is the default",
        ),
    ] {
        let said = check(settings, bind);
        assert!(said.contains(expected), "{expected}\n{said}");
    }
    // A proxy on the same machine may end TLS.
    let behind = settings().jwt("dpop = \"require\"").proxy("trusted_proxies = [\"127.0.0.1\"]");
    let said = check(behind, here);
    assert!(!said.contains("not encrypted"), "{said}");
}
