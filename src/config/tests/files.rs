//! Several files, files that ship, the seeds' snippets, and time.

use std::fs;
use std::time::Instant;

use super::*;

/// A directory with `h.toml` and `pipelines/*.toml`.
fn directory(main: &str, files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("h.toml"), main).unwrap();
    fs::create_dir(dir.path().join("pipelines")).unwrap();
    for (name, text) in files {
        fs::write(dir.path().join("pipelines").join(name), text).unwrap();
    }
    dir
}

fn loaded(dir: &tempfile::TempDir) -> Result<Config, Vec<String>> {
    let path = format!("{}/", dir.path().display());
    load(&dir.path().join("h.toml"), &env(&[("HOME", "/h")])).map_err(|errors| {
        errors
            .to_string()
            .replace(&path, "")
            .lines()
            .map(str::to_owned)
            .collect()
    })
}

#[test]
fn files_are_merged_sorted_by_name() {
    let other = PIPELINE
        .replace("pipelines.p", "pipelines.a")
        .replace("\"e\"", "\"f\"")
        .replace("endpoints.e]", "endpoints.f]\npath_prefix = \"/f\"")
        .replace("[backends.b]\nservice = \"echo\"", "");
    let dir = directory(
        BASE,
        &[("2.toml", &other), ("1.toml", PIPELINE), ("3.toml", JWT)],
    );
    let config = loaded(&dir).unwrap();
    assert_eq!(
        config
            .pipelines
            .iter()
            .map(|pipeline| &*pipeline.name)
            .collect::<Vec<_>>(),
        ["p", "a"]
    );
    assert_eq!(config.files.len(), 4);
}

#[test]
fn pipelines_beside_a_file_that_has_some_are_left_alone() {
    let dir = directory(&format!("{BASE}{PIPELINE}"), &[("1.toml", "[broken")]);
    assert_eq!(loaded(&dir).unwrap().pipelines.len(), 1);
}

#[test]
fn one_name_in_two_files_names_both() {
    let main = BASE.replace("[proxy]", "[proxy]\npipelines_path = \"pipelines\"") + PIPELINE;
    let dir = directory(
        &main,
        &[
            ("1.toml", "[backends.b]\nservice = \"echo\"\n"),
            ("2.toml", JWT),
            ("3.toml", JWT),
        ],
    );
    assert_eq!(
        loaded(&dir).unwrap_err(),
        [
            format!(
                "pipelines/1.toml:1: backends.b: backends.b is defined twice: also at \
                 {}/h.toml:21",
                dir.path().display()
            ),
            format!(
                "pipelines/3.toml:2: middleware.jwt: middleware.jwt is defined twice: also at \
                 {}/pipelines/2.toml:2",
                dir.path().display()
            ),
        ]
        .map(|line| line.replace(&format!("{}/", dir.path().display()), ""))
    );
}

#[test]
fn some_tables_stand_in_the_main_file_only() {
    let chain = "[[middleware]]\ntype = \"passthru\"\n";
    let dir = directory(
        BASE,
        &[
            ("1.toml", "[runbeam]\nenabled = true\n[logging]\n"),
            ("2.toml", chain),
            ("3.toml", "nonsense = 1\n"),
        ],
    );
    let lines = loaded(&dir).unwrap_err();
    assert_eq!(
        lines[0],
        "pipelines/1.toml:1: runbeam: stands in the main file only"
    );
    assert!(
        lines[2].starts_with(
            "pipelines/2.toml:1: middleware: [[middleware]] stands in the main file only"
        ),
        "{lines:#?}"
    );
    assert!(
        lines[3].starts_with("pipelines/3.toml:1: nonsense: unknown key"),
        "{lines:#?}"
    );
}

#[test]
fn a_broken_file_does_not_make_names_unknown() {
    let main = format!(
        "{}{}",
        BASE.replace("[proxy]", "[proxy]\npipelines_path = \"pipelines\""),
        PIPELINE.replace("[backends.b]\nservice = \"echo\"\n", "")
    );
    let dir = directory(
        &main,
        &[
            ("1.toml", "[backends.b\nservice = \"echo\"\n"),
            ("2.toml", "[middleware.m]\ntype = \"x\"\n"),
        ],
    );
    let lines = loaded(&dir).unwrap_err();
    assert!(
        lines
            .iter()
            .all(|line| line.starts_with("pipelines/1.toml:")),
        "{lines:#?}"
    );
}

#[test]
fn paths_are_relative_to_the_file_that_names_them() {
    let step = "[middleware.k]\ntype = \"jwt-auth\"\npublic_key_path = \"k.pem\"\n\
                issuer = \"${file:i}\"\naudience = \"a\"\n";
    let dir = directory(BASE, &[("1.toml", step), ("k.pem", "x"), ("i", "me\n")]);
    let config = loaded(&dir).unwrap();
    for name in ["k.pem", "i"] {
        assert!(
            config
                .files
                .contains(&dir.path().join("pipelines").join(name)),
            "{:?}",
            config.files
        );
    }
}

/// The package's root.
fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_shipped_files_load() {
    for name in ["harmony.toml", "reference.toml"] {
        let path = package().join("conf").join(name);
        let config =
            load(&path, &env(&[("HOME", "/h")])).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(
            (config.pipelines.len(), config.pipelines[0].steps.len()),
            (1, 1)
        );
        // The reference shows steps and rules of each kind, and its one pipeline uses one of them.
        let mut notes = config.notes.iter().map(|note| note.text.as_str());
        let unused = ["no pipeline uses", "no policy uses", "nothing refers to"];
        let expected = |note: &str| {
            name == "reference.toml" && unused.iter().any(|words| note.contains(words))
        };
        assert!(notes.all(expected), "{name}: {:?}", config.notes);
    }
    let config = load(
        &package().join("conf/harmony.toml"),
        &env(&[("HARMONY_JWKS_URL", "https://h/jwks")]),
    )
    .unwrap();
    let KeySource::JwksUrl(url) = &jwt_settings(&config).issuers[0].keys else {
        panic!()
    };
    assert_eq!(url.url, "https://h/jwks");
}

/// What the reference shows as defaults are the defaults.
#[test]
fn the_reference_shows_the_defaults() {
    let reference = load(
        &package().join("conf/reference.toml"),
        &env(&[("HOME", "/home/h")]),
    )
    .unwrap();
    let plain = ok(&format!(
        "{}{}{}[runbeam]\nenabled = true\n",
        BASE.replace("edge-1", "edge-01"),
        PIPELINE
            .replace("middleware = []", "middleware = [\"jwt\"]")
            .replace("\"echo\"", "\"http\"\nbase_url = \"http://127.0.0.1:3000\""),
        JWT.replace("\"i\"", "\"https://auth.example.com\"")
            .replace("\"a\"", "\"harmony-api\"")
            .replace(
                "https://a.example/jwks",
                "https://auth.example.com/.well-known/jwks.json"
            ),
    ));
    assert_eq!(jwt_settings(&reference), jwt_settings(&plain));
    let shown = |config: &Config| {
        let step = auth_step(config);
        let joining = (
            step.optional,
            step.fallback_on_failed,
            step.forward_credential,
            &step.realm,
        );
        let pipeline = &config.pipelines[0];
        let proxy = (
            config.threads,
            config.grace,
            config.token_cache_bytes,
            &config.trusted_proxies,
            &config.state_dir,
            config.watch_files,
        );
        let endpoint = &pipeline.endpoints[0];
        format!(
            "{joining:?} {proxy:?} {:?} {:?} {:?}",
            pipeline.backends[0].target,
            (&endpoint.path_prefix, endpoint.max_body_size),
            config.logging.level
        )
    };
    assert_eq!(shown(&reference), shown(&plain));
    let text = fs::read_to_string(package().join("conf/reference.toml")).unwrap();
    let on = text.replace("enabled = false\ncloud", "enabled = true\ncloud");
    assert_eq!(
        format!("{:?}", ok(&on).runbeam),
        format!("{:?}", plain.runbeam)
    );
}

/// The snippets of the seed that this version serves; its placeholders are filled in.
#[test]
fn the_seeds_load() {
    let seed = package().join("../shared/seeds/authentication.md");
    let Ok(text) = fs::read_to_string(&seed) else {
        println!("skipped: {} is not here", seed.display());
        return;
    };
    let snippets: Vec<&str> = text
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    let env = env(&[("JWT_SECRET", "0123456789abcdef0123456789abcdef")]);
    for (snippet, algorithm) in [
        (snippets[0], JwtAlgorithm::Rs256),
        (snippets[1], JwtAlgorithm::Hs256),
    ] {
        let config = parse(
            Path::new("h.toml"),
            &format!("{BASE}{}{snippet}", silent_pipeline()),
            &env,
        )
        .unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(jwt_settings(&config).algorithm, algorithm);
        assert!(config.notes.is_empty());
    }
    one_error(
        &format!("{BASE}{}{}", silent_pipeline(), snippets[1]),
        "JWT_SECRET",
    );
    for snippet in &snippets[2..] {
        let filled = snippet
            .replace("[...]", "[\"key1_hashed_value\"]")
            .replace("\"...\"", "\"https://a.example/jwks\"");
        let with = |snippet: &str| format!("{BASE}{}{snippet}", silent_pipeline());
        for line in errors(&with(&filled)) {
            assert!(
                line.contains("; make ") && line.contains("`harmony-edge hash-"),
                "{line}"
            );
            assert!(
                !line.contains("_hashed_value") && !line.contains("$2b$12$"),
                "{line}"
            );
        }
        let filled = filled
            .replace(
                "$2b$12$...",
                "$2b$12$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC",
            )
            .replace("key1_hashed_value", &"1".repeat(64))
            .replace("key2_hashed_value", &"2".repeat(64));
        let steps = ok(&with(&filled)).pipelines[0].steps.len();
        assert_eq!(steps, filled.matches("[[middleware]]").count());
    }
}

#[test]
fn a_thousand_pipelines_load_quickly() {
    let mut text = BASE.to_owned();
    for index in 0..1000 {
        let name = format!("p{index}");
        text += &PIPELINE
            .replace("pipelines.p", &format!("pipelines.{name}"))
            .replace("\"e\"", &format!("\"e{index}\""))
            .replace(
                "endpoints.e]",
                &format!("endpoints.e{index}]\npath_prefix = \"/{name}\""),
            )
            .replace("[backends.b]\nservice = \"echo\"\n", "");
    }
    text += "[backends.b]\nservice = \"echo\"\n";
    let start = Instant::now();
    assert_eq!(ok(&text).pipelines.len(), 1000);
    let limit = if cfg!(debug_assertions) { 3000 } else { 100 };
    println!("1000 pipelines: {:?}", start.elapsed());
    assert!(
        start.elapsed() < Duration::from_millis(limit),
        "{:?}",
        start.elapsed()
    );
}
