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
            http.host.as_str(),
            http.port,
            http.head_timeout.as_secs(),
            http.credential.is_some()
        ),
        ("127.0.0.1", 8888, 60, true)
    );
    assert_eq!(config.notes.len(), 1, "{:#?}", config.notes);
    let note = &config.notes[0];
    assert!(!note.warning);
    for ignored in [
        "storage",
        "services",
        "middleware_types",
        "peers",
        "policies",
        "rules",
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
            "[middleware.t]\ntype = \"transform\"\n[middleware.t.options]\nspec_path = \"x.json\"\n",
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
