//! The local files as one text for the cloud, and the way back.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::config::{CloudText, Source};

/// Uploads what stands at `path`, and pulls it back.
#[track_caller]
fn there_and_back(path: &Path, environment: &[(&str, &str)]) -> (Config, String) {
    let source = Source::file(path).with_environment(env(environment));
    let (local, texts) = source
        .read(&[])
        .unwrap_or_else(|failed| panic!("{}", failed.errors));
    let upload = source
        .upload(&texts)
        .unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(upload.pipelines.len(), local.pipelines.len());
    let text = CloudText {
        change: "back",
        whole: true,
        toml: &upload.toml,
        uploaded: &[],
    };
    let config = source.read_again(&texts, &[text]).unwrap();
    assert_eq!(config, local, "{}", upload.toml);
    for (_, value) in environment {
        assert!(!upload.toml.contains(value), "{}", upload.toml);
    }
    (config, upload.toml)
}

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("h.toml");
    fs::write(&path, text).unwrap();
    (home, path)
}

#[track_caller]
fn refused(text: &str) -> Vec<String> {
    let (_home, path) = file(&format!("{BASE}{text}"));
    let source =
        Source::file(&path).with_environment(env(&[("LONG", "0123456789abcdef0123456789abcdef")]));
    let (_, local) = source
        .read(&[])
        .unwrap_or_else(|failed| panic!("{}", failed.errors));
    let errors = source.upload(&local).unwrap_err();
    errors.iter().map(|error| error.key().to_string()).collect()
}

#[test]
fn what_ships_comes_back_whole() {
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    for entry in fs::read_dir(conf).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let (_, text) = there_and_back(&path, &[("HOME", "/home/of-somebody")]);
            assert!(text.contains("[pipelines.api]"), "{text}");
        }
    }
}

#[test]
fn the_seeds_forms_come_back_whole() {
    let hash = "$2b$12$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC";
    let one = "1".repeat(64);
    for steps in [
        "[[middleware]]\ntype = \"jwt-auth\"\nconfig = {\n  algorithm = \"RS256\",\n  jwks_url = \
         \"https://auth.example.com/jwks.json\",\n  issuer = \"i\",\n  audience = \"a\"\n}\n"
            .to_owned(),
        "[[middleware]]\ntype = \"jwt-auth\"\nconfig = { algorithm = \"HS256\", secret = \
         \"${JWT_SECRET}\", issuer = \"harmony\", audience = \"api\" }\n"
            .to_owned(),
        format!(
            "[[middleware]]\ntype = \"basic-auth\"\nconfig = {{ username = \"admin\", \
             password_hash = \"{hash}\" }}\n"
        ),
        format!(
            "[[middleware]]\ntype = \"api-key\"\nconfig = {{ header = \"X-API-Key\", keys = \
             [\"{one}\", \"${{KEY_HASH}}\"] }}\n"
        ),
        format!(
            "[[middleware]]\ntype = \"jwt-auth\"\noptional = true\n\
             config = {{ jwks_url = \"https://a.example/jwks\", issuer = \"i\", audience = \
             \"a\" }}\n[[middleware]]\ntype = \"api-key\"\nconfig = {{ keys = [\"{one}\"] }}\n"
        ),
    ] {
        let (_home, path) = file(&format!("{BASE}{}{steps}", silent_pipeline()));
        let environment = [
            ("JWT_SECRET", "0123456789abcdef0123456789abcdef"),
            (
                "KEY_HASH",
                "2222222222222222222222222222222222222222222222222222222222222222",
            ),
        ];
        let (config, text) = there_and_back(&path, &environment);
        assert!(!config.pipelines[0].steps.is_empty());
        assert_eq!(text.contains("${"), steps.contains("${"), "{text}");
    }
}

#[test]
fn several_files_and_references_of_every_kind_come_back_whole() {
    let (home, path) = file(&format!(
        "{BASE}allow_from = [\"10.0.0.0/8\"]\ntoken_hash = \"{}\"\n[runbeam]\nenabled = true\n\
         [storage]\nsecret_access_key = \"mine\"\n",
        "3".repeat(64)
    ));
    let pipelines = home.path().join("pipelines");
    fs::create_dir(&pipelines).unwrap();
    fs::write(
        pipelines.join("secret"),
        "fedcba9876543210fedcba9876543210\n",
    )
    .unwrap();
    let text = PIPELINE
        .replace("middleware = []", "middleware = [\"hs\", \"at\"]")
        .replace(
            "\"echo\"",
            "\"http\"\nbase_url = \"http://${UPSTREAM:-10.0.0.3}:81/\"\n\
             authentication = \"authentications.out\"",
        );
    let rest = "[middleware.hs]\ntype = \"jwt-auth\"\nconfig = { algorithm = \"HS256\", secret = \
                \"${file:secret}\", issuer = \"i\", audience = \"a\" }\n\
        [middleware.at]\ntype = \"api-key\"\nkeys = [{ hash = \"${KEY}\", expires_at = \
        2100-01-01T00:00:00Z }]\n\
        [authentications.out]\nmethod = \"basic\"\nusername = \"u\"\npassword = \"${PASSWORD}\"\n";
    fs::write(pipelines.join("p.toml"), format!("{text}{rest}")).unwrap();
    let digest = "4".repeat(64);
    let (config, text) = there_and_back(&path, &[("PASSWORD", "hunter22"), ("KEY", &digest)]);
    assert_eq!(config.pipelines[0].steps.len(), 2);
    for kept in [
        "${file:secret}",
        "${UPSTREAM:-10.0.0.3}",
        "${PASSWORD}",
        "${KEY}",
    ] {
        assert!(text.contains(kept), "{kept}\n{text}");
    }
    for left_out in ["fedcba", "storage", "token_hash", "mine"] {
        assert!(!text.contains(left_out), "{left_out}\n{text}");
    }
}

#[test]
fn a_secret_as_it_is_refuses_the_upload() {
    let step = |lines: &str| format!("{PIPELINE}[middleware.m]\n{lines}\n");
    let secret = "0123456789abcdef0123456789abcdef";
    for (text, keys) in [
        (
            step(&format!(
                "type = \"jwt-auth\"\nconfig = {{ algorithm = \"HS256\", secret = \"{secret}\", \
                 issuer = \"i\", audience = \"a\" }}"
            )),
            vec!["middleware.m.config.secret"],
        ),
        (
            step(&format!(
                "type = \"jwt-auth\"\nuse_hs256 = true\nhs256_secret = \"${{NONE:-{secret}}}\"\n\
                 issuer = \"i\"\naudience = \"a\""
            )),
            vec!["middleware.m.hs256_secret"],
        ),
        (
            step("type = \"basic-auth\"\nusers = [{ username = \"a\", password = \"x${LONG}\" }]"),
            vec!["middleware.m.users[0].password"],
        ),
        (
            step(&format!(
                "type = \"api-key\"\npepper = \"p\"\nkeys = [\"hmac-sha256:{}\"]",
                "1".repeat(64)
            )),
            vec!["middleware.m.pepper"],
        ),
        (
            format!(
                "{PIPELINE}[authentications.a]\nmethod = \"bearer\"\ntoken = \"t\"\n\
                 [authentications.b]\nmethod = \"basic\"\n\
                 options = {{ username = \"u\", password = \"p\" }}\n"
            ),
            vec![
                "authentications.a.token",
                "authentications.b.options.password",
            ],
        ),
        (
            format!(
                "{PIPELINE}[rules.r]\ntype = \"header\"\nmode = \"allow\"\n\
                 headers = [{{ name = \"X-Internal-Token\", match_type = \"exact\", value = \"t\" \
                 }}]\n"
            ),
            vec!["rules.r.headers[0].value"],
        ),
    ] {
        assert_eq!(refused(&text), keys, "{text}");
    }
}

#[test]
fn one_text_cannot_hold_both_forms_of_middleware() {
    let (home, path) = file(&format!("{BASE}[[middleware]]\ntype = \"passthru\"\n"));
    fs::create_dir(home.path().join("pipelines")).unwrap();
    let text = format!("{PIPELINE}[middleware.m]\ntype = \"passthru\"\n");
    fs::write(home.path().join("pipelines/p.toml"), text).unwrap();
    let source = Source::file(&path).with_environment(env(&[]));
    let (_, local) = source.read(&[]).unwrap();
    let error = source.upload(&local).unwrap_err().to_string();
    assert!(
        error.contains("middleware: one text cannot hold both"),
        "{error}"
    );
}
