//! One live gateway over changing files.

mod cloud;

use std::collections::BTreeMap;

use super::*;

const TEXT: &str = r#"
    [proxy]
    id = "t"
    [network.public.http]
    bind_address = "127.0.0.1"
    bind_port = 8080
    [pipelines.one]
    networks = ["public"]
    endpoints = ["one"]
    [endpoints.one]
    service = "echo"
    options = { path_prefix = "/one" }
"#;

fn source(text: &str) -> Source {
    Source::text("t.toml", text).with_environment(BTreeMap::<String, String>::new())
}

fn live() -> Live {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Live::start(source(TEXT), Shared::new(None).unwrap()).unwrap()
}

#[test]
fn a_change_is_put_in_service_and_told_apart() {
    let live = live();
    let before = live.gateway();
    assert_eq!(live.reload_from(source(TEXT)).unwrap(), Reload::Unchanged);
    assert!(Arc::ptr_eq(&before, &live.gateway()));
    let text = TEXT.replace("/one", "/other")
        + "[pipelines.two]\nnetworks = [\"public\"]\nendpoints = [\"two\"]\n[endpoints.two]\n\
           service = \"echo\"\n";
    let Reload::Reloaded(diff) = live.reload_from(source(&text)).unwrap() else {
        panic!("unchanged");
    };
    assert_eq!(
        (diff.added, diff.changed),
        (vec!["two".to_owned()], vec!["one".to_owned()])
    );
    assert_eq!(live.status().generation, 2);
    assert!(!Arc::ptr_eq(&before, &live.gateway()));
}

#[test]
fn an_error_changes_nothing_and_is_kept() {
    let live = live();
    let before = live.gateway();
    assert!(
        live.reload_from(source(&TEXT.replace("echo", "dicom")))
            .is_err()
    );
    let status = live.status();
    assert!(
        status
            .last_error
            .is_some_and(|error| error.contains("dicom"))
    );
    assert_eq!(status.generation, 1);
    assert!(Arc::ptr_eq(&before, &live.gateway()));
    assert_eq!(live.reload_from(source(TEXT)).unwrap(), Reload::Unchanged);
    assert_eq!(live.status().last_error, None);
}

#[test]
fn the_token_cache_is_as_large_as_the_configuration_says() {
    let live = live();
    let limit = || live.auth().token_cache().limit;
    assert_eq!(limit(), 64 << 20);
    for (mebibytes, bytes) in [(2, 2 << 20), (0, 0)] {
        let line = format!("id = \"t\"\ntoken_cache_mb = {mebibytes}");
        let text = TEXT.replace("id = \"t\"", &line);
        live.reload_from(source(&text)).unwrap();
        assert_eq!(limit(), bytes);
    }
}

#[test]
fn a_listener_needs_a_restart() {
    let live = live();
    let text = TEXT.replace("8080", "8081").replace("/one", "/other");
    let error = live.reload_from(source(&text)).unwrap_err().to_string();
    assert!(
        error.starts_with("restart required: network.public changed; nothing was applied; "),
        "{error}"
    );
    assert!(error.contains("--upgrade"), "{error}");
}
