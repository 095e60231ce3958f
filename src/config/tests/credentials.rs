//! `basic-auth`: every form, every default, and what is refused without being shown; and what it
//! shares with `api-key`.

use super::*;

const HASH: &str = "$2b$12$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC";
pub(super) const DIGEST: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// A pipeline with one step of this type and these settings, 22 lines before them.
fn with_step(kind: &str, settings: &str) -> String {
    format!("{BASE}{PIPELINE}[middleware.m]\ntype = \"{kind}\"\n{settings}\n")
        .replace("middleware = []", "middleware = [\"m\"]")
}

pub(super) fn basic_text(settings: &str) -> String {
    with_step("basic-auth", &settings.replace("HASH", HASH))
}

pub(super) fn key_text(settings: &str) -> String {
    with_step("api-key", &settings.replace("DIGEST", DIGEST))
}

fn basic_settings(config: &Config) -> &Basic {
    match &auth_step(config).settings {
        AuthSettings::Basic(settings) => settings,
        other => panic!("{other:?}"),
    }
}

pub(super) fn key_settings(config: &Config) -> &ApiKey {
    match &auth_step(config).settings {
        AuthSettings::ApiKey(settings) => settings,
        other => panic!("{other:?}"),
    }
}

/// Exactly one error, which contains `want` and nothing of what is secret.
#[track_caller]
pub(super) fn one_error_without_secrets(text: &str, want: &str) {
    let line = super::one_error(text, want);
    for secret in ["hunter2", "key1_hashed_value", "$2b$12$", &DIGEST[..20]] {
        assert!(!line.contains(secret), "{line}");
    }
}

fn user(name: &str, password: StoredPassword) -> BasicUser {
    BasicUser {
        name: name.to_owned(),
        password,
    }
}

fn bcrypt(hash: &str) -> StoredPassword {
    StoredPassword::Bcrypt(Secret::new(hash.to_owned()))
}

fn plain(password: &str) -> StoredPassword {
    StoredPassword::Plain(Secret::new(password.to_owned()))
}

#[test]
fn one_user() {
    let config = ok(&basic_text(
        "config = { username = \"admin\", password_hash = \"HASH\" }",
    ));
    let step = auth_step(&config);
    assert!(!step.optional && !step.fallback_on_failed && !step.forward_credential);
    assert_eq!(step.realm, "harmony");
    let want = Basic {
        users: vec![user("admin", bcrypt(HASH))],
        htpasswd_path: None,
        max_failures: 10,
        owner: Owner::Local,
    };
    assert_eq!(step.settings, want.clone().into());
    assert!(config.notes.is_empty(), "{:?}", config.notes);
    for text in [
        basic_text("username = \"admin\"\npassword_hash = \"HASH\""),
        basic_text("options.username = \"admin\"\nconfig.password_hash = \"HASH\""),
        basic_text("users = [{ username = \"admin\", password_hash = \"HASH\" }]"),
        basic_text("username = \"admin\"\npassword_hash = \"HASH\"")
            .replace("basic-auth", "basic_auth"),
        basic_text(
            "[authentications.x]\nmethod = \"basic\"\n\
             options = { username = \"admin\", password_hash = \"HASH\" }",
        )
        .replace(
            "type = \"basic-auth\"",
            "authentication = \"authentications.x\"",
        ),
        basic_text(
            "authentication = \"authentications.x\"\n[authentications.x]\n\
             method = \"basic\"\nusers = [{ username = \"admin\", password_hash = \"HASH\" }]",
        ),
    ] {
        assert_eq!(*basic_settings(&ok(&text)), want, "{text}");
    }
}

#[test]
fn everything_written() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("htpasswd");
    std::fs::write(&file, "").unwrap();
    let text = basic_text(&format!(
        "optional = true\nrealm = \"r\"\nforward_credential = true\nfallback_on = \"failed\"\n\
         max_failures = 0\nusername = \"a\"\npassword_hash = \"HASH\"\n\
         users = [{{ username = \"b c\", password_hash = \"HASH\" }}]\nhtpasswd_path = {file:?}"
    ));
    let text = text.replace("[\"m\"]", "[\"m\", \"last\"]")
        + &format!("[middleware.last]\ntype = \"api_key\"\nkeys = [\"{DIGEST}\"]\n");
    let config = ok(&text);
    let step = auth_step(&config);
    assert!(step.optional && step.fallback_on_failed && step.forward_credential);
    let settings = basic_settings(&config);
    let names: Vec<_> = settings
        .users
        .iter()
        .map(|user| user.name.as_str())
        .collect();
    assert_eq!((names, settings.max_failures), (vec!["a", "b c"], 0));
    assert_eq!(settings.htpasswd_path.as_ref(), Some(&file));
    assert!(config.files.contains(&file));
    let alone = ok(&basic_text(&format!("htpasswd_path = {file:?}")));
    assert!(basic_settings(&alone).users.is_empty());
}

#[test]
fn the_older_harmony() {
    let text = with_step(
        "basic_auth",
        "[middleware.m.options]\nusername = \"test_user\"\npassword = \"hunter2\"\n\
         token_path = \"./tmp/token\"",
    );
    let config = ok(&text);
    assert_eq!(
        basic_settings(&config).users,
        [user("test_user", plain("hunter2"))]
    );
    let warnings = warnings(&config);
    assert!(
        warnings.len() == 1 && warnings[0].contains("hash-password"),
        "{warnings:?}"
    );
    assert!(!warnings[0].contains("hunter2"));
    let inbound = with_step(
        "basic_auth",
        "authentication = \"authentications.x\"\n[authentications.x]\nid = \"x\"\n\
         method = \"basic\"\noptions = { username = \"u\", password = \"hunter2\" }",
    );
    let config = ok(&inbound);
    assert_eq!(basic_settings(&config).users, [user("u", plain("hunter2"))]);
    assert!(
        config
            .notes
            .iter()
            .any(|note| note.warning && note.text.contains("authentication"))
    );
}

#[test]
fn weak_and_slow_hashes_are_told() {
    for (cost, want) in [("04", 1), ("09", 1), ("10", 0), ("14", 0), ("15", 1)] {
        let config = ok(&basic_text("username = \"a\"\npassword_hash = \"HASH\"")
            .replace("$12$", &format!("${cost}$")));
        assert_eq!(warnings(&config).len(), want, "{cost}");
    }
}

#[test]
fn basic_refusals() {
    let hash = "is not a bcrypt hash ($2a$, $2b$ or $2y$ with a cost of 4 to 31, 60 characters); \
                make one with `harmony-edge hash-password`";
    for (settings, want) in [
        (
            "",
            "22: middleware.m: has no users; add username and password_hash",
        ),
        ("max_failures = 3", "has no users"),
        (
            "username = \"a\"",
            "middleware.m.password_hash: is missing; make one with `harmony-edge hash-password`",
        ),
        (
            "password_hash = \"HASH\"",
            "middleware.m.username: is missing",
        ),
        ("username = \"a\"\npassword_hash = \"$2b$12$...\"", hash),
        ("username = \"a\"\npassword_hash = \"hunter2\"", hash),
        ("username = \"a\"\npassword_hash = \"${EMPTY}\"", hash),
        (
            "username = \"a\"\npassword_hash = \"$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00\"",
            hash,
        ),
        (
            "username = \"a\"\npassword_hash = \"HASH\"\npassword = \"hunter2\"",
            "is a second password beside `password_hash`",
        ),
        (
            "username = \"a\"\npassword = \"\"",
            "middleware.m.password: is empty after filling in",
        ),
        (
            "username = \"a\"\npassword = \"a\\nb\"",
            "is a password with control characters",
        ),
        (
            "username = \"a:b\"\npassword_hash = \"HASH\"",
            "middleware.m.username: is a user name with a colon",
        ),
        (
            "username = \"Zoë\"\npassword_hash = \"HASH\"",
            "must be a user name in visible ASCII",
        ),
        (
            "username = \"\"\npassword_hash = \"HASH\"",
            "must be a user name in visible ASCII",
        ),
        ("users = []", "middleware.m.users: is empty"),
        (
            "users = [{ username = \"a\" }]",
            "middleware.m.users[0].password_hash: is missing",
        ),
        (
            "users = [{ username = \"a\", password_hash = \"HASH\", pasword = 1 }]",
            "unknown key \"pasword\"; did you mean \"password\"?",
        ),
        (
            "users = [{ username = \"a\", password_hash = \"HASH\" }, { username = \"a\", \
             password_hash = \"HASH\" }]",
            "users[1]: is a second user of that name",
        ),
        (
            "username = \"a\"\npassword_hash = \"HASH\"\n\
             users = [{ username = \"a\", password_hash = \"HASH\" }]",
            "is a second user of that name",
        ),
        (
            "htpasswd_path = \"/nowhere/htpasswd\"",
            "middleware.m.htpasswd_path: /nowhere/htpasswd cannot be read",
        ),
        (
            "username = \"a\"\npassword_hash = \"HASH\"\nmax_failures = -1",
            "max_failures: must be from 0 to",
        ),
        (
            "username = \"a\"\npassword_hash = \"HASH\"\nmax_failure = 1",
            "unknown key \"max_failure\"; did you mean \"max_failures\"?",
        ),
    ] {
        one_error_without_secrets(&basic_text(settings), want);
    }
    let long = "x".repeat(73);
    one_error_without_secrets(
        &basic_text(&format!("username = \"a\"\npassword = \"{long}\"")),
        "is a password over 72 bytes",
    );
}

#[test]
fn what_deserves_a_word() {
    let past = key_text("keys = [{ hash = \"DIGEST\", expires_at = \"2001-01-01T00:00:00Z\" }]");
    assert!(warnings(&ok(&past))[0].contains("has passed: the key is refused"));
    let pepper = key_text("keys = [\"DIGEST\"]\npepper = \"hunter2\"");
    assert!(warnings(&ok(&pepper))[0].contains("no key was made with the pepper"));
    for text in [
        key_text("keys = [\"DIGEST\"]"),
        basic_text("username = \"a\"\npassword_hash = \"HASH\""),
    ] {
        let exposed = ok(&text.replacen("127.0.0.1", "0.0.0.0", 1));
        let exposed = warnings(&exposed);
        assert!(
            exposed.len() == 1
                && exposed[0].contains(
                    "step \"m\" takes a password or a key over network \
                     \"public\", which is not encrypted"
                ),
            "{exposed:?}"
        );
        assert!(ok(&text.replacen("127.0.0.1", "::1", 1)).notes.is_empty());
    }
    let jwt = format!("{BASE}{PIPELINE}{JWT}")
        .replacen("127.0.0.1", "0.0.0.0", 1)
        .replace("middleware = []", "middleware = [\"jwt\"]");
    assert!(ok(&jwt).notes.is_empty());
}

#[test]
fn types_and_tables_have_to_agree() {
    let text = |kind: &str, method: &str| {
        with_step(
            kind,
            &format!(
                "authentication = \"authentications.x\"\n[authentications.x]\nmethod = {method}"
            ),
        )
        .replace("DIGEST", DIGEST)
    };
    one_error_without_secrets(
        &text("jwt-auth", "\"api_key\"\nkeys = [\"DIGEST\"]"),
        "means a api-key step; remove `type`, or name another table",
    );
    one_error_without_secrets(
        &text(
            "api-key",
            "\"basic\"\nusername = \"u\"\npassword = \"hunter2\"",
        ),
        "means a basic-auth step",
    );
    one_error_without_secrets(
        &text(
            "basic-auth",
            "\"basic\"\nusername = \"Zoë\"\npassword = \"hunter2\"",
        ),
        "middleware.m.authentication: must be a user name in visible ASCII",
    );
    one_error_without_secrets(
        &text(
            "api-key",
            "\"api_key\"\ncredentials_path = \"x\"\nkeys = [\"DIGEST\"]",
        ),
        "credentials_path is not served by this version; write keys = [\"sha256:...\"]",
    );
    one_error_without_secrets(
        &text(
            "api-key",
            "\"api_key\"\nkeys = [\"DIGEST\"]\nusername = \"u\"",
        ),
        "unknown key \"username\"",
    );
    one_error_without_secrets(
        &text(
            "basic-auth",
            "\"basic\"\nusers = [{ username = \"u\", password_hash = \"hunter2\" }]",
        ),
        "is not a bcrypt hash",
    );
    let guard = format!(
        "{BASE}{PIPELINE}[authentications.x]\nmethod = \"api_key\"\nkeys = [\"{DIGEST}\"]\n"
    )
    .replace(
        "service = \"http\"",
        "service = \"http\"\nauthentication = \"authentications.x\"",
    );
    assert_eq!(key_settings(&ok(&guard)).keys.len(), 1);
}
