//! An issuer that answers: prefetch, rotation, withdrawal, unknown key ids.

use serde_json::{Value, json};

use super::*;
use crate::testing::{Answer, Signer, keys, trouble};

#[tokio::test]
async fn a_set_is_fetched_ahead_and_known_keys_never_wait() {
    let signer = Signer::generate();
    let issuer = Issuer::start(keys(&[signer.jwk("a")])).await;
    let edge = Edge::start(&issuer, |_| {}).await;
    assert!(edge.sets.all_tried());
    issuer.say(Answer::Silence);
    for _ in 0..20 {
        assert_eq!(edge.get(&signer.token("a")).await, 200);
    }
    assert_eq!(edge.get(&Signer::generate().token("a")).await, 401);
    assert_eq!(issuer.fetches(), 1);
    let status = edge.only();
    assert_eq!(
        (status.keys, status.generation, status.fetches),
        (1, 1, (1, 0))
    );
    assert!(status.age.unwrap() < Duration::from_secs(5) && status.last_error.is_none());
}

#[tokio::test]
async fn the_task_ends_on_shutdown_only() {
    let issuer = Issuer::start(keys(&[Signer::generate().jwk("a")])).await;
    let edge = Edge::start(&issuer, |_| {}).await;
    assert!(!edge.task.is_finished());
    edge.shutdown.send(true).unwrap();
    until(async || edge.task.is_finished()).await;
}

#[tokio::test]
async fn rotation_and_withdrawal() {
    let (old, new) = (Signer::generate(), Signer::generate());
    let issuer = Issuer::start(keys(&[old.jwk("old")])).await;
    let edge = Edge::start(&issuer, |_| {}).await;
    assert_eq!(edge.get(&old.token("old")).await, 200);
    issuer.say(keys(&[new.jwk("new")]));
    assert_eq!(edge.get(&old.token("old")).await, 200);
    assert_eq!(edge.get(&new.token("new")).await, 200);
    assert_eq!(edge.get(&old.token("old")).await, 401);
    assert_eq!((edge.only().generation, issuer.fetches()), (2, 2));
}

#[tokio::test]
async fn an_order_refreshes_at_once() {
    let (old, new) = (Signer::generate(), Signer::generate());
    let issuer = Issuer::start(keys(&[old.jwk("a")])).await;
    let edge = Edge::start(&issuer, |_| {}).await;
    issuer.say(keys(&[new.jwk("a")]));
    let status = edge.sets.refresh_all().await;
    assert_eq!((status[0].generation, &status[0].last_error), (2, &None));
    assert_eq!(edge.get(&old.token("a")).await, 401);
    assert_eq!(edge.get(&new.token("a")).await, 200);
    edge.sets.refresh_all().await;
    assert_eq!((edge.only().generation, issuer.fetches()), (2, 3));
    issuer.say(trouble());
    let status = edge.sets.refresh_all().await;
    assert_eq!(
        status[0].last_error.as_deref(),
        Some("the status is 500, not 200")
    );
    assert_eq!(edge.get(&new.token("a")).await, 200);
}

#[tokio::test]
async fn a_refresh_comes_at_four_fifths_of_freshness() {
    let signer = Signer::generate();
    let issuer = Issuer::start(keys(&[signer.jwk("a")])).await;
    let edge = Edge::start(&issuer, |url| url.fresh = Duration::from_millis(1500)).await;
    // A longer max-age does not stretch it, and a shorter one counts as 60 s.
    for max_age in [
        "",
        "cache-control: max-age=9999\r\n",
        "cache-control: max-age=0\r\n",
    ] {
        let text = json!({ "keys": [signer.jwk("a")] }).to_string();
        issuer.say(Answer::Body(text, max_age));
        edge.sets.refresh_all().await;
        let (start, before) = (Moment::now(), issuer.fetches());
        until(async || issuer.fetches() > before).await;
        assert!(start.elapsed() > Duration::from_millis(1100), "{max_age}");
    }
}

#[tokio::test]
async fn ten_thousand_unknown_kids_cause_one_fetch() {
    let signer = Arc::new(Signer::generate());
    let issuer = Issuer::start(keys(&[signer.jwk("a")])).await;
    let edge = Arc::new(Edge::start(&issuer, |url| url.cooldown = Duration::from_secs(30)).await);
    issuer.say_after(keys(&[signer.jwk("a")]), Duration::from_secs(3));
    let known = signer.token("a");
    let signature = known.rsplit('.').next().unwrap();
    let payload = known.split('.').nth(1).unwrap();
    let flood: Vec<_> = (0..10_000)
        .map(|n| {
            let header = json!({ "alg": "RS256", "kid": format!("random-{n}") }).to_string();
            let token = format!("{}.{payload}.{signature}", testing::encode(header));
            let edge = edge.clone();
            tokio::spawn(async move { edge.get(&token).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let start = Moment::now();
    assert_eq!(edge.get(&known).await, 200);
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "a known key waited"
    );
    for one in flood {
        assert_eq!(one.await.unwrap(), 401);
    }
    assert_eq!(issuer.fetches(), 2);
    assert_eq!(edge.get(&signer.token("b")).await, 401);
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test]
async fn a_client_that_leaves_does_not_end_the_fetch() {
    let (old, new) = (Signer::generate(), Signer::generate());
    let issuer = Issuer::start(keys(&[old.jwk("a")])).await;
    let edge = Edge::start(&issuer, |url| url.cooldown = Duration::from_secs(30)).await;
    issuer.say_after(keys(&[new.jwk("b")]), Duration::from_millis(300));
    let token = new.token("b");
    let impatient = tokio::time::timeout(Duration::from_millis(50), edge.get(&token)).await;
    assert!(impatient.is_err());
    until(async || edge.only().generation == 2).await;
    assert_eq!((edge.get(&token).await, issuer.fetches()), (200, 2));
}

#[tokio::test]
async fn requests_wait_for_the_first_fetch() {
    let signer = Signer::generate();
    let issuer = Issuer::start(trouble()).await;
    issuer.say_after(keys(&[signer.jwk("a")]), Duration::from_millis(400));
    let edge = Edge::start_in(None, &issuer, |_| {});
    assert!(!edge.sets.all_tried());
    assert_eq!(edge.get(&signer.token("a")).await, 200);
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test]
async fn without_the_background_task_a_request_fetches() {
    let signer = Signer::generate();
    let issuer = Issuer::start(keys(&[signer.jwk("a")])).await;
    let sets = testing::key_sets();
    let keys = Keys::Fetched(sets.register(&key_set_url(&issuer.url)));
    assert_eq!(status(&keys, &signer.token("a")).await, 200);
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test]
async fn one_set_for_all_steps_and_reloads_and_none_without_steps() {
    let signer = Signer::generate();
    let issuer = Issuer::start(keys(&[signer.jwk("a")])).await;
    let Edge {
        keys: first,
        sets,
        shutdown,
        task,
    } = Edge::start(&issuer, |_| {}).await;
    let next = Keys::Fetched(sets.register(&key_set_url(&issuer.url)));
    drop(first);
    assert_eq!(status(&next, &signer.token("a")).await, 200);
    assert_eq!((issuer.fetches(), sets.status().len()), (1, 1));
    // A URL that a reload brings is fetched without being asked for.
    let other = Issuer::start(keys(&[signer.jwk("a")])).await;
    let later = sets.register(&key_set_url(&other.url));
    until(async || sets.all_tried()).await;
    assert_eq!((other.fetches(), sets.status().len()), (1, 2));
    drop((next, later));
    assert!(sets.status().is_empty() && sets.all_tried());
    sets.register(&key_set_url("http://127.0.0.1:1/"));
    until(async || sets.sets.0.iter().count() == 0).await;
    shutdown.send(true).unwrap();
    task.await.unwrap();
}

#[tokio::test]
async fn bad_keys_of_a_set_are_left_out() {
    let (good, bad) = (Signer::generate(), Signer::generate());
    let mut encryption: Value = bad.jwk("b");
    encryption["use"] = json!("enc");
    let issuer = Issuer::start(keys(&[good.jwk("a"), encryption])).await;
    let edge = Edge::start(&issuer, |_| {}).await;
    assert_eq!(edge.only().keys, 1);
    assert_eq!(edge.get(&good.token("a")).await, 200);
    assert_eq!(edge.get(&bad.token("b")).await, 401);
}

#[tokio::test]
async fn what_common_servers_put_around_a_set() {
    let signer = Signer::generate();
    let set = json!({ "keys": [signer.jwk("a")] }).to_string();
    let marked = format!("\u{feff}{set}");
    for text in [&set, &marked] {
        for status in ["200 OK", "203 Non-Authoritative Information"] {
            let length = text.len();
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n");
            let issuer = Issuer::start(Answer::Wire(head + text)).await;
            let edge = Edge::start(&issuer, |_| {}).await;
            assert_eq!(edge.get(&signer.token("a")).await, 200, "{status} {text:?}");
        }
    }
}

#[tokio::test]
async fn a_coding_is_refused_by_its_name_and_not_asked_for() {
    let signer = Signer::generate();
    let set = json!({ "keys": [signer.jwk("a")] }).to_string();
    for (line, want) in [
        ("content-encoding: gzip\r\n", Some("\"gzip\"")),
        (
            "content-encoding: identity\r\ncontent-encoding: br\r\n",
            Some("\"br\""),
        ),
        (
            "content-encoding: deflate, gzip\r\n",
            Some("\"deflate, gzip\""),
        ),
        ("content-encoding: \u{e4}\"\r\n", Some("\"\u{e4}\\\"\"")),
        ("content-encoding: Identity\r\n", None),
        ("content-encoding:\r\n", None),
    ] {
        let issuer = Issuer::start(Answer::Body(set.clone(), line)).await;
        let edge = Edge::start(&issuer, |_| {}).await;
        let error = edge.only().last_error;
        match want {
            Some(want) => assert!(error.is_some_and(|error| error.contains(want)), "{line}"),
            None => assert_eq!(error, None, "{line}"),
        }
        let head = &issuer.heads()[0];
        assert!(head.contains("\r\naccept-encoding: identity\r\n"));
        assert!(head.contains("\r\nuser-agent: jose-tests\r\n"), "{head}");
    }
}
