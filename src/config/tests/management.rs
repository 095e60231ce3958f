//! `[management]`, `[runbeam]`, `[provider]`.

use super::*;

#[test]
fn management_must_be_protected() {
    let open = BASE.replace(
        "127.0.0.1\"\nbind_port = 19090",
        "0.0.0.0\"\nbind_port = 19090",
    );
    let lines = errors(&open);
    assert!(
        lines.len() == 1
            && lines[0].starts_with(
                "6: network.management: network \"management\" carries the Management API"
            ),
        "{lines:?}"
    );
    let hash = "ab".repeat(32);
    for hash in [hash.clone(), format!("sha256:{}", hash.to_uppercase())] {
        let config = ok(&format!("{open}token_hash = \"{hash}\"\n"));
        assert_eq!(config.management.unwrap().token_hash, Some([0xab; 32]));
    }
    let config = ok(&format!("{open}allow_from = [\"10.0.0.0/8\"]\n"));
    assert_eq!(
        warnings(&config),
        [
            "conf/h.toml:12: management.allow_from: the Management API can be called from \
             10.0.0.0/8 without a credential: it can replace the configuration"
        ]
    );
    assert_eq!(errors(&format!("{open}allow_from = []\n")).len(), 1);
    ok(&open.replace("enabled = true", "enabled = false"));
    ok(&format!("{BASE}hosts = []\nallow_from = []\n"));
}

#[test]
fn management_refusals() {
    for (keys, want) in [
        (
            "base_path = \"/\"\n",
            "12: management.base_path: must name a path",
        ),
        (
            "base_path = \"a//b\"\n",
            "12: management.base_path: must not contain an empty segment",
        ),
        (
            "token_hash = \"plain\"\n",
            "12: management.token_hash: must be a SHA-256 in 64 hexadecimal digits; make it with \
             `harmony-edge hash-key`",
        ),
        (
            "hosts = [\"a:1\"]\n",
            "12: management.hosts: \"a:1\" is not a host name",
        ),
        ("netwrok = \"x\"\n", "did you mean \"network\"?"),
    ] {
        refused(keys, want);
    }
    let lines = errors(&BASE.replace("network = \"management\"\n", ""));
    assert!(
        lines.len() == 1 && lines[0].starts_with("9: management.network: is missing"),
        "{lines:?}"
    );
    let lines = errors(&BASE.replace("network = \"management\"\n", "network = \"managment\"\n"));
    assert!(
        lines.len() == 1
            && lines[0]
                .starts_with("11: management.network: unknown network \"managment\"; did you mean"),
        "{lines:?}"
    );
}

#[test]
fn runbeam_and_provider() {
    for (text, on) in [
        ("", false),
        ("[runbeam]\n", false),
        ("[runbeam]\nenabled = true\n", true),
        ("[provider.runbeam]\napi = \"https://x.example\"\n", true),
        ("[provider.runbeam]\n[runbeam]\nenabled = false\n", false),
    ] {
        assert_eq!(ok(&format!("{BASE}{text}")).runbeam.is_some(), on, "{text}");
    }
    let local = BASE.replace(
        "id = \"edge-1\"",
        "id = \"edge-1\"\nprimary_provider = \"local\"",
    );
    assert!(
        ok(&format!("{local}[provider.runbeam]\n"))
            .runbeam
            .is_none()
    );
    assert!(
        ok(&format!("{local}[runbeam]\nenabled = true\n"))
            .runbeam
            .is_some()
    );
    let provided = ok(&format!(
        "{BASE}[provider.runbeam]\napi = \"https://x.example/\"\npoll_interval_secs = 60\n"
    ))
    .runbeam
    .unwrap();
    assert_eq!(
        (provided.cloud_api_base_url.as_str(), provided.poll_interval),
        ("https://x.example", Some(Duration::from_secs(60)))
    );
    for (keys, want) in [
        (
            "cloud_api_base_url = \"http://x.example\"\n",
            "must be https",
        ),
        (
            "cloud_api_base_url = \"https://x.example?a\"\n",
            "must not have a query",
        ),
        (
            "api_base_urls = [\"x.example\"]\n",
            "runbeam.api_base_urls: must begin with",
        ),
        (
            "poll_interval_secs = 4\n",
            "must be 0, or from 5 to 3600, not 4",
        ),
        ("poll_interval_secs = 3601\n", "must be from 0 to 3600"),
        (
            "token_store = \"disk\"\n",
            "unknown token store \"disk\"; known: \"auto\", \"keyring\", \"file\", \"memory\"",
        ),
        ("enabled = \"yes\"\n", "expected a boolean, found a string"),
    ] {
        refused(&format!("[runbeam]\n{keys}"), want);
    }
}

#[test]
fn whoever_calls_it_has_to_know_its_address_only() {
    let address = |text: &str| {
        let source = Source::text("conf/h.toml", text);
        let source = source.with_environment(env(&[("PORT_NAME", "management")]));
        let found = source.management_address();
        let found = found.map(|found| {
            found.map(|found| format!("{} {:?}", found.base_path, found.network.bind))
        });
        found.map_err(|errors| errors.to_string())
    };
    let there = Ok(Some("/admin Tcp(127.0.0.1:19090)".to_owned()));
    let rest = "[runbeam]\nenabled = true\nnonsense = \"${NOT_HERE}\"\n[pipelines.p]\nx = 1\n\
                [middleware.m]\ntype = \"api-key\"\nkeys = [\"${credential:NOT_HERE}\"]\n";
    assert_eq!(address(&format!("{BASE}{PIPELINE}")), there);
    assert_eq!(address(&format!("{BASE}{rest}")), there);
    let hash = "enabled = true\ntoken_hash = \"${NOT_HERE}\"";
    assert_eq!(address(&BASE.replace("enabled = true", hash)), there);
    let named = BASE.replace("network = \"management\"", "network = \"${PORT_NAME}\"");
    assert_eq!(address(&named), there);
    let path = BASE.replace("enabled = true", "enabled = true\nbase_path = \"/a/b/\"");
    assert_eq!(
        address(&path),
        Ok(Some("/a/b Tcp(127.0.0.1:19090)".to_owned()))
    );
    for off in [
        BASE.replace("enabled = true", ""),
        BASE.split("[management]").next().unwrap().to_owned(),
    ] {
        assert_eq!(address(&off), Ok(None));
    }
    for (wrong, want) in [
        (
            BASE.replace("network = \"management\"", ""),
            "management.network: is missing",
        ),
        (
            BASE.replace("network = \"management\"", "network = \"nosuch\""),
            "management.network: unknown network \"nosuch\"",
        ),
        (
            BASE.replace("19090", "190900"),
            "network.management.http.bind_port",
        ),
        (format!("{BASE}[bad"), "unclosed table"),
    ] {
        let error = address(&wrong).expect_err("an error");
        assert!(error.contains(want), "{want}: {error}");
    }
}
