//! What is said about a mistake: one line that names the place, and what to write.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::{GOOD, line_of, with};
use crate::support::poll::becomes_true;
use crate::support::{Edge, Program, Upstream};

/// The lines of standard error, without the file's name.
#[track_caller]
fn told(text: &str) -> Vec<String> {
    let ran = Program::check(text).run();
    assert_eq!(ran.status, Some(1), "{text}\n{}", ran.stderr);
    ran.stderr.lines().map(|line| line.replace("harmony.toml:", "")).collect()
}

#[test]
fn a_file_of_another_format_is_told_once() {
    for (text, format) in [
        ("proxy:\n  id: edge\nnetwork:\n  public:\n    http: {}\n", "YAML"),
        ("{ \"proxy\": { \"id\": \"edge\" } }\n", "JSON"),
        (
            "http {\n  server {\n    listen 80;\n    location / {\n      proxy_pass \
             http://h;\n    }\n  }\n}\n",
            "a file with blocks in braces, as nginx has them",
        ),
    ] {
        let lines = told(text);
        let line = format!("1: is {format}; the configuration is written in TOML; ");
        assert!(lines.len() == 1 && lines[0].starts_with(&line), "{lines:#?}");
    }
}

#[test]
fn the_better_wording() {
    let jwks = "jwks_url = \"http://127.0.0.1:1/jwks.json\"";
    let rows = [
        (
            "[backends.app]",
            "[backends.app]\n[backends.app]",
            "backends.app is defined twice: also at ",
        ),
        ("\"RS256\"", "\"rs256\"", "unknown algorithm \"rs256\"; did you mean \"RS256\"?"),
        (
            "\"RS256\"",
            "RS256",
            "string values must be quoted, expected literal string; write it in quotes: algorithm \
             = \"...\"",
        ),
        (
            "timeout_secs = 30",
            "timeout_secs = \"30s\"",
            "expected an integer, found a string; write timeout_secs = 30, a number of seconds \
             without quotes",
        ),
        ("timeout_secs = 30", "timeout_secs = \"30\"", "write timeout_secs = 30, without quotes"),
        ("bind_port = 18080", "bind_port = \":18080\"", "write bind_port = 18080, without quotes"),
        (
            "enabled = true",
            "enabled = \"yes\"",
            "expected a boolean, found a string; write enabled = true, without quotes",
        ),
        ("enabled = true", "enabled = True", "write enabled = true or enabled = false"),
        (
            "endpoints = [\"api\"]",
            "endpoints = \"api\"",
            "put it in brackets: endpoints = [\"...\"]",
        ),
        (
            jwks,
            "jwks_url = \"$JWKS_URL\"",
            "$JWKS_URL is not filled in without braces; write ${JWKS_URL}",
        ),
        (
            "http://127.0.0.1:3000",
            "http://$APP_HOST:3000",
            "$APP_HOST is not filled in without braces; write ${APP_HOST}",
        ),
        (
            jwks,
            "jwks = \"http://127.0.0.1:1/jwks.json\"",
            "unknown key \"jwks\"; known keys near it: \"jwks_",
        ),
        (
            "type = \"jwt-auth\"",
            "type = \"jwt\"",
            "unknown step type \"jwt\"; did you mean \"jwt-auth\"?",
        ),
        ("[management]", "[admin]", "unknown key \"admin\"; known: "),
    ];
    for (piece, other, expected) in rows {
        let text = with(piece, other);
        let place = format!("{}: ", line_of(&text, other.lines().last().unwrap()));
        let lines = told(&text);
        let found = lines.iter().any(|line| line.contains(expected));
        assert!(found, "{other}\nwant {expected}\ngot {lines:#?}");
        if !other.contains('\n') {
            let placed = lines.iter().any(|line| line.starts_with(&place));
            assert!(placed, "{place}: {lines:#?}");
        }
    }
}

#[test]
fn secrets_that_stand_in_the_file_and_who_can_read_them() {
    let literal = with(
        "  algorithm = \"RS256\",\n  jwks_url = \"http://127.0.0.1:1/jwks.json\", # nobody is \
         there\n",
        "  algorithm = \"HS256\",\n  secret = \"0123456789abcdef0123456789abcdef\",\n",
    );
    let program = Program::check(&literal);
    let line = format!("harmony.toml:{}: ", line_of(&literal, "secret ="));
    let told =
        "middleware.jwt.config.secret: the secret stands in the file as it is; write \"${NAME}\"";
    for (mode, readable) in [(0o644, true), (0o640, false), (0o600, false), (0o604, true)] {
        let file = program.directory().join("harmony.toml");
        std::fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
        let ran = program.run();
        ran.assert_ok("a secret in the file");
        ran.error_with(&[&format!("warning: {line}{told}")]);
        let said = "harmony.toml: it holds secrets, and every user of this machine can read it";
        assert_eq!(ran.stderr.contains(said), readable, "{mode:o}: {}", ran.stderr);
        assert!(!ran.stderr.contains("0123456789abcdef"), "{}", ran.stderr);
    }
    let referred = literal.replace("0123456789abcdef0123456789abcdef", "${JWT_SECRET}");
    let ran = Program::check(&referred).env("JWT_SECRET", &"s".repeat(32)).run();
    ran.assert_ok("a reference");
    assert_eq!(ran.stderr, "");
}

#[test]
fn runbeam_that_nothing_can_authorize_and_a_short_secret() {
    let on = format!("{GOOD}\n[runbeam]\nenabled = true\ntoken_store = \"file\"\n");
    let off = on.replace("[management]\nenabled = true", "[management]\nenabled = false");
    let ran = Program::check(&on).run();
    ran.assert_ok("a Management API authorizes it");
    assert_eq!(ran.stderr, "");
    let ran = Program::check(&off).run();
    ran.assert_ok("nothing does");
    ran.error_with(&["warning: ", "nothing can authorize this gateway: [management] is off"]);
    let program = Program::check(&on).env("RUNBEAM_JWT_SECRET", "tooShortToBeASecret");
    let ran = program.run();
    ran.assert_ok("a short secret");
    ran.error_with(&["warning: ", "RUNBEAM_JWT_SECRET is shorter than 32 bytes"]);
    assert!(!ran.stderr.contains("tooShort"), "{}", ran.stderr);
    let plain = Program::check(GOOD).env("RUNBEAM_JWT_SECRET", "tooShortToBeASecret").run();
    assert_eq!(plain.stderr, "", "without the cloud, nobody uses it");
}

#[test]
fn hashes_of_a_low_cost_in_a_file_of_users() {
    let text = with("type = \"jwt-auth\"", "type = \"basic-auth\"");
    let config = &text[text.find("config = {").unwrap()..=text.find("}\n\n[backends").unwrap()];
    let text = text.replace(config, "config = { htpasswd_path = \"users\" }");
    let hash =
        |cost: &str| format!("$2y${cost}$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC");
    let users = format!("# users\na:{}\nb:{}\nc:{}\n", hash("12"), hash("05"), hash("05"));
    let ran = Program::check(&text).file("users", &users).run();
    ran.assert_ok("a low cost");
    ran.error_with(&["warning: ", "htpasswd_path: line 3 and 1 more of ", "bcrypt cost 5 is low"]);
    let good = format!("a:{}\n", hash("12"));
    assert_eq!(Program::check(&text).file("users", &good).run().stderr, "");
}

#[test]
fn the_start_shows_what_goes_where_and_does_not_say_that_nothing_has_changed() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).watching().start();
    let line = format!(
        "pipeline api (open: anyone may pass): /api/* -> http://127.0.0.1:{}/*",
        upstream.port()
    );
    assert!(edge.log().contains(&line), "{line}: {}", edge.log());
    // The watcher has looked once it sees a change.
    edge.rewrite(|text| {
        text.replace("path_prefix = \"/api\"", "path_prefix = \"/api\"\nstrip_prefix = false")
    });
    let reloaded = || edge.log().contains("generation 2 is in service");
    assert!(becomes_true(Duration::from_secs(10), reloaded), "{}", edge.log());
    assert!(!edge.log().contains("nothing has changed"), "{}", edge.log());
    assert_eq!(edge.get("/api/x").send().text(), "/api/x", "the prefix is kept");
}
