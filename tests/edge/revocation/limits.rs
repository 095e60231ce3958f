//! How many entries are kept, and for how long.

use std::time::Duration;

use serde_json::json;

use super::{delete, page, revoke, revoked, revoked_as, status};
use crate::support::poll::becomes_true;
use crate::support::token::{ISSUER, now};
use crate::support::{Edge, Issuer, Upstream};

#[test]
fn at_the_bound_a_new_entry_is_refused_aloud_and_no_old_one_is_dropped() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge =
        Edge::with_jwt(&issuer, &upstream).and("[revocations]\nmax_revocations = 3\n").start();
    let ids: Vec<String> =
        ["a", "b", "c"].map(|jti| revoked(&edge, "jti", jti)).into_iter().collect();
    for entry in [
        json!({ "issuer": ISSUER, "jti": "d" }),
        json!({ "revocations": [
            { "issuer": ISSUER, "jti": "a" },
            { "issuer": ISSUER, "jti": "d" }
        ] }),
    ] {
        let refused = revoke(&edge, &entry);
        assert_eq!(refused.status, 507, "{entry}");
        assert!(refused.json()["message"].as_str().unwrap().contains("full (3 of 3)"));
    }
    revoked(&edge, "jti", "a");
    for jti in ["a", "b", "c"] {
        assert_eq!(status(&edge, &issuer.token().claim("jti", jti).sign()), 401, "{jti}");
    }
    assert_eq!(status(&edge, &issuer.token().claim("jti", "d").sign()), 200);
    let words = "revocation rejected: the list of revocations is full (3 of 3)";
    assert!(becomes_true(Duration::from_secs(20), || edge.log().contains(words)));
    let metrics = edge.manage("/metrics").send().text();
    for line in [
        "harmony_revocations 3",
        "harmony_revocations_limit 3",
        "harmony_revocations_turned_away_total 3",
        "harmony_revocation_failures_total 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }
    let told = &edge.manage("/admin/status").send().json()["revocations"];
    assert_eq!(
        (&told["entries"], &told["max"], &told["turned_away"]),
        (&json!(3), &json!(3), &json!(3))
    );
    assert_eq!(delete(&edge, &ids[1]), 204);
    revoked(&edge, "jti", "d");
}

#[test]
fn a_reload_raises_the_bound() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).and("[revocations]\nmax_revocations = 1\n").start();
    revoked_as(&edge, json!({ "key": "a" }));
    assert_eq!(revoke(&edge, &json!({ "key": "b" })).status, 507);
    edge.rewrite(|text| text.replace("max_revocations = 1", "max_revocations = 2"));
    assert_eq!(edge.steer("POST", "/admin/reload").send().status, 200);
    revoked_as(&edge, json!({ "key": "b" }));
}

/// An entry that is dropped after `keep_secs` leaves behind that tokens of its time are no longer
/// trusted: one that lives longer could be the one that was revoked.
#[test]
fn what_outlives_its_entry_does_not_come_back() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream)
        .and("[revocations]\nkeep_secs = 1\nmax_revocations = 1\n")
        .start();
    let old = issuer.token().claim("iat", now() - 5).sign();
    let others = issuer.token().claim("iat", now() - 5).claim("sub", "bob").sign();
    let timeless = issuer.token().without("iat").claim("sub", "bob").sign();
    revoked(&edge, "sub", "alice");
    assert_eq!([&old, &others, &timeless].map(|token| status(&edge, token)), [401, 200, 200]);
    std::thread::sleep(Duration::from_millis(2500));
    // There is no room for it before the other one is dropped.
    revoked_as(&edge, json!({ "key": "robot" }));
    assert_eq!(page(&edge, "")["total"], 1);
    assert_eq!(
        [&old, &others, &timeless].map(|token| status(&edge, token)),
        [401, 401, 401],
        "each of them may be one that was revoked"
    );
    let new = issuer.token().sign();
    assert_eq!(status(&edge, &new), 200);
}

#[test]
fn nonsense_in_the_table_is_an_error() {
    use crate::support::Program;
    let upstream = Upstream::start();
    for (line, words) in [
        ("keep_secs = 0", "keep_secs"),
        ("max_revocations = 0", "max_revocations"),
        ("max_entries = 5", "max_entries"),
    ] {
        let settings = crate::support::Settings::open(&upstream)
            .and(&format!("[revocations]\n{line}\n"))
            .text()
            .replace("{port}", "1")
            .replace("{mport}", "2");
        let ran = Program::check(&settings).run();
        assert_eq!(ran.status, Some(1), "{line}");
        ran.error_with(&["revocations", words]);
    }
}
