//! The issuer fails: tokens of known keys go on, seen before or not.

use std::thread;
use std::time::Duration;

use crate::row::{Row, metric};
use crate::support::issuer::Answer;
use crate::support::{Edge, Issuer, Upstream};
use crate::traffic::Traffic;

const FETCHED: &str = "harmony_jwks_last_fetch_successful";

#[test]
fn the_issuer_fails_in_every_way() {
    let (mut issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).quiet().start();
    let rows: [(&str, Option<Answer>, &str); 6] = [
        ("issuer dies", None, "Connection refused"),
        ("issuer hangs", Some(Answer::Silence), "no answer within 10 s"),
        ("issuer answers 1 GB", Some(Answer::Endless), "larger than 1 MiB"),
        ("issuer answers 500", Some(Answer::Status(500)), "the status is 500"),
        ("issuer answers no JSON", Some(Answer::Garbage), "not a JSON object"),
        ("issuer answers 20 MB", Some(Answer::Huge), "larger than 1 MiB"),
    ];
    for (fault, answer, why) in rows {
        let mut row = Row::begin(fault, &edge, Traffic::with_tokens(&edge, &issuer, "/api/x"));
        match answer {
            Some(answer) => issuer.answer(answer),
            None => issuer.stop(),
        }
        thread::scope(|scope| {
            scope.spawn(|| edge.steer("POST", "/admin/keys/refresh").send());
            row.sees_line(&[
                "WARN",
                "key set",
                "cannot be fetched",
                why,
                "the last good keys go on serving",
            ]);
        });
        row.sees_metric(FETCHED, |value| value == 0.0);
        row.sees_metric("harmony_jwks_keys", |value| value == 1.0);
        issuer.answer_well();
        if fault == "issuer dies" {
            issuer.restart();
        }
        row.recovers(|| metric(&edge, FETCHED).is_some_and(|(_, value)| value == 1.0));
        row.sees_line(&["key set", "fetched again"]);
        assert!(
            issuer.endless_written() < 64 << 20,
            "{} bytes were taken of 1 GB",
            issuer.endless_written()
        );
        row.end(32);
    }
}

/// A new key comes while the issuer cannot be reached: its tokens wait for the issuer, and pass
/// then.
#[test]
fn a_rotation_during_an_outage_passes_after_it() {
    let (mut issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).jwt("jwks_cooldown_secs = 1").quiet().start();
    let mut row = Row::begin(
        "keys rotate while the issuer is dead",
        &edge,
        Traffic::with_tokens(&edge, &issuer, "/api/x"),
    );
    issuer.stop();
    let old = issuer.signing_key();
    issuer.rotate("k2", 1);
    issuer.publish(vec![old.jwk("k1"), issuer.signing_key().jwk("k2")]);
    let new = issuer.token().sign();
    let get = || edge.get("/api/x").bearer(&new).send().status;
    assert_eq!(get(), 401);
    row.sees_line(&["reason=unknown_kid"]);
    thread::sleep(Duration::from_secs(1));
    assert_eq!(get(), 401);
    issuer.restart();
    row.recovers(|| get() == 200);
    row.end(32);
}
