//! Key sets in good times and bad, against a real HTTP server and in real time.

use std::time::Instant as Moment;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::*;
use crate::auth::chain::Chain;
use crate::auth::outcome::Reason;
use crate::auth::testing::{
    self, Answer, Issuer, Signer, bearer, jwks_url, keys, settings, status, trouble,
};
use crate::config::KeySource;

/// A chain over an issuer's keys, with the background task running.
struct Edge {
    chain: Chain,
    sets: KeySets,
    shutdown: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Edge {
    async fn start(issuer: &Issuer, change: impl FnOnce(&mut JwksUrl)) -> Self {
        let edge = Self::start_in(None, issuer, change);
        edge.sets.first_tried(Duration::from_secs(5)).await;
        edge
    }

    fn start_in(
        state_dir: Option<PathBuf>,
        issuer: &Issuer,
        change: impl FnOnce(&mut JwksUrl),
    ) -> Self {
        testing::install_provider();
        let sets = KeySets::new(state_dir).unwrap();
        let (shutdown, stop) = watch::channel(false);
        let runner = sets.clone();
        let mut url = jwks_url(&issuer.url);
        change(&mut url);
        Self {
            chain: build(&sets, url),
            sets,
            shutdown,
            task: tokio::spawn(async move { runner.run(stop).await }),
        }
    }

    async fn get(&self, token: &str) -> u16 {
        status(&self.chain, token).await
    }

    fn only(&self) -> KeySetStatus {
        let mut status = self.sets.status();
        assert_eq!(status.len(), 1);
        status.remove(0)
    }
}

fn build(sets: &KeySets, url: JwksUrl) -> Chain {
    Chain::build(&[testing::step(settings(KeySource::JwksUrl(url)))], sets).unwrap()
}

/// Waits, at most 5 s, until something holds.
async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let start = Moment::now();
    while !holds().await {
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "it never came about"
        );
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_set_is_fetched_ahead_and_known_keys_never_wait() {
    let signer = Signer::new();
    let issuer = Issuer::start(keys(&[signer.jwk("a")])).await;
    let edge = Edge::start(&issuer, |_| {}).await;
    assert!(edge.sets.all_tried());
    issuer.say(Answer::Silence);
    for _ in 0..20 {
        assert_eq!(edge.get(&signer.token("a")).await, 200);
    }
    assert_eq!(edge.get(&Signer::new().token("a")).await, 401);
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
    let issuer = Issuer::start(keys(&[Signer::new().jwk("a")])).await;
    let edge = Edge::start(&issuer, |_| {}).await;
    assert!(!edge.task.is_finished());
    edge.shutdown.send(true).unwrap();
    until(async || edge.task.is_finished()).await;
}

#[tokio::test]
async fn rotation_and_withdrawal() {
    let (old, new) = (Signer::new(), Signer::new());
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
    let (old, new) = (Signer::new(), Signer::new());
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
    let signer = Signer::new();
    let issuer = Issuer::start(keys(&[signer.jwk("a")])).await;
    let edge = Edge::start(&issuer, |url| url.fresh = Duration::from_millis(1000)).await;
    sleep(Duration::from_millis(600)).await;
    assert_eq!(issuer.fetches(), 1);
    sleep(Duration::from_millis(400)).await;
    assert_eq!(issuer.fetches(), 2);
    // A longer max-age does not stretch it, and a shorter one counts as 60 s.
    for max_age in [
        "cache-control: max-age=9999\r\n",
        "cache-control: max-age=0\r\n",
    ] {
        issuer.say(Answer::Body(
            json!({ "keys": [signer.jwk("a")] }).to_string(),
            max_age,
        ));
        let before = issuer.fetches();
        sleep(Duration::from_millis(1900)).await;
        let fetches = issuer.fetches() - before;
        assert!((2..=3).contains(&fetches), "{fetches}");
    }
    drop(edge);
}

#[tokio::test]
async fn ten_thousand_unknown_kids_cause_one_fetch() {
    let signer = Arc::new(Signer::new());
    let issuer = Issuer::start(keys(&[signer.jwk("a")])).await;
    let edge = Arc::new(Edge::start(&issuer, |url| url.cooldown = Duration::from_secs(30)).await);
    issuer.say_after(keys(&[signer.jwk("a")]), Duration::from_millis(300));
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
        start.elapsed() < Duration::from_millis(250),
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
async fn a_failed_fetch_for_an_unknown_kid_cools_down_too() {
    let signer = Signer::new();
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
async fn a_client_that_leaves_does_not_end_the_fetch() {
    let (old, new) = (Signer::new(), Signer::new());
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
async fn an_outage_or_garbage_changes_nothing_until_the_stale_limit() {
    let signer = Signer::new();
    let issuer = Issuer::start(keys(&[signer.jwk("a")])).await;
    let edge = Edge::start(&issuer, |url| url.max_stale = Duration::from_millis(1500)).await;
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
    sleep(Duration::from_millis(1500)).await;
    let denial = edge.chain.authenticate(&bearer(&token)).await.unwrap_err();
    assert_eq!((denial.status(), denial.reason()), (503, Reason::NoKeys));
    assert!(
        denial.challenges().is_empty()
            && denial
                .retry_after()
                .is_some_and(|secs| (1..=60).contains(&secs))
    );
    issuer.say(keys(&[signer.jwk("a")]));
    edge.sets.refresh_all().await;
    assert_eq!(edge.get(&token).await, 200);
}

#[tokio::test]
async fn a_start_without_keys_recovers_by_itself() {
    let signer = Signer::new();
    let issuer = Issuer::start(trouble()).await;
    let edge = Edge::start(&issuer, |_| {}).await;
    let token = signer.token("a");
    let denial = edge.chain.authenticate(&bearer(&token)).await.unwrap_err();
    assert_eq!((denial.status(), denial.reason()), (503, Reason::NoKeys));
    assert!(edge.sets.all_tried() && edge.only().keys == 0);
    // Without a token there is nothing for which keys could be missing.
    let denial = edge
        .chain
        .authenticate(&http::HeaderMap::new())
        .await
        .unwrap_err();
    assert_eq!(denial.status(), 401);
    issuer.say(keys(&[signer.jwk("a")]));
    until(async || edge.get(&token).await == 200).await;
}

#[tokio::test]
async fn requests_wait_for_the_first_fetch() {
    let signer = Signer::new();
    let issuer = Issuer::start(trouble()).await;
    issuer.say_after(keys(&[signer.jwk("a")]), Duration::from_millis(400));
    let edge = Edge::start_in(None, &issuer, |_| {});
    assert!(!edge.sets.all_tried());
    assert_eq!(edge.get(&signer.token("a")).await, 200);
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test]
async fn a_silent_issuer_costs_five_seconds_at_most() {
    let signer = Signer::new();
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
    let signer = Signer::new();
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
async fn without_the_background_task_a_request_fetches() {
    let signer = Signer::new();
    let issuer = Issuer::start(keys(&[signer.jwk("a")])).await;
    let sets = testing::key_sets();
    let chain = build(&sets, jwks_url(&issuer.url));
    assert_eq!(status(&chain, &signer.token("a")).await, 200);
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test]
async fn one_set_for_all_steps_and_reloads_and_none_without_steps() {
    let signer = Signer::new();
    let issuer = Issuer::start(keys(&[signer.jwk("a")])).await;
    let Edge {
        chain,
        sets,
        shutdown,
        task,
    } = Edge::start(&issuer, |_| {}).await;
    let next = build(&sets, jwks_url(&issuer.url));
    drop(chain);
    assert_eq!(status(&next, &signer.token("a")).await, 200);
    assert_eq!((issuer.fetches(), sets.status().len()), (1, 1));
    // A URL that a reload brings is fetched without being asked for.
    let other = Issuer::start(keys(&[signer.jwk("a")])).await;
    let later = build(&sets, jwks_url(&other.url));
    until(async || sets.all_tried()).await;
    assert_eq!((other.fetches(), sets.status().len()), (1, 2));
    drop((next, later));
    assert!(sets.status().is_empty() && sets.all_tried());
    sets.register(&jwks_url("http://127.0.0.1:1/"));
    until(async || sets.sets.iter().count() == 0).await;
    shutdown.send(true).unwrap();
    task.await.unwrap();
}

#[tokio::test]
async fn the_last_good_set_survives_a_restart() {
    let signer = Signer::new();
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
    issuer.say_after(keys(&[Signer::new().jwk("b")]), Duration::from_millis(300));
    let fifth = Edge::start_in(start(), &issuer, |_| {});
    assert_eq!(fifth.get(&token).await, 401);
}

#[tokio::test]
async fn redirects_stay_at_home() {
    let signer = Signer::new();
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
async fn bad_keys_of_a_set_are_left_out() {
    let (good, bad) = (Signer::new(), Signer::new());
    let mut encryption: Value = bad.jwk("b");
    encryption["use"] = json!("enc");
    let issuer = Issuer::start(keys(&[good.jwk("a"), encryption])).await;
    let edge = Edge::start(&issuer, |_| {}).await;
    assert_eq!(edge.only().keys, 1);
    assert_eq!(edge.get(&good.token("a")).await, 200);
    assert_eq!(edge.get(&bad.token("b")).await, 401);
}

#[tokio::test]
async fn a_port_that_nobody_listens_on() {
    testing::install_provider();
    let sets = KeySets::new(None).unwrap();
    let chain = build(&sets, jwks_url("http://127.0.0.1:1/jwks"));
    assert_eq!(status(&chain, &Signer::new().token("a")).await, 503);
    let error = sets.status().remove(0).last_error.unwrap();
    assert!(
        error.contains("refused") && !error.contains("/jwks"),
        "{error}"
    );
}
