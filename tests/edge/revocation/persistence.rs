//! The log of revocations in the state directory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{delete, page, revoke, revoked, revoked_as, status};
use crate::support::edge::command;
use crate::support::poll::becomes_true;
use crate::support::token::ISSUER;
use crate::support::{Edge, Issuer, Upstream};

fn log(edge: &Edge) -> PathBuf {
    edge.state().join("revocations.log")
}

/// How often the process is killed; 200 by hand.
fn kills() -> usize {
    std::env::var("HARMONY_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(8)
}

#[test]
fn killed_right_after_the_answer_it_loses_none() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let mut edge = Edge::with_jwt(&issuer, &upstream).quiet().start();
    let mut ids = Vec::new();
    for number in 0..kills() {
        let jti = number.to_string();
        ids.push(revoked(&edge, "jti", &jti));
        if number % 4 == 3 {
            assert_eq!(delete(&edge, &ids.remove(0)), 204);
        }
        edge.restart();
        assert_eq!(status(&edge, &issuer.token().claim("jti", jti).sign()), 401, "{number}");
        assert_eq!(page(&edge, "")["total"], ids.len(), "{number}");
    }
}

#[test]
fn a_hundred_thousand_entries() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let mut edge = Edge::with_jwt(&issuer, &upstream).quiet().start();
    for batch in 0..20 {
        let entries: Vec<Value> = (0..5000)
            .map(|number| json!({ "issuer": ISSUER, "jti": format!("{batch}-{number}") }))
            .collect();
        let answer = revoke(&edge, &json!({ "revocations": entries }));
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    assert_eq!(page(&edge, "?limit=1")["total"], 100_000);
    assert_eq!(revoke(&edge, &json!({ "key": "x" })).status, 507);
    let began = Instant::now();
    edge.restart();
    println!("a start with 100,000 entries: {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(20), "this build is not optimized");
    assert_eq!(page(&edge, "?limit=1")["total"], 100_000);
    let token = |jti: &str| issuer.token().claim("jti", jti).sign();
    assert_eq!(status(&edge, &token("7-1234")), 401);
    assert_eq!(status(&edge, &token("7-5000")), 200);
}

#[test]
fn the_log_is_private_and_made_shorter() {
    let upstream = Upstream::start();
    let mut edge = Edge::open(&upstream).quiet().start();
    let mode = |edge: &Edge| fs::metadata(log(edge)).unwrap().permissions().mode() & 0o777;
    revoked_as(&edge, json!({ "key": "a" }));
    assert_eq!(mode(&edge), 0o600);
    let entries: Vec<Value> = (0..1500).map(|_| json!({ "key": "a" })).collect();
    let lines = |edge: &Edge| fs::read_to_string(log(edge)).unwrap().lines().count();
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(revoke(&edge, &json!({ "revocations": entries })).status, 201);
    }
    assert!(lines(&edge) < 1500, "{}", lines(&edge));
    assert_eq!(mode(&edge), 0o600);
    edge.restart();
    assert_eq!(page(&edge, "")["total"], 1);
}

#[test]
fn what_a_crash_left_behind_is_cut_off_with_a_warning() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let mut edge = Edge::with_jwt(&issuer, &upstream).start();
    revoked(&edge, "jti", "a");
    let whole = fs::read(log(&edge)).unwrap();
    revoked(&edge, "jti", "b");
    let both = fs::read(log(&edge)).unwrap();
    for tail in [&both[whole.len()..both.len() - 7], &[0; 100][..], b"0"] {
        fs::write(log(&edge), [&whole, tail].concat()).unwrap();
        edge.restart();
        assert_eq!(status(&edge, &issuer.token().claim("jti", "a").sign()), 401);
        assert_eq!(status(&edge, &issuer.token().claim("jti", "b").sign()), 200);
        let words = format!("the last {} bytes are what a crash left behind", tail.len());
        assert!(becomes_true(Duration::from_secs(20), || edge.log().contains(&words)), "{words}");
        revoked(&edge, "jti", "c");
        edge.restart();
        assert_eq!(status(&edge, &issuer.token().claim("jti", "a").sign()), 401);
        assert_eq!(status(&edge, &issuer.token().claim("jti", "c").sign()), 401);
    }
}

#[test]
fn damage_elsewhere_keeps_the_process_from_starting() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).start();
    for key in ["a", "b", "c"] {
        revoked_as(&edge, json!({ "key": key }));
    }
    let whole = fs::read(log(&edge)).unwrap();
    let directory = edge.directory().to_owned();
    let starts = || {
        let mut command = command(&directory);
        let output = command.args(["-c", "harmony.toml"]).output().expect("the binary runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    // The process that runs goes on with what it knows; another one would not begin.
    for (place, line) in [(3, 1), (40, 2), (whole.len() / 2, 3)] {
        let mut damaged = whole.clone();
        damaged[place] ^= 1;
        fs::write(log(&edge), damaged).unwrap();
        let (status, errors) = starts();
        assert_eq!(status, Some(1), "{errors}");
        let words = format!("revocations.log: line {line} is damaged");
        assert!(errors.contains(&words), "{place}: {errors}");
    }
    fs::write(log(&edge), "garbage\n").unwrap();
    assert!(starts().1.contains("line 1 is damaged"));
    fs::write(log(&edge), "").unwrap();
    assert!(starts().1.contains("revocations.log is empty"), "a crash can have left it so");
    fs::write(log(&edge), &whole).unwrap();
    fs::set_permissions(log(&edge), fs::Permissions::from_mode(0o666)).unwrap();
    let (status, errors) = starts();
    assert_eq!(status, Some(1));
    assert!(errors.contains("others may have written it"), "{errors}");
    let refused = revoke(&edge, &json!({ "key": "d" }));
    assert_eq!(refused.status, 503, "nothing is promised that could not be kept");
    fs::set_permissions(log(&edge), fs::Permissions::from_mode(0o600)).unwrap();
    revoked_as(&edge, json!({ "key": "d" }));
    assert_eq!(page(&edge, "")["total"], 4);
}

#[test]
fn a_successor_knows_it_and_what_either_of_them_is_told() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let mut edge = Edge::with_jwt(&issuer, &upstream).start();
    revoked(&edge, "jti", "a");
    let mut kept = edge.connect();
    let token = |jti: &str| issuer.token().claim("jti", jti).sign();
    let mut old = edge.upgrade();
    assert_eq!(status(&edge, &token("a")), 401);
    revoked(&edge, "jti", "b");
    assert_eq!(status(&edge, &token("b")), 401);
    // The old process may have ended by now; if not, it has followed.
    std::thread::sleep(Duration::from_millis(1500));
    let request =
        format!("GET /api/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n", token("b"));
    kept.send(request);
    if let Ok(Some(answer)) = kept.try_response("GET") {
        assert_eq!(answer.status, 401);
    }
    let _ = old.wait();
}
