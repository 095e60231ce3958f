//! Key sets: rotation, withdrawal, outage, floods, and starting without any.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::issuer::{Answer, JWKS_PATH};
use crate::support::keys::RsaKey;
use crate::support::ports::Port;
use crate::support::server::Server;
use crate::support::{Edge, Issuer, Settings, Upstream, eventually};

const SOON: Duration = Duration::from_secs(15);

fn status(edge: &Edge, token: &str) -> u16 {
    edge.get("/api/x").bearer(token).send().status
}

#[test]
fn known_keys_go_on_when_the_issuer_dies() {
    let (mut issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).jwt("jwks_cooldown_secs = 1").start();
    let token = issuer.token().sign();
    assert_eq!(status(&edge, &token), 200);
    issuer.stop();
    for row in 0..20 {
        assert_eq!(status(&edge, &token), 200, "request {row} after the issuer's end");
        assert_eq!(
            status(&edge, &issuer.token().claim("jti", row).sign()),
            200,
            "a token that no cache has seen"
        );
    }
    assert_eq!(
        status(&edge, &issuer.token().kid("unknown").sign()),
        401,
        "an unknown key while the issuer is dead"
    );
    assert_eq!(status(&edge, &token), 200, "and still");
}

#[test]
fn known_keys_go_on_whatever_the_issuer_answers() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).jwt("jwks_cooldown_secs = 1").start();
    let token = issuer.token().sign();
    for answer in [
        Answer::Status(500),
        Answer::Status(404),
        Answer::Garbage,
        Answer::Huge,
        Answer::Keys(Vec::new()),
    ] {
        // A set without a usable key counts as a failed fetch.
        issuer.publish(if matches!(answer, Answer::Keys(_)) {
            Vec::new()
        } else {
            vec![issuer.signing_key().jwk("k1")]
        });
        let before = issuer.fetches();
        issuer.answer(answer.clone());
        // An unknown key makes the edge fetch, as soon as the cool-down lets it.
        eventually(&format!("a fetch: {answer:?}"), SOON, || {
            assert_eq!(
                status(&edge, &issuer.token().kid("unknown").sign()),
                401,
                "{answer:?}: an unknown key"
            );
            (issuer.fetches() > before).then_some(())
        });
        assert_eq!(status(&edge, &token), 200, "{answer:?}: the known key");
    }
    assert!(edge.resident_mib() < 150, "{} MiB after a key set of 20 MB", edge.resident_mib());
}

#[test]
fn a_new_key_passes_at_once_and_costs_one_fetch() {
    let (mut issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let old = issuer.token().sign();
    assert_eq!(status(&edge, &old), 200);
    let before = issuer.fetches();
    issuer.rotate("k2", 1);
    assert_eq!(status(&edge, &issuer.token().sign()), 200, "the first token of the new key");
    assert_eq!(issuer.fetches(), before + 1);
    assert_eq!(status(&edge, &old), 401, "the withdrawn key, though its token was cached");
    assert_eq!(status(&edge, &issuer.token().sign()), 200);
    assert_eq!(issuer.fetches(), before + 1, "the withdrawn key is in its cool-down");
}

#[test]
fn many_requests_for_a_new_key_share_one_fetch() {
    let (mut issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let known = issuer.token().sign();
    issuer.rotate("k2", 1);
    issuer.publish(vec![RsaKey::number(0).jwk("k1"), RsaKey::number(1).jwk("k2")]);
    issuer.answer(Answer::Slowly(Duration::from_secs(1)));
    let before = issuer.fetches();
    let new: Vec<String> =
        (0..20).map(|number| issuer.token().claim("jti", number).sign()).collect();
    thread::scope(|scope| {
        let waiting: Vec<_> =
            new.iter().map(|token| scope.spawn(|| status(&edge, token))).collect();
        let started = Instant::now();
        assert_eq!(status(&edge, &known), 200);
        assert!(
            started.elapsed() < Duration::from_millis(800),
            "a known key never waits for a fetch: {:?}",
            started.elapsed()
        );
        for thread in waiting {
            assert_eq!(thread.join().unwrap(), 200);
        }
    });
    assert_eq!(issuer.fetches(), before + 1);
}

#[test]
fn ten_thousand_unknown_keys_cause_one_fetch() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).quiet().start();
    let before = issuer.fetches();
    let known = issuer.token().sign();
    // Only the header differs: that saves 10,000 signatures, and an unknown key is never tried on
    // one.
    let rest = known.split_once('.').map(|(_, rest)| rest).unwrap();
    let flood: Vec<String> = (0..10_000)
        .map(|number| {
            format!(
                "{}.{rest}",
                crate::support::keys::base64url(
                    json!({ "alg": "RS256", "kid": format!("no-{number}") }).to_string()
                )
            )
        })
        .collect();
    thread::scope(|scope| {
        for part in flood.chunks(flood.len() / 4) {
            let edge = &edge;
            scope.spawn(move || {
                let mut client = edge.connect();
                for token in part {
                    let response = client.send(edge.get("/api/x").bearer(token).bytes()).response();
                    assert_eq!(response.status, 401);
                }
            });
        }
        for _ in 0..50 {
            assert_eq!(status(&edge, &known), 200, "a known key during the flood");
        }
    });
    assert!(issuer.fetches() - before <= 1, "{} fetches", issuer.fetches() - before);
}

#[test]
fn an_unknown_key_waits_no_longer_than_five_seconds() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    issuer.answer(Answer::Silence);
    let known = issuer.token().sign();
    let unknown = issuer.token().kid("unknown").sign();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let started = Instant::now();
            (status(&edge, &unknown), started.elapsed())
        });
        for _ in 0..20 {
            let started = Instant::now();
            assert_eq!(status(&edge, &known), 200);
            assert!(
                started.elapsed() < Duration::from_secs(2),
                "a known key meanwhile: {:?}",
                started.elapsed()
            );
        }
        let (status, waited) = waiting.join().unwrap();
        assert_eq!(status, 401);
        assert!(waited < Duration::from_secs(7), "{waited:?}");
    });
}

#[test]
fn after_the_cool_down_an_unknown_key_is_fetched_again() {
    let (mut issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).jwt("jwks_cooldown_secs = 2").start();
    assert_eq!(status(&edge, &issuer.token().kid("unknown").sign()), 401);
    issuer.rotate("k2", 1);
    let token = issuer.token().sign();
    assert_eq!(status(&edge, &token), 401, "within the cool-down");
    eventually("the new key after the cool-down", SOON, || {
        (status(&edge, &token) == 200).then_some(())
    });
}

#[test]
fn a_start_without_keys_is_503_until_they_come() {
    for answer in [Answer::Status(500), Answer::Garbage, Answer::Huge, Answer::Keys(Vec::new())] {
        let (issuer, upstream) = (Issuer::start(), Upstream::start());
        issuer.publish(Vec::new());
        issuer.answer(answer.clone());
        let edge = Edge::with_jwt(&issuer, &upstream).start();
        let token = issuer.token().sign();
        assert_eq!(status(&edge, &token), 503, "{answer:?}");
        assert_eq!(upstream.connections(), 0, "{answer:?}");
        issuer.publish(vec![issuer.signing_key().jwk("k1")]);
        issuer.answer_well();
        eventually(&format!("recovery by itself: {answer:?}"), SOON, || {
            (status(&edge, &token) == 200).then_some(())
        });
    }
}

#[test]
fn a_start_before_the_issuer_recovers_too() {
    let (mut issuer, upstream) = (Issuer::start(), Upstream::start());
    issuer.stop();
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let token = issuer.token().sign();
    assert_eq!(status(&edge, &token), 503);
    issuer.restart();
    eventually("recovery by itself", SOON, || (status(&edge, &token) == 200).then_some(()));
}

#[test]
fn the_start_does_not_wait_for_a_silent_issuer() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    issuer.answer(Answer::Silence);
    let started = Instant::now();
    let edge = Edge::with_jwt(&issuer, &upstream).start_listening();
    assert_eq!(edge.get("/api/x").send().status, 401, "who presents nothing");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_ne!(
        edge.manage("/ready").send().status,
        200,
        "not ready before the first key set was tried"
    );
    eventually("ready after 10 s, keys or not", Duration::from_secs(20), || {
        (edge.manage("/ready").send().status == 200).then_some(())
    });
}

#[test]
fn the_last_good_set_survives_a_restart() {
    let (mut issuer, upstream) = (Issuer::start(), Upstream::start());
    let mut edge = Edge::with_jwt(&issuer, &upstream).proxy("state_dir = \"{dir}/state\"").start();
    let token = issuer.token().sign();
    assert_eq!(status(&edge, &token), 200);
    let state = edge.directory().join("state");
    eventually("the set on the disk", SOON, || {
        files_below(&state).iter().any(|text| text.contains("\"k1\"")).then_some(())
    });
    for text in files_below(&state) {
        for private in ["\"d\"", "\"p\"", "\"q\"", "\"k\":"] {
            assert!(!text.contains(private), "public keys only: {private}");
        }
    }
    issuer.stop();
    edge.restart();
    assert_eq!(status(&edge, &token), 200, "with the issuer dead");
    assert_eq!(
        status(&edge, &issuer.token_of("k1", &RsaKey::number(1)).sign()),
        401,
        "another key"
    );
}

/// Files that are there to stay: a write ends with a rename, and its sync may take a while on a
/// busy disk.
fn files_below(directory: &std::path::Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_none_or(|extension| extension != "tmp"))
        .flat_map(|path| {
            if path.is_dir() {
                files_below(&path)
            } else {
                vec![
                    String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_default()).into_owned(),
                ]
            }
        })
        .collect()
}

#[test]
fn a_set_that_is_broken_on_the_disk_is_no_reason_to_fail() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let mut edge = Edge::with_jwt(&issuer, &upstream).proxy("state_dir = \"{dir}/state\"").start();
    let token = issuer.token().sign();
    assert_eq!(status(&edge, &token), 200);
    let state = edge.directory().join("state");
    eventually("the set on the disk", SOON, || (!files_below(&state).is_empty()).then_some(()));
    overwrite_below(&state);
    edge.restart();
    assert_eq!(status(&edge, &token), 200);
}

fn overwrite_below(directory: &std::path::Path) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            overwrite_below(&path);
        } else {
            std::fs::write(&path, b"{\"keys\": nonsense").unwrap();
        }
    }
}

#[test]
fn no_redirect_leads_to_another_host() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let port = Port::claim();
    let trap = Server::start_on(([127, 0, 0, 2], port.number()).into(), |_, _| {});
    issuer.answer(Answer::Redirect(format!("http://127.0.0.2:{port}{JWKS_PATH}")));
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    assert_eq!(status(&edge, &issuer.token().sign()), 503);
    assert_eq!(trap.accepted(), 0);
}

#[test]
fn steps_that_name_one_url_share_its_set() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let second = crate::support::settings::Route::to("second", &upstream)
        .prefix("/second")
        .steps(&["other"]);
    let step = format!(
        "[middleware.other]\ntype = \"jwt-auth\"\n\
         config = {{ jwks_url = \"{}\", issuer = \"https://auth.example.com\", audience = \
         \"other\" }}",
        issuer.url()
    );
    let edge =
        Edge::configured(Settings::with_jwt(&issuer, &upstream).and(&second.text()).and(&step))
            .start();
    assert_eq!(status(&edge, &issuer.token().sign()), 200);
    assert_eq!(
        edge.get("/second/x").bearer(&issuer.token().claim("aud", "other").sign()).send().status,
        200
    );
    assert_eq!(
        edge.get("/second/x").bearer(&issuer.token().sign()).send().status,
        401,
        "a verdict of one step is none of the other's"
    );
    assert_eq!(issuer.fetches(), 1);
}

#[test]
fn a_set_of_more_than_a_hundred_keys_is_refused() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let key: Arc<RsaKey> = issuer.signing_key();
    issuer.publish((0..101).map(|number| key.jwk(&format!("k{number}"))).collect());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    assert_eq!(status(&edge, &issuer.token().sign()), 503);
}

#[test]
fn a_set_that_is_published_as_common_servers_do_keeps_its_keys_in_service() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let (key, other) = (issuer.signing_key(), RsaKey::number(2));
    let unchanged = issuer.token().sign();
    let with = |name: &str, value: &str| {
        let mut jwk = other.jwk("k1");
        jwk[name] = json!(value);
        jwk
    };
    let mut under_each = key.jwk("k1");
    under_each["alg"] = json!("RS384");
    for (row, added) in [
        ("for encryption, as Keycloak does", with("use", "enc")),
        ("for RSA-OAEP", with("alg", "RSA-OAEP")),
        ("for another algorithm", with("alg", "RS512")),
        ("the same key for another algorithm", under_each),
        ("twice", key.jwk("k1")),
        ("another key for the same algorithm", other.jwk("k1")),
    ] {
        let bystander = RsaKey::number(4);
        issuer.publish(vec![added, key.jwk("k1"), bystander.jwk("k2")]);
        let refreshed = edge.steer("POST", "/admin/keys/refresh").send();
        assert_eq!(refreshed.status, 200, "{row}");
        assert_eq!(status(&edge, &unchanged), 200, "{row}: remembered");
        let fresh = issuer.token().claim("jti", row).sign();
        assert_eq!(status(&edge, &fresh), 200, "{row}: verified anew");
        let token = issuer.token_of("k2", &bystander).claim("jti", row).sign();
        assert_eq!(status(&edge, &token), 200, "{row}: the key beside it");
    }
    // Two of one name at the start: neither serves, and others do.
    issuer.publish(vec![other.jwk("k1"), RsaKey::number(4).jwk("k2"), key.jwk("k1")]);
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    for key in [&key, &other] {
        assert_eq!(status(&edge, &issuer.token_of("k1", key).sign()), 401);
    }
    assert_eq!(status(&edge, &issuer.token_of("k2", &RsaKey::number(4)).sign()), 200);
}

#[test]
fn a_coding_that_nobody_asked_for_is_named() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    for coding in ["gzip", "deflate", "br", "zstd", "GZIP", "identity, gzip"] {
        issuer.answer(Answer::Keys(vec![("Content-Encoding", coding.to_owned())]));
        let edge = Edge::with_jwt(&issuer, &upstream).start();
        assert_eq!(status(&edge, &issuer.token().sign()), 503, "{coding}");
        let name = coding.rsplit(' ').next().unwrap();
        let line = format!("the body comes in the coding {name:?}");
        let told = || edge.log().contains(&line);
        let told = crate::support::poll::becomes_true(Duration::from_secs(10), told);
        assert!(told, "{coding}: {}", edge.log());
    }
    for coding in ["identity", ""] {
        issuer.answer(Answer::Keys(vec![("Content-Encoding", coding.to_owned())]));
        let edge = Edge::with_jwt(&issuer, &upstream).start();
        assert_eq!(status(&edge, &issuer.token().sign()), 200, "{coding}");
    }
}
