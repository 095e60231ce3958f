//! `[tracing]`: where spans go.

use super::*;

#[test]
fn the_receiver_is_named_by_its_base() {
    for (endpoint, url) in [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        (
            "https://otel.example/x/",
            "https://otel.example/x/v1/traces",
        ),
    ] {
        let text = format!("{BASE}{PIPELINE}[tracing]\nendpoint = \"{endpoint}\"\n");
        let tracing = ok(&text).tracing.expect("tracing");
        assert_eq!(tracing.url, url);
        assert_eq!(
            (tracing.sample_ratio, &*tracing.service_name),
            (1.0, "harmony-edge")
        );
    }
}

#[test]
fn tracing_refusals() {
    let url = "endpoint = \"http://127.0.0.1:4318\"\n";
    for (lines, want) in [
        (String::new(), "tracing.endpoint: is missing"),
        (
            "endpoint = \"http://127.0.0.1:4318/v1/traces\"".to_owned(),
            "tracing.endpoint: must not end in /v1/traces, which is added",
        ),
        (
            "endpoint = \"http://127.0.0.1:4318/?key=x\"".to_owned(),
            "tracing.endpoint: must not have a query",
        ),
        (
            "endpoint = \"otel:4318\"".to_owned(),
            "tracing.endpoint: must begin with",
        ),
        (
            format!("{url}sample_ratio = 1.1"),
            "tracing.sample_ratio: must be from 0 to 1",
        ),
        (
            format!("{url}service_name = \"\""),
            "tracing.service_name: is empty",
        ),
        (format!("{url}enabled = true"), "unknown key \"enabled\""),
    ] {
        one_error(&format!("{BASE}{PIPELINE}[tracing]\n{lines}\n"), want);
    }
}

#[test]
fn the_port_of_grpc_is_warned_of() {
    let config = ok(&format!(
        "{BASE}{PIPELINE}[tracing]\nendpoint = \"http://127.0.0.1:4317\"\n"
    ));
    assert!(warnings(&config)[0].contains("4317 is the usual port of OTLP over gRPC"));
    let directory = format!("{BASE}{PIPELINE}[audit]\npath = \"/tmp\"\n");
    one_error(&directory, "audit.path: is a directory; name a file in it");
}
