//! Changes from the cloud: applied whole or not at all, kept across a restart, and never at the
//! cost of the local files.

mod kept;
mod restricted;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::*;
use crate::config::Environment;

/// A state directory with a configuration in it.
struct House {
    home: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        let house = Self {
            home: tempfile::tempdir().unwrap(),
        };
        house.write(LOCAL);
        house
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn write(&self, text: &str) {
        let state = format!("state_dir = {:?}\n", self.path("state"));
        fs::write(self.path("h.toml"), text.replace("STATE\n", &state)).unwrap();
    }

    fn source(&self) -> Source {
        Source::file(self.path("h.toml")).with_environment(Variables)
    }

    fn start(&self) -> Live {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Live::start(self.source(), Shared::new(None).unwrap()).unwrap()
    }

    fn kept(&self) -> Option<String> {
        fs::read_to_string(self.path("state/cloud.json")).ok()
    }
}

#[derive(Clone)]
struct Variables;

impl Environment for Variables {
    fn var(&self, name: &str) -> Option<String> {
        (name == "SECRET").then(|| "0123456789abcdef0123456789abcdef".to_owned())
    }
}

const LOCAL: &str = r#"[proxy]
id = "t"
STATE
[network.public.http]
bind_address = "127.0.0.1"
bind_port = 8080
[network.management.http]
bind_address = "127.0.0.1"
bind_port = 9090
[management]
enabled = true
network = "management"
[pipelines.local]
networks = ["public"]
endpoints = ["local"]
middleware = ["local"]
[endpoints.local]
service = "echo"
options = { path_prefix = "/local" }
[middleware.local]
type = "jwt-auth"
config = { algorithm = "HS256", secret = "${SECRET}", issuer = "i", audience = "a" }
"#;

fn pipeline(name: &str) -> String {
    format!(
        "[pipelines.{name}]\nnetworks = [\"public\"]\nendpoints = [\"{name}\"]\n\
         [endpoints.{name}]\nservice = \"echo\"\noptions = {{ path_prefix = \"/{name}\" }}\n"
    )
}

fn one(id: &str, toml: &str) -> LayerChange {
    LayerChange::Pipeline {
        id: Some(id.to_owned()),
        toml: toml.to_owned(),
    }
}

fn whole(toml: &str) -> LayerChange {
    LayerChange::Gateway {
        toml: toml.to_owned(),
    }
}

fn names(live: &Live) -> Vec<String> {
    let config = live.config();
    let names = config
        .pipelines
        .iter()
        .map(|pipeline| pipeline.name.to_string());
    names.collect()
}

/// The pipeline at a path of the network `public`.
fn at(live: &Live, path: &str) -> Option<String> {
    let gateway = live.gateway();
    let routes = gateway.routes("127.0.0.1:8080".parse().unwrap())?;
    let found = routes.find("h", path, &http::Method::GET)?;
    Some(found.route.pipeline.name.to_string())
}

#[test]
fn three_changes_the_middle_one_broken() {
    let house = House::new();
    let live = house.start();
    let generations = live.changes();
    assert!(matches!(
        live.apply_change("1", one("a", &pipeline("a"))),
        Ok(Reload::Reloaded(_))
    ));
    assert!(generations.has_changed().unwrap());
    let before = (house.kept(), live.gateway());
    let broken = pipeline("b").replace("public", "publc") + "nonsense = 1\n";
    let refused = live.apply_change("2", one("b", &broken)).unwrap_err();
    let details = refused.details();
    assert_eq!(details.len(), 2, "{details:#?}");
    assert!(
        details[0].starts_with("cloud change 2:2: pipelines.b.networks: unknown network"),
        "{details:#?}"
    );
    assert_eq!(live.status().last_errors, details);
    assert!(Arc::ptr_eq(&before.1, &live.gateway()) && before.0 == house.kept());
    live.apply_change("3", one("c", &pipeline("c"))).unwrap();
    let check = |live: &Live| {
        assert_eq!(names(live), ["local", "a", "c"]);
        assert_eq!(at(live, "/c/x").as_deref(), Some("c"));
        let applied = ["1", "2", "3"].map(|id| live.has_applied(id));
        assert_eq!(applied, [true, false, true]);
        assert_eq!(live.status().source, "file+cloud");
        // Never twice.
        assert_eq!(
            live.apply_change("3", whole("")).unwrap(),
            Reload::Unchanged
        );
    };
    check(&live);
    assert_eq!(live.status().last_errors, Vec::<String>::new());
    drop(live);
    check(&house.start());
}

#[test]
fn a_gateway_replaces_everything_and_a_pipeline_its_own() {
    let house = House::new();
    let live = house.start();
    for (change, names_after) in [
        (one("1", &pipeline("a")), vec!["local", "a"]),
        (one("2", &pipeline("b")), vec!["local", "a", "b"]),
        // Another name for the same pipeline.
        (
            one("1", &pipeline("renamed")),
            vec!["local", "b", "renamed"],
        ),
        // The same pipeline under another id.
        (
            one("3", &pipeline("b").replace("/b", "/bb")),
            vec!["local", "renamed", "b"],
        ),
        (
            LayerChange::Pipeline {
                id: None,
                toml: pipeline("d"),
            },
            vec!["local", "renamed", "b", "d"],
        ),
        (
            LayerChange::Pipeline {
                id: None,
                toml: pipeline("d").replace("/d", "/dd"),
            },
            vec!["local", "renamed", "b", "d"],
        ),
        (
            whole(&(pipeline("x") + &pipeline("y"))),
            vec!["local", "x", "y"],
        ),
        (
            one("9", &pipeline("y").replace("/y", "/yy")),
            vec!["local", "x", "y"],
        ),
        (whole(""), vec!["local"]),
    ] {
        let id = format!("{change:?}");
        live.apply_change(&id, change)
            .unwrap_or_else(|error| panic!("{id}: {error}"));
        assert_eq!(names(&live), names_after, "{id}");
    }
    assert_eq!(live.status().source, "file");
}

#[test]
fn what_is_no_change_is_refused() {
    let house = House::new();
    let live = house.start();
    for (change, want) in [
        (
            one("1", "[endpoints.e]\nservice = \"echo\"\n"),
            "cloud change c: holds no pipeline",
        ),
        (one("1", "[pipelines"), "cloud change c: is not TOML: "),
        (
            whole(&"#".repeat((1 << 20) + 1)),
            "cloud change c: is 1048577 bytes long",
        ),
        (
            one("1", &pipeline("local")),
            "pipelines.local: the local files have it too, and theirs holds",
        ),
        (
            whole("[proxy]\nid = \"x\"\n"),
            "cloud change c:2: proxy.id: is for the local files to set",
        ),
        (
            one(
                "1",
                &(pipeline("a").replace(
                    "endpoints =",
                    "middleware = []\nbackends = [\"b\"]\nendpoints =",
                ) + "[backends.b]\nservice = \"http\"\nbase_url = \"http://localhost:9090\"\n"),
            ),
            "backends.b: points at the Management API",
        ),
    ] {
        let error = live.apply_change("c", change).unwrap_err().to_string();
        assert!(error.contains(want), "{want}\n{error}");
        assert!(!live.has_applied("c") && house.kept().is_none());
    }
    assert_eq!(live.status().generation, 1);
}

#[test]
fn a_change_must_not_cost_another_one() {
    let house = House::new();
    let live = house.start();
    live.apply_change("1", whole(&(pipeline("a") + &pipeline("b"))))
        .unwrap();
    // It brings an endpoint that pipeline b uses, at a place that pipeline a has.
    let text =
        pipeline("c") + "[endpoints.b]\nservice = \"echo\"\noptions = { path_prefix = \"/a\" }\n";
    let error = live
        .apply_change("2", one("c", &text))
        .unwrap_err()
        .to_string();
    assert!(error.contains("claims \"/a\""), "{error}");
    assert_eq!(names(&live), ["local", "a", "b"]);
}

#[test]
fn the_local_files_win_at_a_reload_and_at_a_start() {
    let house = House::new();
    let live = house.start();
    live.apply_change("1", whole(&(pipeline("a") + &pipeline("b"))))
        .unwrap();
    house.write(&format!(
        "{LOCAL}{}",
        pipeline("mine").replace("/mine", "/a")
    ));
    live.reload().unwrap();
    let check = |live: &Live| {
        assert_eq!(names(live), ["local", "mine", "b"]);
        assert_eq!(at(live, "/a").as_deref(), Some("mine"));
        let set_aside = live.set_aside();
        let shown = set_aside[0].to_string();
        assert_eq!(
            (set_aside.len(), set_aside[0].entry.to_string().as_str()),
            (1, "pipelines.a"),
            "{shown}"
        );
        assert!(
            shown.contains("claims \"/a\"")
                && shown.starts_with("cloud change 1, pipelines.a: set aside; "),
            "{shown}"
        );
    };
    check(&live);
    check(&house.start());
    // A later change neither fails because of it nor brings it back.
    live.apply_change("2", one("c", &pipeline("c"))).unwrap();
    assert_eq!(names(&live), ["local", "mine", "b", "c"]);
    // Gone from the local files, it serves again.
    house.write(LOCAL);
    live.reload().unwrap();
    assert_eq!((names(&live).len(), live.set_aside().len()), (4, 0));
}

#[test]
fn an_upload_comes_back_and_serves_unchanged() {
    let house = House::new();
    let live = house.start();
    let upload = live.upload().unwrap();
    assert!(upload.toml.contains("\"${SECRET}\""), "{}", upload.toml);
    let before = live.gateway();
    assert_eq!(
        live.apply_change("1", whole(&upload.toml)).unwrap(),
        Reload::Unchanged
    );
    assert!(live.has_applied("1") && Arc::ptr_eq(&before, &live.gateway()));
    // With a pipeline more, that one is new.
    let more = upload.toml + &pipeline("more");
    live.apply_change("2", whole(&more)).unwrap();
    assert_eq!(names(&live), ["local", "more"]);
    assert_eq!(names(&house.start()), ["local", "more"]);
    // The operator's later changes win, and are no one else's business.
    house.write(&LOCAL.replace("/local", "/moved"));
    live.reload().unwrap();
    assert_eq!(at(&live, "/moved").as_deref(), Some("local"));
    assert_eq!(at(&live, "/more").as_deref(), Some("more"));
}

#[test]
fn a_change_is_built_on_the_texts_that_serve() {
    let house = House::new();
    let live = house.start();
    house.write("[proxy");
    live.apply_change("1", one("a", &pipeline("a"))).unwrap();
    assert_eq!(names(&live), ["local", "a"]);
    assert!(live.reload().is_err());
    house.write(&LOCAL.replace("/local", "/moved"));
    live.apply_change("2", one("b", &pipeline("b"))).unwrap();
    assert_eq!(at(&live, "/moved"), None);
    live.reload().unwrap();
    assert_eq!(at(&live, "/moved").as_deref(), Some("local"));
    assert_eq!(names(&live), ["local", "a", "b"]);
}

#[test]
fn a_change_of_runbeam_takes_effect_at_once() {
    let house = House::new();
    let live = house.start();
    assert_eq!(live.runbeam(), None);
    let changes = live.changes();
    house.write(&format!(
        "{LOCAL}[runbeam]\nenabled = true\napply_changes = false\n"
    ));
    let Ok(Reload::Reloaded(diff)) = live.reload() else {
        panic!();
    };
    assert_eq!(diff.to_string(), "changed runbeam");
    assert!(changes.has_changed().unwrap());
    assert!(!live.runbeam().unwrap().apply_changes);
}
