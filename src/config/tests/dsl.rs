//! Files of the public Harmony DSL, as its users have them.

use super::*;

const MAIN: &str = r#"
[proxy]
name = "http-external"
log_level = "debug"
pipelines_path = "pipelines"
transforms_path = "transforms"
primary_provider = "local"
jwks_cache_duration_hours = 24

[proxy.content_limits]
max_body_size = 1048576
max_csv_rows = 10000

[provider.runbeam]
api = "https://api.runbeam.cloud"
poll_interval_secs = 30

[network.http_net]
enable_wireguard = false
interface = "wg0"

[network.http_net.http]
bind_address = "127.0.0.1"
bind_port = 8080

[logging]
log_to_file = true
log_file_path = "./tmp/harmony.log"

[storage]
backend = "filesystem"

[storage.options]
path = "./tmp"
secret_access_key = "${NOT_SET_AND_NOT_NEEDED}"

[services.http]
module = ""

[middleware_types.passthru]
module = ""

[peers.partner]
connection.host = "partner.example"
protocol = "https"

[targets.local_server]
connection.host = "127.0.0.1"
connection.port = 8888
connection.protocol = "http"
timeout_secs = 60

[authentications.token]
id = "token"
method = "bearer"
[authentications.token.options]
token = "abc123"
"#;

const PIPELINE: &str = r#"
[pipelines.http_proxy]
description = "HTTP proxy to external backend service with access control"
networks = ["http_net"]
endpoints = ["proxy_endpoint"]
middleware = [
    "jwt_auth",
    "passthru",
]
backends = ["external_api"]

[services.http]
module = ""

[middleware.jwt_auth]
type = "jwt_auth"
jwks_uri = "https://auth.example.com/.well-known/jwks.json"
issuer = "https://auth.example.com/"
audience = "soap-api"
leeway_secs = 60

[endpoints.proxy_endpoint]
service = "http"
peer_ref = "partner"
[endpoints.proxy_endpoint.options]
path_prefix = "/"

[backends.external_api]
service = "http"
target_ref = "local_server"
authentication = "authentications.token"
[backends.external_api.options]

[policies.unused]
id = "unused"
rules = ["r"]
[rules.r]
type = "allow_all"
"#;

#[test]
fn they_load_with_one_note_for_what_is_ignored() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("pipelines")).unwrap();
    std::fs::write(dir.path().join("config.toml"), MAIN).unwrap();
    std::fs::write(dir.path().join("pipelines/http.toml"), PIPELINE).unwrap();
    std::fs::write(dir.path().join("pipelines/README.md"), "not TOML").unwrap();
    let config = load(&dir.path().join("config.toml"), &env(&[]))
        .unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(
        (config.id.as_str(), config.logging.level.as_str()),
        ("http-external", "debug")
    );
    assert!(config.runbeam.is_none() && config.management.is_none());
    assert_eq!(
        config.logging.file,
        Some(dir.path().join("./tmp/harmony.log"))
    );
    let pipeline = &config.pipelines[0];
    assert_eq!(
        (pipeline.steps.len(), pipeline.endpoints[0].max_body_size),
        (2, 1_048_576)
    );
    let BackendTarget::Http(http) = &pipeline.backends[0].target else {
        panic!()
    };
    assert_eq!(
        (
            http.upstreams[0].host.as_str(),
            http.upstreams[0].port,
            http.head_timeout.as_secs(),
            http.credential.is_some()
        ),
        ("127.0.0.1", 8888, 60, true)
    );
    let mut unused = warnings(&config);
    unused.retain(|note| !note.contains("every user of this machine can read it"));
    assert!(
        matches!(&*unused, [line] if line.contains("policies.unused: no step uses this policy")),
        "{unused:#?}"
    );
    let mut infos = config.notes.iter().filter(|note| !note.warning);
    let note = infos.next().unwrap();
    assert_eq!(infos.next(), None);
    for ignored in [
        "storage",
        "services",
        "middleware_types",
        "peers",
        "proxy.transforms_path",
        "proxy.content_limits.max_csv_rows",
        "network.http_net.interface",
        "endpoints.proxy_endpoint.peer_ref",
        "authentications.token.id",
    ] {
        assert!(note.text.contains(ignored), "{ignored}: {}", note.text);
    }
    assert_eq!(
        config.files,
        [
            dir.path().join("config.toml"),
            dir.path().join("pipelines/http.toml")
        ]
    );
}

#[test]
fn what_an_edge_has_not_is_named_used_or_not() {
    for (text, want) in [
        (
            "[middleware.t]\ntype = \"transform\"\n[middleware.t.options]\n\
             spec_path = \"x.json\"\n",
            "13: middleware.t.type: the step \"transform\"",
        ),
        (
            "[endpoints.d]\nservice = \"dicom_scp\"\n[endpoints.d.options]\nlocal_aet = \"X\"\n",
            "13: endpoints.d.service: the service \"dicom_scp\"",
        ),
        (
            "[backends.s]\nservice = \"storage\"\n[backends.s.options]\nroot = \"x\"\n",
            "13: backends.s.service: the service \"storage\"",
        ),
        (
            "[mesh.m]\ntype = \"http\"\n",
            "12: mesh: the table \"mesh\"",
        ),
    ] {
        refused(text, want);
    }
}

/// What the public examples that are HTTP only have in common: policies by name, a target, an empty
/// table of options.
const EXAMPLE: &str = r#"
[pipelines.p]
networks = ["http_net"]
endpoints = ["in"]
middleware = ["access", "passthru"]
backends = ["out"]
[middleware.access]
type = "policies"
[middleware.access.options]
policies = ["security"]
[middleware.passthru]
type = "passthru"
[policies.security]
id = "security"
name = "Security"
enabled = true
rules = ["inside", "no_admin", "rate_limit", "method_filter"]
[rules.inside]
id = "inside"
name = "Inside only"
type = "ip_allow"
weight = 90
enabled = true
[rules.inside.options]
ip_addresses = ["10.0.0.0/8", "127.0.0.1/32"]
[rules.no_admin]
type = "path"
weight = 95
[rules.no_admin.options]
paths = ["/admin/{*path}", "/internal/{*path}"]
mode = "deny"
[rules.rate_limit]
type = "rate_limit"
weight = 50
[rules.rate_limit.options]
max_requests = 100
window_seconds = 60
[rules.method_filter]
type = "method"
weight = 80
[rules.method_filter.options]
mode = "allow"
methods = ["GET", "POST", "PUT", "DELETE"]
[endpoints.in]
service = "http"
[endpoints.in.options]
path_prefix = "/"
[backends.out]
service = "http"
target_ref = "local_server"
[backends.out.options]
"#;

/// The main file without a directory of pipelines, and this beside it.
fn whole(text: &str) -> String {
    MAIN.replace("pipelines_path = \"pipelines\"\n", "") + text
}

#[test]
fn policies_of_the_examples() {
    let config = ok(&whole(EXAMPLE));
    let StepKind::Policies(settings) = &config.pipelines[0].steps[0].kind else {
        panic!()
    };
    let order: Vec<&str> = settings.policies[0]
        .rules
        .iter()
        .map(|rule| &*rule.name)
        .collect();
    assert_eq!(order, ["no_admin", "inside", "method_filter", "rate_limit"]);
    let open = EXAMPLE.replace(
        "rules = [\"inside\", \"no_admin\", \"rate_limit\", \"method_filter\"]",
        "rules = [\"all\"]",
    ) + "[rules.all]\nid = \"all\"\ntype = \"allow_all\"\n[rules.all.options]\n";
    let config = ok(&whole(&open));
    let mut found = warnings(&config);
    found.retain(|note| !note.contains("no policy uses") && !note.contains("nothing refers to"));
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_rule_that_nothing_defines_is_told_of() {
    // one of the public examples has two
    let text = EXAMPLE.replace("rules.no_admin", "rules.other");
    let config = ok(&whole(&text));
    let warnings = warnings(&config);
    assert!(
        warnings[0].contains("policies.security.rules: rule \"no_admin\" is defined nowhere"),
        "{warnings:?}"
    );
    for (list, want) in [
        (
            "\"inside\", \"rate_limi\"",
            "unknown rule \"rate_limi\"; did you mean \"rate_limit\"?",
        ),
        ("\"nothing_like_it\"", "unknown rule \"nothing_like_it\""),
    ] {
        let text = EXAMPLE.replace(
            "rules = [\"inside\", \"no_admin\", \"rate_limit\", \"method_filter\"]",
            &format!("rules = [{list}]"),
        );
        one_error(&whole(&text), want);
    }
}

#[test]
fn the_example_with_everything_is_refused_for_its_json_steps_alone() {
    let more = EXAMPLE.replace(
        "middleware = [\"access\", \"passthru\"]",
        "middleware = [\"access\", \"filter\", \"dump\", \"json_extractor\", \"change\"]",
    ) + r#"
[middleware.filter]
type = "path_filter"
[middleware.filter.options]
rules = [
    { allow = "/api/{*path}" },
    { allow = "/health" },
    { deny = "/{*rest}" }
]
[middleware.dump]
type = "log_dump"
[middleware.dump.options]
label = "incoming"
pretty = true
"#;
    let json = "[middleware.json_extractor]\ntype = \"json_extractor\"\n[middleware.change]\n\
                type = \"transform\"\n[middleware.change.options]\nspec_path = \"x.json\"\n";
    let lines = errors(&whole(&format!("{more}{json}")));
    assert_eq!(lines.len(), 2, "{lines:#?}");
    for (line, step) in lines.iter().zip(["json_extractor", "transform"]) {
        assert!(
            line.contains(&format!("the step {step:?} is not something")),
            "{line}"
        );
    }
    let without = more.replace(", \"json_extractor\", \"change\"", "");
    assert_eq!(ok(&whole(&without)).pipelines[0].steps.len(), 3);
}
