//! Several upstreams of a backend, how they share its load, and how their health is told.

use super::backends::{backend, http_backend};
use super::*;

/// A backend that has everything else it needs.
fn with(keys: &str) -> String {
    http_backend(&format!("base_url = \"http://h\"\n{keys}"))
}

#[test]
fn the_sample_of_the_documentation() {
    let got = backend(&http_backend(
        r#"options = {
            upstreams = [{ url = "http://10.0.0.5:3000", weight = 2 }, "http://10.0.0.6:3000"],
            balance = "least_conn",
            health_check = { path = "/healthz", interval_secs = 5, timeout_secs = 1, unhealthy_after = 3, healthy_after = 2 },
        }"#,
    ));
    let places: Vec<_> = got
        .upstreams
        .iter()
        .map(|upstream| (upstream.origin(), upstream.weight))
        .collect();
    assert_eq!(
        places,
        [
            ("http://10.0.0.5:3000".to_owned(), 2),
            ("http://10.0.0.6:3000".to_owned(), 1)
        ]
    );
    assert_eq!(got.balance, Some(Balance::LeastConn));
    let check = got.health_check.unwrap();
    assert_eq!(
        (
            check.interval.as_secs(),
            check.timeout.as_secs(),
            check.unhealthy_after,
            check.healthy_after
        ),
        (5, 1, 3, 2)
    );
    let CheckKind::Http {
        path,
        host: None,
        send_credential: false,
    } = check.kind
    else {
        panic!("{check:?}");
    };
    assert_eq!(path, "/healthz");
}

#[test]
fn what_is_not_said() {
    let got = backend(&with(""));
    assert_eq!((got.upstreams.len(), got.upstreams[0].weight), (1, 1));
    assert!(got.balance.is_none() && got.health_check.is_none());
    assert_eq!((got.ejection.after, got.ejection.time.as_secs()), (3, 10));
    let check = backend(&with("health_check = {}")).health_check.unwrap();
    assert_eq!(
        (
            check.interval.as_secs(),
            check.timeout.as_secs(),
            check.unhealthy_after,
            check.healthy_after
        ),
        (10, 2, 3, 2)
    );
    assert!(matches!(check.kind, CheckKind::Http { path, .. } if path == "/"));
    let check = backend(&with("health_check = { type = \"tcp\" }")).health_check;
    assert_eq!(check.map(|check| check.kind), Some(CheckKind::Tcp));
    let pipeline = &ok(&with("")).pipelines[0];
    assert_eq!(pipeline.balance(), Balance::RoundRobin);
}

#[test]
fn upstreams_have_paths_and_schemes_of_their_own() {
    let got = backend(&http_backend(
        "path_prefix = \"/c\"\nupstreams = [\"https://A.example/b/\", { base_url = \
         \"http://[::1]:81\" }]",
    ));
    let shown: Vec<_> = got
        .upstreams
        .iter()
        .map(|upstream| {
            format!(
                "{} {} {}",
                upstream.origin(),
                upstream.base_path,
                upstream.tls
            )
        })
        .collect();
    assert_eq!(
        shown,
        ["https://a.example /b/c true", "http://[::1]:81 /c false"]
    );
}

#[test]
fn http_versions() {
    use HttpVersion::{Auto, Http1, Http2};
    let target = "[targets.t]\nbase_url = \"http://t\"\nhttp_version = \"2\"\n";
    for (keys, want) in [
        ("base_url = \"http://h\"", &[Auto][..]),
        ("base_url = \"http://h\"\nhttp_version = \"auto\"", &[Auto]),
        (
            "options = { base_url = \"http://h\", http_version = \"1.1\" }",
            &[Http1],
        ),
        ("base_url = \"http://h\"\nhttp_version = \"2\"", &[Http2]),
        ("target_ref = \"t\"", &[Http2]),
        ("target_ref = \"t\"\nhttp_version = \"1.1\"", &[Http1]),
        ("target_ref = \"t\"\nbase_url = \"http://own\"", &[Http2]),
        (
            "http_version = \"2\"\nupstreams = [\"http://a\", { url = \"http://b\", http_version = \
             \"1.1\" }, { url = \"https://c\", http_version = \"auto\" }]",
            &[Http2, Http1, Auto],
        ),
    ] {
        let got = backend(&http_backend(&format!("{keys}\n{target}")));
        let versions: Vec<_> = got.upstreams.iter().map(|it| it.http_version).collect();
        assert_eq!(versions, want, "{keys}");
    }
    one_error(
        &http_backend("upstreams = [{ url = \"http://a\", http_version = \"3\" }]"),
        "upstreams[0].http_version: must be",
    );
}

#[test]
fn a_check_by_grpc_needs_http2_of_each_upstream() {
    let check = "health_check = { type = \"grpc\", service = \"a.v1.B\" }\n";
    for keys in [
        "base_url = \"http://h\"\nhttp_version = \"2\"",
        "base_url = \"https://h\"",
        "upstreams = [\"https://a\", { url = \"http://b\", http_version = \"2\" }]",
    ] {
        let got = backend(&http_backend(&format!("{keys}\n{check}"))).health_check;
        let service = "a.v1.B".to_owned();
        assert_eq!(
            got.map(|check| check.kind),
            Some(CheckKind::Grpc { service })
        );
    }
    for keys in [
        "base_url = \"https://h\"\nhttp_version = \"1.1\"",
        "upstreams = [\"https://a\", \"http://b\"]",
    ] {
        one_error(
            &http_backend(&format!("{keys}\n{check}")),
            "health_check: a check of type \"grpc\" needs HTTP/2",
        );
    }
}

#[test]
fn ways_to_share() {
    let balance = |keys: &str| backend(&with(keys)).balance.unwrap();
    assert_eq!(balance("balance = \"round_robin\""), Balance::RoundRobin);
    let address = Balance::Consistent(ConsistentBy::Address);
    assert_eq!(balance("balance = \"consistent\""), address);
    assert_eq!(
        balance("balance = \"consistent\"\nconsistent_by = \"address\""),
        address
    );
    assert_eq!(
        balance("balance = \"consistent\"\nconsistent_by = { header = \"X-Tenant\" }"),
        Balance::Consistent(ConsistentBy::Header("x-tenant".parse().unwrap()))
    );
}

#[test]
fn refusals() {
    for (keys, want) in [
        (
            "upstreams = [\"http://a\"]",
            "upstreams: is given beside another address; keep upstreams, or base_url",
        ),
        (
            "balance = \"random\"",
            "balance: unknown balance \"random\"",
        ),
        ("balance = \"round-robin\"", "did you mean \"round_robin\"?"),
        (
            "balance = 1",
            "balance: expected a string, found an integer",
        ),
        (
            "balance = \"least_conn\"\nconsistent_by = \"address\"",
            "consistent_by: has no use without balance = \"consistent\"",
        ),
        (
            "consistent_by = { header = \"X\" }",
            "consistent_by: has no use without balance = \"consistent\"",
        ),
        (
            "balance = \"consistent\"\nconsistent_by = \"adress\"",
            "consistent_by: must be \"address\" or { header = NAME }",
        ),
        (
            "balance = \"consistent\"\nconsistent_by = {}",
            "consistent_by.header: is missing",
        ),
        (
            "balance = \"consistent\"\nconsistent_by = { header = \"X Y\" }",
            "consistent_by.header: is not a header name",
        ),
        (
            "balance = \"consistent\"\nconsistent_by = { header = \"X\", cookie = \"y\" }",
            "consistent_by.cookie: unknown key",
        ),
        ("eject_after = 1001", "eject_after: must be from 0 to 1000"),
        ("eject_secs = 0", "eject_secs: must be from 1 to 3600"),
        ("eject_sec = 1", "did you mean \"eject_secs\"?"),
        (
            "health_check = true",
            "health_check: expected a table, found a boolean",
        ),
        (
            "health_check = { type = \"ping\" }",
            "health_check.type: unknown type of health check \"ping\"",
        ),
        (
            "health_check = { path = \"healthz\" }",
            "health_check.path: is not a path",
        ),
        (
            "health_check = { path = \"/a b\" }",
            "health_check.path: is not a path",
        ),
        (
            "health_check = { path = \"/#a\" }",
            "health_check.path: is not a path",
        ),
        (
            "health_check = { host = \"a b\" }",
            "health_check.host: is not a host",
        ),
        (
            "health_check = { host = \"u@h\" }",
            "health_check.host: is not a host",
        ),
        (
            "health_check = { type = \"tcp\", path = \"/\" }",
            "health_check.path: has no use in a check of type \"tcp\"",
        ),
        (
            "health_check = { type = \"tcp\", host = \"h\" }",
            "health_check.host: has no use in a check of type \"tcp\"",
        ),
        (
            "health_check = { type = \"tcp\", service = \"s\" }",
            "health_check.service: has no use in a check of type \"tcp\"",
        ),
        (
            "health_check = { service = \"s\" }",
            "health_check.service: has no use in a check of type \"http\"; remove it, or use type \
             = \"grpc\"",
        ),
        (
            "http_version = \"2\"\nhealth_check = { type = \"grpc\", path = \"/\" }",
            "health_check.path: has no use in a check of type \"grpc\"",
        ),
        (
            "http_version = \"2\"\nhealth_check = { type = \"grpc\", service = \"a\\nb\" }",
            "health_check.service: is not the name of a gRPC service",
        ),
        (
            "health_check = { type = \"grpc\" }",
            "health_check: a check of type \"grpc\" needs HTTP/2",
        ),
        (
            "http_version = \"h2\"",
            "http_version: must be \"auto\", \"1.1\" or \"2\"",
        ),
        (
            "http_version = 2",
            "http_version: expected a string, found an integer",
        ),
        (
            "health_check = { type = \"tcp\", send_credential = true }",
            "health_check.send_credential: has no use",
        ),
        (
            "health_check = { send_credential = true }",
            "health_check: send_credential = true, and the backend has no credential",
        ),
        (
            "health_check = { interval_sec = 5 }",
            "did you mean \"interval_secs\"?",
        ),
        (
            "health_check = { interval_secs = 0 }",
            "health_check.interval_secs: must be from 1 to 3600",
        ),
        (
            "health_check = { timeout_secs = 61 }",
            "health_check.timeout_secs: must be from 1 to 60",
        ),
        (
            "health_check = { unhealthy_after = 0 }",
            "health_check.unhealthy_after: must be from 1 to 100",
        ),
        (
            "health_check = { healthy_after = 101 }",
            "health_check.healthy_after: must be from 1 to 100",
        ),
    ] {
        one_error(&with(keys), want);
    }
}

#[test]
fn refusals_of_upstreams() {
    let many = format!(
        "upstreams = [{}]",
        (1..=65)
            .map(|port| format!("\"http://h:{port}\""))
            .collect::<Vec<_>>()
            .join(", ")
    );
    for (keys, want) in [
        ("upstreams = []", "upstreams: is empty; name at least one"),
        (
            "upstreams = \"http://a\"",
            "upstreams: expected an array, found a string",
        ),
        ("upstreams = [1]", "expected a string, found an integer"),
        (
            "upstreams = [\"a:80\"]",
            "upstreams: must begin with \"https://\" or \"http://\"",
        ),
        (
            "upstreams = [\"http://a/?b\"]",
            "upstreams: must not have a query",
        ),
        (
            "upstreams = [{ weight = 1 }]",
            "upstreams[0].url: is missing",
        ),
        (
            "upstreams = [{ url = \"http://a\", wait = 1 }]",
            "upstreams[0].wait: unknown key \"wait\"",
        ),
        (
            "upstreams = [{ url = \"http://a\", weight = 0 }]",
            "upstreams[0].weight: must be from 1 to 100",
        ),
        (
            "upstreams = [\"http://a\", { url = \"http://A:80/x\" }]",
            "upstreams[1]: names a host and a port that stand in the list already",
        ),
        (
            "upstreams = [\"http://a\"]\nconnection.host = \"b\"",
            "upstreams: is given beside another address",
        ),
        (
            "upstreams = [\"http://a\"]\ntarget_ref = \"t\"\n[targets.t]\nconnection.host = \"b\"",
            "upstreams: is given beside another address",
        ),
        (
            "upstreams = [\"http://a\"]\nca_cert_path = \"Cargo.toml\"",
            "ca_cert_path",
        ),
        (
            many.as_str(),
            "upstreams: must not have more than 64 of them",
        ),
    ] {
        one_error(&http_backend(keys), want);
    }
    let target = "upstreams = [\"http://a\"]\ntarget_ref = \"t\"\n[targets.t]\ntimeout_secs = 7\n";
    assert_eq!(
        backend(&http_backend(target)).head_timeout.as_secs(),
        7,
        "what else the target says counts"
    );
}

#[test]
fn backends_of_one_pipeline_agree() {
    let two = |first: &str, second: &str| {
        http_backend(&format!(
            "base_url = \"http://h\"\n{first}\n[backends.c]\nservice = \"http\"\n\
             base_url = \"http://i\"\n{second}\n"
        ))
        .replace("backends = [\"b\"]", "backends = [\"b\", \"c\"]")
    };
    let (least, consistent) = ("balance = \"least_conn\"", "balance = \"consistent\"");
    let by = "balance = \"consistent\"\nconsistent_by = { header = \"X\" }";
    for (first, second, want) in [
        ("", "", Balance::RoundRobin),
        ("", least, Balance::LeastConn),
        (least, "", Balance::LeastConn),
        (least, least, Balance::LeastConn),
    ] {
        assert_eq!(ok(&two(first, second)).pipelines[0].balance(), want);
    }
    for (first, second) in [
        (least, consistent),
        (consistent, by),
        ("balance = \"round_robin\"", least),
    ] {
        one_error(
            &two(first, second),
            "pipelines.p.backends: backends \"b\" and \"c\" differ in `balance`",
        );
    }
}

#[test]
fn a_credential_travels_with_checks_only_when_told_to() {
    let text = http_backend(
        "upstreams = [\"https://a\", \"https://b\"]\nauthentication = \"authentications.x\"\n\
         health_check = { send_credential = true, host = \"app:81\" }\n[authentications.x]\n\
         method = \"bearer\"\ntoken = \"t\"\n",
    );
    let CheckKind::Http {
        send_credential,
        host,
        ..
    } = backend(&text).health_check.unwrap().kind
    else {
        panic!("tcp");
    };
    assert!(send_credential && host.as_deref() == Some("app:81"));
    let plain = text.replace("https://b", "http://b");
    assert_eq!(
        warnings(&ok(&plain)).len(),
        1,
        "one of them is enough for the warning"
    );
}

#[test]
fn an_echo_has_no_use_for_any_of_it() {
    let text = format!(
        "{BASE}{PIPELINE}upstreams = 1\nbalance = 2\nconsistent_by = 3\nhealth_check = 4\n\
         eject_after = 5\neject_secs = 6\n"
    );
    ok(&text);
}
