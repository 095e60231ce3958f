//! The loader as a whole: text in, a configuration or error lines out.

mod api_keys;
mod backends;
mod balance;
mod chains;
mod claims;
mod cloud;
mod credentials;
mod discovery;
mod dsl;
mod endpoints;
mod files;
mod introspection;
mod jwt;
mod jwt_issuers;
mod jwt_places;
mod jwt_refusals;
mod management;
mod open;
mod pipelines;
mod policies;
mod rules;
mod sender_bound;
mod shared;
mod steps;
mod syntax;
mod tables;
mod tls;
mod tracing;
mod traffic;
mod upload;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;

/// Two listeners and the Management API, 11 lines.
const BASE: &str = r#"[proxy]
id = "edge-1"
[network.public.http]
bind_address = "127.0.0.1"
bind_port = 18080
[network.management.http]
bind_address = "127.0.0.1"
bind_port = 19090
[management]
enabled = true
network = "management"
"#;

/// A pipeline that is open.
const PIPELINE: &str = r#"
[pipelines.p]
networks = ["public"]
endpoints = ["e"]
middleware = []
backends = ["b"]
[endpoints.e]
service = "http"
[backends.b]
service = "echo"
"#;

/// The same without a word about who may pass.
fn silent_pipeline() -> String {
    PIPELINE.replace("middleware = []\n", "")
}

/// A step that is right.
const JWT: &str = r#"
[middleware.jwt]
type = "jwt-auth"
config = { jwks_url = "https://a.example/jwks", issuer = "i", audience = "a" }
"#;

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn parsed(text: &str) -> Result<Config, Errors> {
    parse(
        Path::new("conf/h.toml"),
        text,
        &env(&[
            ("HOME", "/home/h"),
            ("EMPTY", ""),
            ("SHORT", "shhh"),
            ("LONG", "0123456789abcdef0123456789abcdef"),
        ]),
    )
}

/// A configuration that loads.
#[track_caller]
fn ok(text: &str) -> Config {
    parsed(text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The error lines of one that does not, without the file's name.
#[track_caller]
fn errors(text: &str) -> Vec<String> {
    let errors = parsed(text).map(|_| ()).expect_err("loads");
    errors
        .to_string()
        .lines()
        .map(|line| line.replace("conf/h.toml:", ""))
        .collect()
}

/// Asserts that a text has exactly one error, which contains `want`; here it is.
#[track_caller]
fn one_error(text: &str, want: &str) -> String {
    let lines = errors(text);
    assert!(
        lines.len() == 1 && lines[0].contains(want),
        "{text}\nwant {want}\ngot {lines:#?}"
    );
    lines[0].clone()
}

/// Asserts the same of a text after [`BASE`].
#[track_caller]
fn refused(text: &str, want: &str) {
    one_error(&format!("{BASE}{text}"), want);
}

/// The one step of the one pipeline.
fn auth_step(config: &Config) -> &AuthStep {
    let step = &config.pipelines[0].steps[0];
    step.kind.auth().unwrap_or_else(|| panic!("{step:?}"))
}

/// Its settings.
fn jwt_settings(config: &Config) -> &Jwt {
    match &auth_step(config).settings {
        AuthSettings::Jwt(settings) => settings,
        other => panic!("{other:?}"),
    }
}

fn all_warnings(config: &Config) -> Vec<&str> {
    config
        .notes
        .iter()
        .filter(|note| note.warning)
        .map(|note| note.text.as_str())
        .collect()
}

/// The warnings but for those of pipelines that are open and of secrets as they are: most of these
/// texts have the one or the other.
fn warnings(config: &Config) -> Vec<&str> {
    let mut all = all_warnings(config);
    let usual = [
        "pipeline \"p\" is open",
        "the secret stands in the file as it is",
    ];
    all.retain(|note| !usual.iter().any(|words| note.contains(words)));
    all
}

#[test]
fn every_error_at_once_with_its_line() {
    let text = BASE.replace("18080", "180800")
        + r#"
[pipelines.p]
networks = ["publc"]
endpoints = ["e"]
middleware = ["jwt", "jwtt"]
backends = ["b"]
[endpoints.e]
service = "dicom"
options = { path_prefix = "api" }
[middleware.jwt]
type = "jwt-auth"
config = {
  jwks_url = "https://a.example/jwks",
  issuer = "i",
  audiance = "a", # a typo
}
[middleware.key]
type = "webhook"
whatever = 1
[backends.b]
service = "http"
[nonsense]
a = 1
"#;
    let want = [
        "5: network.public.http.bind_port: must be from 1 to 65535",
        "14: pipelines.p.networks: unknown network \"publc\"; did you mean \"public\"?",
        "16: pipelines.p.middleware: unknown middleware \"jwtt\"; did you mean \"jwt\"?",
        "19: endpoints.e.service: the service \"dicom\" is not something that an HTTP edge does; ",
        "20: endpoints.e.options.path_prefix: must begin with \"/\"; it is \"api\"",
        "26: middleware.jwt.config.audiance: unknown key \"audiance\"; did you mean \"audience\"?",
        "29: middleware.key.type: the step \"webhook\" is not something that an HTTP edge does; ",
        "31: backends.b.base_url: is missing; add base_url",
        "33: nonsense: unknown key \"nonsense\"",
    ];
    let lines = errors(&text);
    assert_eq!(lines.len(), want.len(), "{lines:#?}");
    for (line, want) in lines.iter().zip(want) {
        assert!(line.starts_with(want), "{line}\nwant {want}");
    }
}

#[test]
fn the_sample_of_the_documentation() {
    let text = format!("{BASE}{}", PIPELINE.replace("\"public\"", "\"publc\""));
    assert_eq!(
        errors(&text),
        ["14: pipelines.p.networks: unknown network \"publc\"; did you mean \"public\"?"]
    );
}

#[test]
fn syntax_errors_stop_their_file() {
    let lines = errors("[proxy\n");
    assert!(lines[0].starts_with("1: "), "{lines:?}");
    let lines = errors("[proxy]\nid = \"a\"\nid = \"b\"\n");
    assert!(lines.len() == 1 && lines[0].starts_with("3: "), "{lines:?}");
}

#[test]
fn a_secret_or_a_filled_in_value_is_never_shown() {
    let text = format!("{BASE}{PIPELINE}")
        + r#"
[middleware.a]
type = "${LONG}"
[middleware.b]
type = "jwt-auth"
config = { algorithm = "HS256", secret = "hunter2", issuer = "i", audience = "a" }
[middleware.c]
type = "jwt-auth"
config = { jwks_url = "http://x y/${LONG}", issuer = "i", audience = "a" }
[backends.c]
service = "http"
base_url = "ftp://user:hunter2@h"
authentication = "authentications.${LONG}"
[authentications.d]
method = "bearer"
token = "hunter2 with a space"
"#;
    let shown = parsed(&text).unwrap_err().to_string();
    assert_eq!(shown.lines().count(), 6, "{shown}");
    for secret in ["hunter2", "0123456789abcdef"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn debug_leaves_secrets_out() {
    let text = format!(
        "{BASE}{}",
        PIPELINE
            .replace("middleware = []", "middleware = [\"m\"]")
            .replace(
                "\"echo\"",
                "\"http\"\nbase_url = \"https://h\"\nauthentication = \"authentications.o\""
            )
    ) + "[middleware.m]\ntype = \"jwtauth\"\nuse_hs256 = true\nhs256_secret = \"${LONG}\"\n\
         issuer = \"i\"\naudience = \"a\"\n"
        + "[authentications.o]\nmethod = \"bearer\"\ntoken = \"hunter2\"\n";
    let shown = format!("{:?}", ok(&text));
    assert!(
        !shown.contains("0123456789abcdef") && !shown.contains("hunter2"),
        "{shown}"
    );
}

fn with_steps(list: &str, steps: &str) -> String {
    format!(
        "{BASE}{}{steps}",
        PIPELINE.replace("middleware = []", &format!("middleware = {list}"))
    )
}
