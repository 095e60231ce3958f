//! `harmony-edge revoke`, by hand at run time.

use serde_json::{Value, json};

use super::{page, status};
use crate::support::edge::command;
use crate::support::token::ISSUER;
use crate::support::{Edge, Issuer, Upstream};

/// Runs the command beside a running edge: status, standard output and standard error.
fn run(edge: &Edge, arguments: &[&str], token: Option<&str>) -> (Option<i32>, String, String) {
    let mut command = command(edge.directory());
    command.args(["revoke", "-c", "harmony.toml"]).args(arguments);
    command.envs(token.map(|token| ("HARMONY_MANAGEMENT_TOKEN", token)));
    let output = command.output().expect("the binary runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn it_revokes_lists_and_deletes() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let token = issuer.token().claim("jti", "t-1").sign();
    assert_eq!(status(&edge, &token), 200);
    let (code, id, errors) = run(&edge, &["--issuer", ISSUER, "--jti", "t-1"], None);
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(status(&edge, &token), 401);
    let (_, list, _) = run(&edge, &["--list"], None);
    let listed: Value = serde_json::from_str(list.trim()).expect("a line of JSON");
    assert_eq!((&listed["id"], &listed["jti"]), (&json!(id.trim()), &json!("t-1")));
    let (code, out, _) = run(&edge, &["--delete", id.trim()], None);
    assert_eq!((code, out.as_str()), (Some(0), ""));
    assert_eq!(status(&edge, &token), 200);
    let (code, _, errors) = run(&edge, &["--delete", id.trim()], None);
    assert_eq!(code, Some(1));
    assert!(errors.contains("404 there is no such revocation"), "{errors}");
    for arguments in [
        &["--key", "robot", "--until", "2999-12-31T23:59:59Z"][..],
        &["--certificate", &"ab".repeat(32)],
        &["--issuer", ISSUER, "--before", "1700000000"],
        &["--issuer", ISSUER, "--sub", "dave", "--before", "2020-01-01T00:00:00Z"],
    ] {
        let (code, _, errors) = run(&edge, arguments, None);
        assert_eq!(code, Some(0), "{arguments:?}: {errors}");
    }
    let page = page(&edge, "");
    let entries = page["revocations"].as_array().unwrap();
    let has = |name: &str, value: Value| entries.iter().any(|entry| entry[name] == value);
    assert!(has("until", json!(32_503_679_999_i64)), "{page}");
    assert!(has("before", json!(1_577_836_800)) && has("before", json!(1_700_000_000)), "{page}");
}

#[test]
fn wrong_usage_is_2_and_a_refusal_is_1() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).start();
    for arguments in [
        &[][..],
        &["--jti", "x"],
        &["--issuer", ISSUER, "--jti", "x", "--sub", "y"],
        &["--issuer", ISSUER, "--key", "k"],
        &["--key", "k", "--before", "7"],
        &["--key", "k", "--until", "tomorrow"],
    ] {
        assert_eq!(run(&edge, arguments, None).0, Some(2), "{arguments:?}");
    }
    let (code, _, errors) = run(&edge, &["--certificate", "ab"], None);
    assert_eq!(code, Some(1));
    assert!(errors.contains("400 certificate is not a SHA-256"), "{errors}");
    let (code, _, errors) = run(&edge, &["--delete", "../reload"], None);
    assert_eq!(code, Some(1));
    assert!(errors.contains("not the id of a revocation"), "{errors}");
    assert_eq!(page(&edge, "")["total"], 0);
}

#[test]
fn the_management_token_comes_from_the_environment_or_a_file() {
    let upstream = Upstream::start();
    let hash = ring::digest::digest(&ring::digest::SHA256, b"the management token");
    let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let edge =
        Edge::open(&upstream).file("token", "the management token\n").file("empty", "\n").start();
    edge.rewrite(|text| {
        text.replace("[management]\n", &format!("[management]\ntoken_hash = \"{hex}\"\n"))
    });
    let mut edge = edge;
    edge.restart();
    let key = ["--key", "robot"];
    let (code, _, errors) = run(&edge, &key, None);
    assert_eq!(code, Some(1));
    assert!(errors.contains("HARMONY_MANAGEMENT_TOKEN"), "{errors}");
    assert_eq!(run(&edge, &key, Some("another")).0, Some(1));
    assert_eq!(run(&edge, &key, Some("the management token")).0, Some(0));
    let file = |name| ["--key", "robot", "--token-file", name];
    assert_eq!(run(&edge, &file("token"), Some("another")).0, Some(0), "the file wins");
    for name in ["empty", "absent"] {
        assert_eq!(run(&edge, &file(name), None).0, Some(1), "{name}");
    }
}

#[test]
fn without_the_management_api_it_says_so() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).start();
    edge.rewrite(|text| text.replace("enabled = true", "enabled = false"));
    let (code, _, errors) = run(&edge, &["--key", "k"], None);
    assert_eq!(code, Some(1));
    assert!(errors.contains("the Management API is off"), "{errors}");
}
