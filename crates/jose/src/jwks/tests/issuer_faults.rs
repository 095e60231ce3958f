//! An issuer in trouble, out of reach, or up to no good.

use serde_json::json;

use super::*;
use crate::testing::{Answer, Signer, keys, trouble};

#[tokio::test]
async fn a_failed_fetch_for_an_unknown_kid_cools_down_too() {
    let signer = Signer::generate();
    let issuer = Issuer::start(keys(&[signer.jwk("a")])).await;
    let edge = Edge::start(&issuer, |url| url.cooldown = Duration::from_millis(700)).await;
    issuer.say(trouble());
    for _ in 0..5 {
        assert_eq!(edge.get(&signer.token("b")).await, 401);
    }
    assert_eq!(issuer.fetches(), 2);
    issuer.say(keys(&[signer.jwk("a"), signer.jwk("b")]));
    sleep(Duration::from_millis(800)).await;
    assert_eq!(edge.get(&signer.token("b")).await, 200);
}

#[tokio::test]
async fn an_outage_or_garbage_changes_nothing_until_the_stale_limit() {
    let signer = Signer::generate();
    let issuer = Issuer::start(keys(&[signer.jwk("a")])).await;
    let edge = Edge::start(&issuer, |url| url.max_stale = Duration::from_secs(5)).await;
    let token = signer.token("a");
    let garbage = [
        trouble(),
        Answer::Body(format!("<html>{}", "A".repeat(20_000_000)), ""),
        Answer::Body("A".repeat(20_000_000), "transfer-encoding: identity\r\n"),
        Answer::Body("{}".to_owned(), ""),
        Answer::Body(json!({ "keys": [] }).to_string(), ""),
        Answer::Body(
            json!({ "keys": [{ "kty": "oct", "k": "AAAA", "kid": "a" }] }).to_string(),
            "",
        ),
        Answer::Body(
            json!({ "keys": vec![signer.jwk("a"); 101] }).to_string(),
            "",
        ),
        Answer::Head("204 No Content\r\n".to_owned()),
        Answer::Head("304 Not Modified\r\n".to_owned()),
        Answer::Head("HTTP nonsense".to_owned()),
    ];
    for answer in garbage {
        issuer.say(answer);
        let status = edge.sets.refresh_all().await;
        assert!(status[0].last_error.is_some());
        assert_eq!(edge.get(&token).await, 200);
    }
    assert_eq!(edge.only().generation, 1);
    sleep(Duration::from_millis(5200)).await;
    assert_eq!(edge.get(&token).await, 503);
    let retry_after = edge.keys.retry_after();
    assert!(retry_after.is_some_and(|secs| (1..=60).contains(&secs)));
    issuer.say(keys(&[signer.jwk("a")]));
    edge.sets.refresh_all().await;
    assert_eq!(edge.get(&token).await, 200);
}

#[tokio::test]
async fn a_start_without_keys_recovers_by_itself() {
    let signer = Signer::generate();
    let issuer = Issuer::start(trouble()).await;
    let edge = Edge::start(&issuer, |_| {}).await;
    let token = signer.token("a");
    assert_eq!(edge.get(&token).await, 503);
    assert!(edge.sets.all_tried() && edge.only().keys == 0);
    issuer.say(keys(&[signer.jwk("a")]));
    until(async || edge.get(&token).await == 200).await;
}

#[tokio::test]
async fn a_silent_issuer_costs_five_seconds_at_most() {
    let signer = Signer::generate();
    let issuer = Issuer::start(Answer::Silence).await;
    let edge = Edge::start_in(None, &issuer, |_| {});
    let start = Moment::now();
    edge.sets.first_tried(Duration::from_millis(200)).await;
    assert!(!edge.sets.all_tried() && start.elapsed() < Duration::from_secs(1));
    assert_eq!(edge.get(&signer.token("a")).await, 503);
    let waited = start.elapsed();
    assert!((5..7).contains(&waited.as_secs()), "{waited:?}");
    edge.sets.first_tried(Duration::from_secs(10)).await;
    assert!(edge.sets.all_tried());
    assert_eq!(
        edge.only().last_error.as_deref(),
        Some("no answer within 10 s")
    );
    let start = Moment::now();
    assert_eq!(edge.get(&signer.token("a")).await, 503);
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_silent_issuer_delays_unknown_kids_only() {
    let signer = Signer::generate();
    let issuer = Issuer::start(keys(&[signer.jwk("a")])).await;
    let edge = Edge::start(&issuer, |_| {}).await;
    issuer.say(Answer::Silence);
    let start = Moment::now();
    let unknown_token = signer.token("b");
    let known_token = signer.token("a");
    let (unknown, known) = tokio::join!(edge.get(&unknown_token), async {
        sleep(Duration::from_millis(200)).await;
        let before = Moment::now();
        (edge.get(&known_token).await, before.elapsed())
    });
    assert_eq!((unknown, known.0), (401, 200));
    assert!(known.1 < Duration::from_millis(500), "{:?}", known.1);
    assert!((5..7).contains(&start.elapsed().as_secs()));
}

#[tokio::test]
async fn the_last_good_set_survives_a_restart() {
    let signer = Signer::generate();
    let home = tempfile::tempdir().unwrap();
    let start = || Some(home.path().to_owned());
    let issuer = Issuer::start(keys(&[signer.jwk("a")])).await;
    let token = signer.token("a");

    let first = Edge::start_in(start(), &issuer, |_| {});
    assert_eq!(first.get(&token).await, 200);
    let file = home.path().join("jwks");
    until(async || {
        file.read_dir().is_ok_and(|mut files| {
            files.any(|file| file.unwrap().path().extension().unwrap() == "json")
        })
    })
    .await;
    drop(first);

    // The issuer is gone: the kept set serves.
    issuer.say(trouble());
    let second = Edge::start_in(start(), &issuer, |_| {});
    assert_eq!(second.get(&token).await, 200);
    assert!(second.only().last_error.is_some());
    drop(second);

    // It hangs: a request waits a moment, no longer.
    issuer.say(Answer::Silence);
    let third = Edge::start_in(start(), &issuer, |_| {});
    let before = Moment::now();
    assert_eq!(third.get(&token).await, 200);
    assert!(before.elapsed() < Duration::from_secs(2));
    drop(third);

    // The kept set is older than the limit.
    issuer.say(trouble());
    sleep(Duration::from_millis(1100)).await;
    let fourth = Edge::start_in(start(), &issuer, |url| {
        url.max_stale = Duration::from_secs(1)
    });
    assert_eq!(fourth.get(&token).await, 503);
    drop(fourth);

    // The key was withdrawn meanwhile.
    issuer.say_after(
        keys(&[Signer::generate().jwk("b")]),
        Duration::from_millis(300),
    );
    let fifth = Edge::start_in(start(), &issuer, |_| {});
    assert_eq!(fifth.get(&token).await, 401);
}

#[tokio::test]
async fn redirects_stay_at_home() {
    let signer = Signer::generate();
    let issuer = Issuer::start(trouble()).await;
    let other = Issuer::start(keys(&[signer.jwk("a")])).await;
    let edge = Edge::start(&issuer, |_| {}).await;
    let by_name = other.url.replace("127.0.0.1", "localhost");
    for target in [
        &other.url,
        &by_name,
        &"https://127.0.0.1/".to_owned(),
        &"file:///etc/passwd".to_owned(),
    ] {
        issuer.say(Answer::Head(format!("302 Found\r\nlocation: {target}\r\n")));
        let status = edge.sets.refresh_all().await;
        assert_ne!(status[0].last_error, None, "{target}");
    }
    assert_eq!((other.fetches(), edge.only().keys), (0, 0));
    issuer.say(Answer::Head("302 Found\r\nlocation: /again\r\n".to_owned()));
    let before = issuer.fetches();
    edge.sets.refresh_all().await;
    assert!((2..10).contains(&(issuer.fetches() - before)));
}

#[tokio::test]
async fn a_port_that_nobody_listens_on() {
    let sets = testing::key_sets();
    let keys = Keys::Fetched(sets.register(&key_set_url("http://127.0.0.1:1/jwks")));
    assert_eq!(status(&keys, &Signer::generate().token("a")).await, 503);
    let error = sets.status().remove(0).last_error.unwrap();
    assert!(
        error.contains("refused") && !error.contains("/jwks"),
        "{error}"
    );
}
