//! The spellings that load: tables and arrays, the older names, the pipelines directory, and what
//! is read and ignored.

use super::{GOOD, with};
use crate::support::settings::Route;
use crate::support::{Edge, Issuer, Program, Settings, Upstream};

/// A pipeline without steps of its own, for the chain that the array form makes.
const CHAINLESS: &str = "[proxy]\nid = \"edge-1\"\n[network.public.http]\n\
                         bind_address = \"127.0.0.1\"\nbind_port = 18080\n[pipelines.p]\n\
                         networks = [\"public\"]\nendpoints = [\"e\"]\nbackends = [\"b\"]\n\
                         [endpoints.e]\nservice = \"http\"\noptions = { path_prefix = \"/\" }\n\
                         [backends.b]\nservice = \"echo\"\n";

#[test]
fn the_published_snippets_load() {
    let rs256 = "[[middleware]]\ntype = \"jwt-auth\"\nconfig = {\n  algorithm = \"RS256\",\n  \
                 jwks_url = \"https://auth.example.com/.well-known/jwks.json\",\n  issuer = \
                 \"https://auth.example.com\",\n  audience = \"harmony-api\"\n}\n";
    let hs256 = "[[middleware]]\ntype = \"jwt-auth\"\nconfig = {\n  algorithm = \"HS256\",\n  \
                 secret = \"${JWT_SECRET}\",  # Use environment variable\n  issuer = \
                 \"harmony\",\n  audience = \"api\"\n}\n";
    Program::check(&format!("{CHAINLESS}{rs256}")).run().assert_ok("RS256");
    Program::check(&format!("{CHAINLESS}{hs256}"))
        .env("JWT_SECRET", "0123456789abcdef0123456789abcdef")
        .run()
        .assert_ok("HS256");
}

#[test]
fn names_have_their_older_spellings() {
    let rows = [
        ("\"jwt-auth\"", "\"jwt_auth\""),
        ("\"jwt-auth\"", "\"jwtauth\""),
        ("jwks_url", "jwks_uri"),
        (
            "issuer = \"https://auth.example.com\"",
            "issuer = [\"https://auth.example.com\", \"https://other.example.com\"]",
        ),
        (
            "issuer = \"https://auth.example.com\"",
            "trusted_issuers = [\"https://auth.example.com\"]",
        ),
        ("audience = \"harmony-api\"", "audience = [\"harmony-api\", \"other\"]"),
        ("audience = \"harmony-api\"", "audience = \"harmony-api\", leeway_seconds = 30"),
        ("algorithm = \"RS256\"", "algorithms = [\"RS256\"]"),
        ("base_url", "url"),
        ("[network.public.http]", "[network.public.tcp_config]"),
        ("id = \"edge-1\"", "name = \"edge-1\""),
        ("base_path = \"admin\"", "base_path = \"/admin/\""),
        ("middleware = [\"jwt\"]", "middleware = { left = [\"jwt\"], right = [] }"),
        ("config = {", "options = {"),
    ];
    for (piece, other) in rows {
        Program::check(&with(piece, other)).run().assert_ok(other);
    }
}

#[test]
fn what_an_edge_has_no_use_for_is_read_and_ignored() {
    let tables = "[storage]\nbackend = \"filesystem\"\noptions = { path = \"./data\" }\n\
                  [services.http]\nmodule = \"\"\n[middleware_types.jwt]\nmodule = \"\"\n\
                  [peers.p]\nx = 1\n";
    Program::check(&format!("{GOOD}\n{tables}")).run().assert_ok("tables of the public language");
    Program::check(&with(
        "id = \"edge-1\"",
        "id = \"edge-1\"\ntransforms_path = \"t\"\nmesh_path = \"m\"\nstore_dir = \"/tmp\"",
    ))
    .run()
    .assert_ok("keys of [proxy]");
}

#[test]
fn the_array_form_is_the_chain_of_every_pipeline_that_names_none() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let array = format!(
        "[[middleware]]\ntype = \"jwt-auth\"\nconfig = {{ jwks_url = \"{}\", issuer = \
         \"https://auth.example.com\", audience = \"harmony-api\" }}\n",
        issuer.url()
    );
    let text = Route::to("one", &upstream).prefix("/one").text().replace("middleware = []\n", "");
    let edge = Edge::configured(Settings::bare().and(&text).and(&array)).start();
    assert_eq!(edge.get("/one/x").send().status, 401);
    assert_eq!(edge.get("/one/x").bearer(&issuer.token().sign()).send().status, 200);
}

#[test]
fn pipelines_come_from_a_directory_too() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let more = Route::to("more", &upstream).prefix("/more").steps(&["jwt"]).text();
    let edge = Edge::with_jwt(&issuer, &upstream)
        .proxy("pipelines_path = \"pipelines\"")
        .file("pipelines/more.toml", &more)
        .file("pipelines/ignored.txt", "not TOML [")
        .start();
    assert_eq!(edge.get("/more/x").send().status, 401);
    assert_eq!(edge.get("/more/x").bearer(&issuer.token().sign()).send().text(), "/x");
}

#[test]
fn authentications_and_targets_mean_what_the_public_language_says() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let tables = format!(
        "[pipelines.p]\nnetworks = [\"public\"]\nendpoints = [\"e\"]\nbackends = [\"b\"]\n\
         middleware = [\"m\"]\n\
         [endpoints.e]\nservice = \"http\"\noptions = {{ path_prefix = \"/t\" }}\n\
         [middleware.m]\ntype = \"jwt-auth\"\nauthentication = \"authentications.in\"\n\
         [authentications.in]\nmethod = \"jwt\"\n\
         options = {{ jwks_url = \"{}\", issuer = \"https://auth.example.com\", audience = \
         \"harmony-api\" }}\n\
         [targets.t]\nconnection = {{ host = \"127.0.0.1\", port = {}, protocol = \"http\", \
         base_path = \"/base\" }}\ntimeout_secs = 5\nmax_retries = 0\n\
         [backends.b]\nservice = \"http\"\ntarget_ref = \"t\"\n",
        issuer.url(),
        upstream.port()
    );
    let edge = Edge::configured(Settings::bare().and(&tables)).start();
    assert_eq!(edge.get("/t/x").send().status, 401);
    assert_eq!(edge.get("/t/x").bearer(&issuer.token().sign()).send().text(), "/base/x");
}

#[test]
fn an_echo_answers_with_the_request_and_without_its_credentials() {
    let issuer = Issuer::start();
    let step = format!(
        "[middleware.jwt]\ntype = \"jwt-auth\"\nconfig = {{ jwks_url = \"{}\", issuer = \
         \"https://auth.example.com\", audience = \"harmony-api\" }}\n",
        issuer.url()
    );
    let backend = "[pipelines.p]\nnetworks = [\"public\"]\nendpoints = [\"e\"]\n\
                   middleware = [\"jwt\"]\nbackends = [\"b\"]\n[endpoints.e]\nservice = \"http\"\n\
                   options = { path_prefix = \"/echo\" }\n[backends.b]\nservice = \"echo\"\n";
    let endpoint = "[pipelines.q]\nnetworks = [\"public\"]\nendpoints = [\"f\"]\n\
                    middleware = [\"jwt\"]\n[endpoints.f]\nservice = \"echo\"\n\
                    options = { path_prefix = \"/self\" }\n";
    let edge = Edge::configured(Settings::bare().and(backend).and(endpoint).and(&step)).start();
    let token = issuer.token().sign();
    for path in ["/echo/x?y=1", "/self/x?y=1"] {
        assert_eq!(edge.get(path).send().status, 401, "{path}");
        let response = edge
            .get(path)
            .bearer(&token)
            .header("Cookie", "session=secret-of-the-client")
            .header("X-Seen", "yes")
            .send();
        assert_eq!(response.status, 200, "{path}");
        let text = response.text();
        response.json();
        assert!(text.contains("alice") && text.contains("yes"), "{path}: {text}");
        assert!(!text.contains(&token), "{path}: the token is left out");
        assert!(!text.contains("secret-of-the-client"), "{path}: cookies are left out");
    }
}
