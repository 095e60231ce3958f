//! `[proxy]`, `[network]`, `[logging]`, and every default.

use super::*;

#[test]
fn defaults() {
    let config = ok(&format!("{BASE}[runbeam]\nenabled = true\n"));
    assert_eq!(config.id, "edge-1");
    assert!(config.threads > 0);
    assert_eq!(config.grace, Duration::from_secs(15));
    assert_eq!(config.max_upstream_connections, None);
    assert_eq!(config.token_cache_bytes, 64 * 1024 * 1024);
    assert_eq!(
        config.state_dir.as_deref(),
        Some(Path::new("/home/h/.runbeam/edge-1"))
    );
    assert_eq!(
        config.networks[0].bind,
        Bind::Tcp(([127, 0, 0, 1], 18080).into())
    );
    let management = config.management.unwrap();
    assert_eq!(
        (management.base_path.as_str(), &*management.network),
        ("/admin", "management")
    );
    let runbeam = config.runbeam.unwrap();
    assert_eq!(runbeam.cloud_api_base_url, "https://api.runbeam.cloud");
    assert_eq!(runbeam.poll_interval, Some(Duration::from_secs(30)));
    assert_eq!(runbeam.renew_before, Duration::from_secs(5 * 86_400));
    assert!(
        runbeam.report_status && runbeam.apply_changes && runbeam.token_store == TokenStore::Auto
    );
    assert_eq!(
        (
            config.logging.level.as_str(),
            config.logging.format,
            config.logging.file
        ),
        ("info", LogFormat::Text, None)
    );
    assert!(config.notes.is_empty(), "{:?}", config.notes);
    assert_eq!(config.files, [Path::new("conf/h.toml")]);
}

#[test]
fn what_is_written_counts() {
    let text = r#"
[proxy]
name = "edge_2"
threads = 3
trusted_proxies = ["10.0.0.0/8", "::1"]
grace_secs = 0
max_upstream_connections = 3
token_cache_mb = "${NONE:-1}"
resolve_secs = 7
forwarded = true
state_dir = "state"
log_level = "harmony=debug,warn"
required_env_vars = ["HOME"]
[network.a.tcp_config]
bind_port = 1
[network.b.http]
bind_address = "unix:/run/x.sock"
[network.c.http]
bind_address = "[::1]"
bind_port = 2
[management]
enabled = true
base_path = "/ops/admin/"
network = "b"
hosts = ["Edge.Internal"]
[runbeam]
enabled = "${NONE:-true}"
cloud_api_base_url = "http://localhost:9/api/"
api_base_urls = ["https://b.example/"]
poll_interval_secs = 0
token_store = "memory"
renew_before_days = 1
report_status = false
apply_changes = false
[logging]
format = "json"
log_to_file = true
"#;
    let config = ok(text);
    assert_eq!(
        (config.id.as_str(), config.threads, config.grace),
        ("edge_2", 3, Duration::ZERO)
    );
    assert_eq!(config.max_upstream_connections, Some(3));
    assert_eq!(config.resolve_interval, Some(Duration::from_secs(7)));
    assert!(config.forwarded);
    assert_eq!(config.trusted_proxies.len(), 2);
    assert_eq!(config.token_cache_bytes, 1024 * 1024);
    assert_eq!(config.state_dir.as_deref(), Some(Path::new("conf/state")));
    assert_eq!(config.logging.level, "harmony=debug,warn");
    assert_eq!(
        config.logging.file.as_deref(),
        Some(Path::new("conf/harmony.log"))
    );
    assert_eq!(
        config
            .networks
            .iter()
            .map(|network| &*network.name)
            .collect::<Vec<_>>(),
        ["a", "b", "c"]
    );
    assert_eq!(config.networks[0].bind, Bind::Tcp(([0, 0, 0, 0], 1).into()));
    assert_eq!(config.networks[1].bind, Bind::Unix("/run/x.sock".into()));
    let management = config.management.unwrap();
    assert_eq!(
        (management.base_path.as_str(), management.hosts),
        ("/ops/admin", vec!["edge.internal".to_owned()])
    );
    let runbeam = config.runbeam.unwrap();
    assert_eq!(runbeam.cloud_api_base_url, "http://localhost:9/api");
    assert_eq!(runbeam.api_base_urls, ["https://b.example"]);
    assert_eq!(
        (
            runbeam.poll_interval,
            runbeam.token_store,
            runbeam.report_status,
            runbeam.apply_changes
        ),
        (None, TokenStore::Memory, false, false)
    );
}

#[test]
fn proxy_refusals() {
    let proxy = |keys: &str| errors(&BASE.replace("id = \"edge-1\"", keys));
    for (keys, want) in [
        ("", "1: proxy.id: is missing"),
        ("id = \"a/b\"", "2: proxy.id: must be letters"),
        ("name = \"My Edge\"", "2: proxy.name: must be letters"),
        ("id = 3", "2: proxy.id: expected a string, found an integer"),
        (
            "id = \"a\"\nthreads = -1",
            "3: proxy.threads: must be from 0 to 1024",
        ),
        (
            "id = \"a\"\nthreads = 99999999999999999999",
            "3: proxy.threads: must be from 0 to 1024",
        ),
        (
            "id = \"a\"\nthreads = \"${EMPTY:-many}\"",
            "3: proxy.threads: expected an integer, found something else",
        ),
        (
            "id = \"a\"\nthreads = \"4\"",
            "3: proxy.threads: expected an integer, found a string",
        ),
        (
            "id = \"a\"\ntrusted_proxies = [\"10.0.0.0/8\", \"10.0.0.0/99\"]",
            "3: proxy.trusted_proxies: \"10.0.0.0/99\" is not an address range",
        ),
        (
            "id = \"a\"\nrequired_env_vars = [\"HOME\", \"EMPTY\"]",
            "3: proxy.required_env_vars: environment variable EMPTY is not set",
        ),
        (
            "id = \"a\"\ngrace_sec = 3",
            "3: proxy.grace_sec: unknown key \"grace_sec\"; did you mean \"grace_secs\"?",
        ),
        (
            "id = \"a\"\nprimary_provider = \"rumbeam\"",
            "3: proxy.primary_provider: unknown provider \"rumbeam\"; did you mean \"runbeam\"?",
        ),
        (
            "id = \"a\"\npipelines_path = \"nowhere\"",
            "3: proxy.pipelines_path: the directory cannot be read: ",
        ),
        (
            "id = \"a\"\nlog_level = \"inof\"",
            "3: proxy.log_level: must be a level, or target=level separated by commas; did you \
             mean \"info\"?",
        ),
    ] {
        let lines = proxy(keys);
        assert!(
            lines.len() == 1 && lines[0].starts_with(want),
            "{keys}: {lines:#?}"
        );
    }
    assert!(
        errors("[network.a.http]\nbind_port = 1\n")[0].contains("proxy: is missing; add [proxy]")
    );
    assert!(
        errors("[proxy]\nid = \"a\"\n")[0]
            .contains("network: is missing; add [network.public.http]")
    );
}

#[test]
fn network_refusals() {
    for (text, want) in [
        (
            "[network.x]\nenable_wireguard = false\n",
            "12: network.x.http: is missing",
        ),
        (
            "[network.x.http]\nbind_address = \"::\"\n",
            "12: network.x.http.bind_port: is missing",
        ),
        (
            "[network.x.http]\nbind_address = \"example.com\"\nbind_port = 1\n",
            "13: network.x.http.bind_address: must be an IP address",
        ),
        (
            "[network.x.http]\nbind_address = \"unix:x.sock\"\n",
            "13: network.x.http.bind_address: must be an absolute path",
        ),
        (
            "[network.x.http]\nbind_address = \"127.0.0.1\"\nbind_port = 18080\n",
            "12: network.x: binds to the same address as network \"public\"",
        ),
        (
            "[network.x.http]\nbind_port = 18080\n",
            "12: network.x: binds to the same address as network \"public\"",
        ),
        (
            "[network.x]\nenable_wireguard = true\nhttp = { bind_port = 1 }\n",
            "13: network.x.enable_wireguard: WireGuard (enable_wireguard) is not something",
        ),
        (
            "[network.x]\nhttp = { bind_port = 1 }\nhttp3 = { bind_port = 2 }\n",
            "14: network.x.http3: HTTP/3 is not something",
        ),
        (
            "[network.x]\nhttp = { bind_port = 1 }\ntcp_config = { bind_port = 2 }\n",
            "14: network.x.tcp_config: `http` is defined twice: also at ",
        ),
    ] {
        refused(text, want);
    }
    ok(&format!(
        "{BASE}[network.x.http]\nbind_port = 1\nforce_https = false\n"
    ));
}

#[test]
fn logging_refusals() {
    for (keys, want) in [
        (
            "log_level = \"harmony=loud\"",
            "logging.log_level: must be a level",
        ),
        (
            "format = \"xml\"",
            "logging.format: unknown log format \"xml\"",
        ),
        (
            "log_to_file = 1",
            "logging.log_to_file: expected a boolean, found an integer",
        ),
    ] {
        refused(&format!("[logging]\n{keys}\n"), want);
    }
    let both = BASE.replace("id = \"edge-1\"", "id = \"edge-1\"\nlog_level = \"debug\"");
    ok(&format!("{both}[logging]\nlog_level = \"debug\"\n"));
    one_error(
        &format!("{both}[logging]\nlog_level = \"info\"\n"),
        "`log_level` is defined twice: also at 3",
    );
}

#[test]
fn everybody_trusted_is_a_warning() {
    let config = ok(&BASE.replace(
        "id = \"edge-1\"",
        "id = \"edge-1\"\ntrusted_proxies = [\"0.0.0.0/0\"]",
    ));
    assert_eq!(
        warnings(&config),
        ["conf/h.toml:3: proxy.trusted_proxies: every peer's X-Forwarded-* is believed"]
    );
}

#[test]
fn a_missing_file_is_one_error() {
    let errors = load(Path::new("/nowhere/h.toml"), &env(&[])).unwrap_err();
    assert!(
        errors
            .to_string()
            .starts_with("/nowhere/h.toml: the file cannot be read: "),
        "{errors}"
    );
    assert_eq!(errors.len(), 1);
}

#[test]
fn the_state_directory_of_systemd() {
    let parsed = |pairs: &[(&str, &str)]| {
        parse(Path::new("h.toml"), BASE, &env(pairs))
            .unwrap()
            .state_dir
    };
    assert_eq!(
        parsed(&[("STATE_DIRECTORY", "/var/lib/a:/var/lib/b"), ("HOME", "/h")]),
        Some("/var/lib/a".into())
    );
    assert_eq!(parsed(&[("HOME", "/h")]), Some("/h/.runbeam/edge-1".into()));
    assert_eq!(parsed(&[]), None);
    let name: Arc<str> = "management".into();
    assert_eq!(
        parse(Path::new("h.toml"), BASE, &env(&[]))
            .unwrap()
            .management
            .unwrap()
            .network,
        name
    );
}
