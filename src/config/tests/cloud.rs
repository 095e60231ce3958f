//! What the cloud may add to the local files, and what it may not.

mod owned;
mod refused;
mod round_trip;

use super::*;
use crate::config::{Cloud, CloudText, Source};

/// Two listeners, the Management API, and a pipeline that refers to secrets and names a file.
const LOCAL: &str = r#"
[pipelines.p]
networks = ["public"]
endpoints = ["e"]
middleware = ["hs", "pem"]
backends = ["b"]
[endpoints.e]
service = "http"
options = { path_prefix = "/p" }
[middleware.hs]
type = "jwt-auth"
optional = true
config = { algorithm = "HS256", secret = "${LONG}", issuer = "i", audience = "a" }
[middleware.pem]
type = "basic-auth"
config = { htpasswd_path = "PATH" }
[backends.b]
service = "http"
base_url = "http://10.0.0.9:80"
authentication = "authentications.out"
[targets.t]
connection.host = "10.0.0.9"
authentication = "authentications.out"
[authentications.out]
method = "bearer"
token = "${LONG}"
"#;

/// A pipeline of the cloud's.
const CLOUD: &str = r#"[pipelines.c]
networks = ["public"]
endpoints = ["c"]
middleware = ["c"]
backends = ["c"]
[endpoints.c]
service = "http"
options = { path_prefix = "/c" }
[middleware.c]
type = "jwt-auth"
config = { jwks_url = "https://c.example/jwks", issuer = "i", audience = "a" }
[backends.c]
service = "http"
base_url = "http://10.0.0.7:80"
"#;

struct House {
    home: tempfile::TempDir,
    local: String,
    uploaded: Vec<String>,
}

impl House {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("htpasswd");
        let hash = "$2b$12$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC";
        std::fs::write(&path, format!("alice:{hash}\n")).unwrap();
        let local = format!("{BASE}{LOCAL}").replace("PATH", path.to_str().unwrap());
        Self {
            home,
            local,
            uploaded: Vec::new(),
        }
    }

    fn source(&self) -> Source {
        let env = env(&[("LONG", "0123456789abcdef0123456789abcdef")]);
        Source::text(self.home.path().join("h.toml"), &self.local).with_environment(env)
    }

    fn with(&self, texts: &[(&str, bool, &str)]) -> Config {
        let texts: Vec<_> = texts
            .iter()
            .map(|(change, whole, toml)| CloudText {
                change,
                whole: *whole,
                toml,
                uploaded: &self.uploaded,
            })
            .collect();
        let read = self.source().read(&texts);
        read.unwrap_or_else(|failed| panic!("{}", failed.errors)).0
    }

    /// The reasons why parts of one change are set aside.
    #[track_caller]
    fn refused(&self, text: &str) -> Vec<String> {
        let Cloud { set_aside, .. } = self.with(&[("c1", true, text)]).cloud;
        assert!(!set_aside.is_empty(), "{text}");
        let set_aside = set_aside.iter();
        set_aside
            .flat_map(|entry| &entry.errors)
            .map(ToString::to_string)
            .collect()
    }
}

fn names(config: &Config) -> Vec<&str> {
    config
        .pipelines
        .iter()
        .map(|pipeline| &*pipeline.name)
        .collect()
}

#[test]
fn a_pipeline_joins_the_local_ones() {
    let config = House::new().with(&[("c1", true, CLOUD)]);
    assert_eq!(names(&config), ["p", "c"]);
    assert_eq!(config.cloud.pipelines, ["c"].map(Arc::<str>::from));
    assert_eq!(config.cloud.set_aside, []);
}

#[test]
fn every_error_is_reported_at_once_with_its_line() {
    let text = CLOUD
        .replace("\"public\"", "\"publc\"")
        .replace("\"a\" }", "\"a\", nonsense = 1 }");
    let lines = House::new().refused(&format!("{text}[proxy]\nid = \"x\"\n"));
    for want in [
        "cloud change c1:2: pipelines.c.networks: unknown network \"publc\"; did you mean \
         \"public\"?",
        "cloud change c1:11: middleware.c.config.nonsense: unknown key",
        "cloud change c1:16: proxy.id: is for the local files to set",
    ] {
        assert!(
            lines.iter().any(|line| line.starts_with(want)),
            "{want}\n{lines:#?}"
        );
    }
}

#[test]
fn an_id_is_not_believed() {
    let label = change_name("c1\n2026 INFO forged \u{1b}[31m");
    assert_eq!(label, "cloud change c1?2026?INFO?forged???31m");
}

#[test]
fn what_refers_to_something_set_aside_goes_with_it() {
    // Its own `jwt` collides with the local one: with that one it would let others in.
    let house = House::new();
    let text = CLOUD
        .replace("[middleware.c]", "[middleware.hs]")
        .replace("middleware = [\"c\"]", "middleware = [\"hs\"]");
    let other = CLOUD
        .replace("\"c\"", "\"d\"")
        .replace(".c]", ".d]")
        .replace("/c", "/d");
    let config = house.with(&[("c1", true, &text), ("c2", false, &other)]);
    assert_eq!(names(&config), ["p", "d"]);
    let entries: Vec<_> = (config.cloud.set_aside.iter())
        .map(|entry| {
            (
                entry.change.as_str(),
                entry.entry.to_string(),
                entry.follows,
            )
        })
        .collect();
    assert_eq!(
        entries,
        [
            ("c1", "middleware.hs".to_owned(), false),
            ("c1", "pipelines.c".to_owned(), true)
        ]
    );
}

#[test]
fn a_long_chain_of_references_is_set_aside_quickly() {
    let chain: String = (1..4000)
        .map(|number| {
            let before = number - 1;
            format!("[endpoints.e{number}]\nservice = \"echo\"\ndescription = \"e{before}\"\n")
        })
        .collect();
    let text = format!("[endpoints.e0]\nservice = \"nothing\"\n{chain}");
    let begun = std::time::Instant::now();
    let lines = House::new().refused(&text);
    assert_eq!(lines.len(), 4000);
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
}

#[test]
fn a_single_pipeline_replaces_that_of_the_gateway_and_collides_with_another() {
    let house = House::new();
    let moved = CLOUD.replace("/c\"", "/moved\"");
    let config = house.with(&[("c1", true, CLOUD), ("c2", false, &moved)]);
    assert_eq!(config.cloud.set_aside, []);
    assert_eq!(config.pipelines[1].endpoints[0].path_prefix, "/moved");

    // Another pipeline must not change what this one passes.
    let other = CLOUD
        .replace("pipelines.c]", "pipelines.d]")
        .replace("\"c\"", "\"d\"")
        .replace("endpoints.c]", "endpoints.d]")
        .replace("backends.c]", "backends.d]")
        .replace("/c\"", "/d\"")
        .replace("middleware = [\"d\"]", "middleware = [\"c\"]")
        .replace("\"i\"", "\"evil\"");
    let config = house.with(&[("c1", false, CLOUD), ("c2", false, &other)]);
    assert_eq!(names(&config), ["p", "c"]);
    let first = config.cloud.set_aside[0].errors[0].to_string();
    assert!(
        first.contains("middleware.c is defined twice: also at cloud change c1:9"),
        "{first}"
    );
    // What is the same may be shared.
    let config = house.with(&[
        ("c1", false, CLOUD),
        ("c2", false, &other.replace("evil", "i")),
    ]);
    assert_eq!(
        (names(&config), config.cloud.set_aside.len()),
        (vec!["p", "c", "d"], 0)
    );
}

#[test]
fn what_replaced_a_table_of_the_gateway_does_not_bring_it_back_by_failing() {
    let house = House::new();
    let broken = CLOUD.replace("https://c.example/jwks", "ftp://c.example");
    let config = house.with(&[("c1", true, CLOUD), ("c2", false, &broken)]);
    assert_eq!(names(&config), ["p"]);
}

#[test]
fn the_main_files_chain_is_not_for_it() {
    let mut house = House::new();
    let local = silent_pipeline().replace("[backends.b]", "path_prefix = \"/local\"\n[backends.b]");
    house.local = format!(
        "{BASE}{local}[[middleware]]\nname = \"n\"\ntype = \"basic-auth\"\nusername = \"u\"\n\
         password = \"p\"\n"
    );
    let plain = CLOUD.replace("middleware = [\"c\"]\n", "");
    let config = house.with(&[("c1", true, &plain)]);
    assert_eq!(names(&config), ["p"]);
    assert_eq!(config.pipelines[0].steps.len(), 1);
    let set_aside = &config.cloud.set_aside[0];
    assert_eq!(
        (set_aside.entry.to_string().as_str(), set_aside.follows),
        ("pipelines.c", false)
    );
    let line = set_aside.errors[0].to_string();
    assert_eq!(
        line,
        "cloud change c1:1: pipelines.c.middleware: is missing; list the steps that a request has \
         to pass, like middleware = [\"c\"], or write middleware = [] to let anyone pass (the \
         main file's [[middleware]] does not reach what the cloud sends)"
    );
    // A text that has the chain meant its pipelines to pass it: they must not become open.
    let chain = house.local[house.local.find("[[").unwrap()..].to_owned();
    let text = format!(
        "{}{chain}",
        plain.replace(
            "[middleware.c]\ntype = \"jwt-auth\"\nconfig = \
             { jwks_url = \"https://c.example/jwks\", issuer = \"i\", audience = \"a\" }\n",
            ""
        )
    );
    let lines = house.refused(&text);
    assert!(
        lines[0].contains("pipelines.c: has no `middleware` of its own"),
        "{lines:?}"
    );
    // Its names are taken.
    let lines = house.refused("[middleware.n]\ntype = \"passthru\"\n");
    assert!(
        lines[0].contains("middleware.n: the local files have it too"),
        "{lines:?}"
    );
}

#[test]
fn tables_of_no_effect_are_passed_over() {
    let house = House::new();
    let text = format!(
        "{CLOUD}[storage]\npath = \"x\"\n[services.http]\nmodule = \"\"\n[peers.x]\na = 1\n"
    );
    assert_eq!(house.with(&[("c1", true, &text)]).cloud.set_aside, []);
}

#[test]
fn it_brings_nothing_that_is_told_of_revocations() {
    for (service, options) in [
        (
            "backchannel-logout",
            "path_prefix = \"/l\", step = \"c\", client_id = \"x\"",
        ),
        (
            "security-events",
            "path_prefix = \"/l\", issuer = \"https://c.example\", audience = \"x\", \
             issuers = [\"i\"]",
        ),
    ] {
        let text = format!(
            "{CLOUD}[pipelines.l]\nnetworks = [\"public\"]\nendpoints = [\"l\"]\n\
             middleware = []\n[endpoints.l]\nservice = \"{service}\"\noptions = {{ {options} }}\n"
        );
        let lines = House::new().refused(&text);
        let want = format!("the cloud cannot bring a {service} endpoint");
        assert!(
            lines.iter().any(|line| line.contains(&want)),
            "{want}\n{lines:#?}"
        );
    }
    let lines = House::new().refused("[revocations]\nkeep_secs = 1\n");
    assert!(lines[0].contains("revocations.keep_secs: is for the local files to set"));
}

#[test]
fn any_bytes_come_to_an_end() {
    let house = House::new();
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..200 {
        let mut text = CLOUD.as_bytes().to_vec();
        for _ in 0..random.usize(1..6) {
            let at = random.usize(..text.len());
            match random.u8(..3) {
                0 => text[at] = random.u8(32..127),
                1 => drop(text.remove(at)),
                _ => text.insert(at, *random.choice(b"[]\".={}\n$").unwrap()),
            }
        }
        let text = String::from_utf8(text).unwrap();
        let config = house.with(&[("c1", true, &text), ("c2", false, CLOUD)]);
        assert_eq!(&*config.pipelines[0].name, "p");
    }
}
