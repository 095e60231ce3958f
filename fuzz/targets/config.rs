//! Configuration text: from the operator, or, after a line `# cloud`, from Runbeam Cloud on top of
//! a fixed local file.

#![no_main]

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use harmony::config::{CloudText, Config, Environment, Source, parse};
use libfuzzer_sys::fuzz_target;

/// What no message may show.
const SECRET: &str = "sUpErSeCrEt-value-of-the-environment-0123456789";
const CLOUD: &str = "# cloud\n";

const LOCAL: &str = r#"
[proxy]
id = "edge"
[network.public.http]
bind_port = 8080
[network.management.http]
bind_address = "127.0.0.1"
bind_port = 9090
[management]
enabled = true
base_path = "admin"
network = "management"
[pipelines.api]
networks = ["public"]
endpoints = ["api"]
middleware = ["hs"]
backends = ["app"]
[endpoints.api]
service = "http"
options = { path_prefix = "/api" }
[middleware.hs]
type = "jwt-auth"
config = { algorithm = "HS256", secret = "${SECRET}", issuer = "i", audience = "a" }
[backends.app]
service = "http"
base_url = "http://10.0.0.9:80"
"#;

struct Variables;

impl Environment for Variables {
    fn var(&self, name: &str) -> Option<String> {
        match name {
            "SECRET" => Some(SECRET.to_owned()),
            "HOME" => Some("/nonexistent".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }
}

fuzz_target!(|text: &str| {
    // Files that never end are nothing that the loader promises to survive: the operator names
    // them.
    if text.contains("/dev") || text.contains("/proc") || text.contains("\\u") {
        return;
    }
    match text.split_once(CLOUD) {
        Some((_, cloud)) => from_the_cloud(cloud),
        None => local(text),
    }
});

fn path() -> &'static Path {
    static PATH: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let made = PATH.get_or_init(|| {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("h.toml");
        (home, path)
    });
    &made.1
}

fn local(text: &str) {
    let path = path();
    let lines = text.matches('\n').count() + 1;
    let config = match parse(path, text, &Variables) {
        Ok(config) => config,
        Err(errors) => {
            assert!(!errors.is_empty());
            assert!(errors.iter().any(|error| error.file() == Some(path)), "a place: {errors}");
            for error in &errors {
                assert!(error.line().is_none_or(|line| (1..=lines).contains(&line)), "{error}");
                let said = format!("{error} {error:?}");
                assert!(!said.contains(SECRET), "{said}");
                assert!(!said.contains("the reason is not known"), "{said}");
            }
            return;
        }
    };
    for note in &config.notes {
        assert!(!note.text.contains(SECRET), "{}", note.text);
    }
    // Where the secret is used as one, it is not shown.
    let uses = |form: &str| text.matches(form).count();
    let as_secret = [
        "secret = \"${SECRET}\"",
        "password = \"${SECRET}\"",
        "token = \"${SECRET}\"",
        "pepper = \"${SECRET}\"",
    ];
    if uses("SECRET") == as_secret.into_iter().map(uses).sum::<usize>() {
        assert!(!format!("{config:?}").contains(SECRET), "{config:?}");
    }
    assert_eq!(parse(path, text, &Variables).as_ref(), Ok(&config), "the same twice");

    // As one text for the cloud: it holds no secret, and made of itself, it is itself.
    let Some(upload) = upload(text) else {
        return;
    };
    assert_eq!(upload.1, config.pipelines.len());
    assert!(!upload.0.contains(SECRET));
    if let Some(again) = self::upload(&upload.0) {
        assert_eq!(again.0, upload.0);
    }
}

/// The text for the cloud, and how many pipelines it has.
fn upload(text: &str) -> Option<(String, usize)> {
    let source = Source::text(path(), text).with_environment(Variables);
    let (_, local) = source.read(&[]).ok()?;
    match source.upload(&local) {
        Ok(upload) => Some((upload.toml, upload.pipelines.len())),
        Err(errors) => {
            assert!(!errors.is_empty() && !errors.to_string().contains(SECRET));
            None
        }
    }
}

fn from_the_cloud(text: &str) {
    static LOCALLY: OnceLock<Config> = OnceLock::new();
    let source = Source::text(path(), LOCAL).with_environment(Variables);
    let alone = LOCALLY.get_or_init(|| source.load().expect("the local file is right"));
    for whole in [false, true] {
        let text = CloudText { change: "c1", whole, toml: text, uploaded: &[] };
        let (config, _) = source.read(&[text]).expect("the cloud cannot break the local files");
        // What is local is as it was; what was added is of the cloud.
        assert_eq!(config.pipelines[..1], alone.pipelines[..]);
        assert_eq!((&config.networks, &config.management), (&alone.networks, &alone.management));
        assert_eq!(
            (&config.files, &config.id, &config.runbeam),
            (&alone.files, &alone.id, &alone.runbeam)
        );
        assert_eq!(config.pipelines.len(), 1 + config.cloud.pipelines.len());
        for set_aside in &config.cloud.set_aside {
            assert!(set_aside.follows || !set_aside.errors.is_empty());
            let said = format!("{set_aside} {set_aside:?}");
            assert!(!said.contains(SECRET), "{said}");
        }
        // No pipeline of the cloud's holds a secret of this machine, in whatever place.
        let added = format!("{:?}", &config.pipelines[1..]);
        assert!(!added.contains(SECRET), "{added}");
    }
}
