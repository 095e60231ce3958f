//! Checks, ejection, trials and return.

use super::*;
use crate::balance::{HealthKey, HealthRegistry, HealthState};

/// Fails so many attempts at member 0, while another member can take the load or not.
fn fail(pool: &Pool, times: usize, others: bool) {
    for _ in 0..times {
        let pick = pool.choose(HashKey::Nothing, |index| index == 0).unwrap();
        pick.failed("connection refused", others);
    }
}

#[test]
fn checks_turn_it_around_only_after_so_many_in_a_row() {
    let health = health(1);
    assert_eq!(health.state(), HealthState::Unchecked);
    health.record_check(Err("one".to_owned()));
    assert_eq!(health.state(), HealthState::Unchecked);
    health.record_check(Ok(()));
    assert_eq!(
        health.state(),
        HealthState::Healthy,
        "the first word is believed"
    );
    health.record_check(Err("one".to_owned()));
    health.record_check(Ok(()));
    health.record_check(Err("another".to_owned()));
    assert_eq!(health.state(), HealthState::Healthy, "not in a row");
    health.record_check(Err("it answered 500".to_owned()));
    let status = health.status();
    assert_eq!(status.state, HealthState::Unhealthy);
    assert_eq!(status.last_error.as_deref(), Some("it answered 500"));
    let since = status.since;
    health.record_check(Ok(()));
    health.record_check(Err("again".to_owned()));
    health.record_check(Ok(()));
    assert_eq!(health.state(), HealthState::Unhealthy);
    assert_eq!(health.status().since, since, "nothing has changed");
    health.record_check(Ok(()));
    assert_eq!(health.state(), HealthState::Healthy);
    assert!(health.status().since >= since);
}

#[test]
fn failures_in_a_row_eject_it() {
    let (pool, healths) = pool(&Balance::RoundRobin, &[1, 1]);
    fail(&pool, 2, true);
    pool.choose(HashKey::Nothing, |index| index == 0)
        .unwrap()
        .succeeded();
    fail(&pool, 2, true);
    assert_eq!(healths[0].state(), HealthState::Healthy, "not in a row");
    fail(&pool, 1, true);
    let status = healths[0].status();
    assert_eq!(status.state, HealthState::Ejected);
    assert_eq!(
        (status.requests, status.failures, status.in_flight),
        (6, 5, 0)
    );
    assert_eq!(status.last_error.as_deref(), Some("connection refused"));
    assert_eq!(counts(&pool, 2, 10), [0, 10]);
}

#[test]
fn the_last_one_is_never_ejected() {
    let (pool, healths) = pool(&Balance::RoundRobin, &[1, 1]);
    fail(&pool, 10, false);
    assert_eq!(healths[0].state(), HealthState::Unchecked);
    fail(&pool, 1, true);
    assert_eq!(
        healths[0].state(),
        HealthState::Ejected,
        "as soon as there is another"
    );
}

#[test]
fn never_means_never() {
    let ejection = Ejection {
        after: 0,
        time: Duration::from_secs(1),
    };
    let health = Arc::new(Health::new("http://u", ejection, None));
    let pool = Pool::new(
        vec![
            ("a".to_owned(), 1, health.clone()),
            ("b".to_owned(), 1, super::health(1)),
        ],
        &Balance::RoundRobin,
    );
    fail(&pool, 100, true);
    assert_eq!(health.state(), HealthState::Unchecked);
    health.record_check(Err("checks that are not configured say nothing".to_owned()));
    assert_eq!(
        health.status().last_error.as_deref(),
        Some("connection refused")
    );
}

/// Two members, of which the first was ejected for 50 ms, and that time is over.
fn due_for_trial() -> (Pool, Arc<Health>) {
    let first = health(50);
    let members = vec![
        ("a".to_owned(), 1, first.clone()),
        ("b".to_owned(), 1, health(50)),
    ];
    let pool = Pool::new(members, &Balance::RoundRobin);
    fail(&pool, 3, true);
    assert_eq!(first.state(), HealthState::Ejected);
    std::thread::sleep(Duration::from_millis(60));
    (pool, first)
}

#[test]
fn one_request_tries_it_and_a_success_brings_it_back() {
    let (pool, first) = due_for_trial();
    let only_first = |index: usize| index == 0;
    // Claims the trial; the next ones have to go elsewhere.
    let trial = (0..2)
        .map(|_| any(&pool, b""))
        .find(|pick| pick.index() == 0)
        .unwrap();
    assert!(!pool.has_other(1, only_first), "not in service yet");
    assert_eq!(first.state(), HealthState::Ejected);
    trial.succeeded();
    assert_eq!(first.state(), HealthState::Healthy);
    assert_eq!(counts(&pool, 2, 10), [5, 5]);
}

#[test]
fn a_trial_that_fails_ejects_it_for_longer() {
    let (pool, first) = due_for_trial();
    let trial = (0..2)
        .map(|_| any(&pool, b""))
        .find(|pick| pick.index() == 0)
        .unwrap();
    let tried = std::time::Instant::now();
    trial.failed("still gone", true);
    assert_eq!(first.state(), HealthState::Ejected);
    drop(trial);
    let next = loop {
        let pick = any(&pool, b"");
        if pick.index() == 0 {
            break pick;
        }
    };
    assert!(
        tried.elapsed() >= Duration::from_millis(99),
        "twice 50 ms, but {:?}",
        tried.elapsed()
    );
    next.succeeded();
    assert_eq!(first.state(), HealthState::Healthy);
}

#[test]
fn of_many_at_once_one_gets_the_trial() {
    let first = health(2000);
    let members = vec![("a".to_owned(), 1, first), ("b".to_owned(), 1, health(1))];
    let pool = Pool::new(members, &Balance::LeastConn);
    fail(&pool, 3, true);
    std::thread::sleep(Duration::from_millis(2010));
    let chosen: Vec<Pick> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| any(&pool, b""))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(chosen.iter().filter(|pick| pick.index() == 0).count(), 1);
}

#[test]
fn an_answer_to_an_old_request_does_not_end_an_ejection() {
    let (pool, healths) = pool(&Balance::RoundRobin, &[1, 1]);
    let old = pool.choose(HashKey::Nothing, |index| index == 0).unwrap();
    fail(&pool, 3, true);
    old.succeeded();
    assert_eq!(healths[0].state(), HealthState::Ejected);
    // One that went there because nothing else was left tells how it is now.
    let forced = pool.choose(HashKey::Nothing, |index| index == 0).unwrap();
    forced.succeeded();
    assert_eq!(healths[0].state(), HealthState::Healthy);
}

#[test]
fn checks_end_an_ejection() {
    let (pool, healths) = pool(&Balance::RoundRobin, &[1, 1]);
    up(&healths[0]);
    fail(&pool, 3, true);
    healths[0].record_check(Ok(()));
    assert_eq!(
        healths[0].state(),
        HealthState::Ejected,
        "one is not enough"
    );
    healths[0].record_check(Ok(()));
    assert_eq!(healths[0].state(), HealthState::Healthy);
    // Gone twice over: the checks have the last word.
    fail(&pool, 3, true);
    down(&healths[0]);
    assert_eq!(healths[0].state(), HealthState::Unhealthy);
    up(&healths[0]);
    assert_eq!(healths[0].state(), HealthState::Healthy);
}

#[test]
fn what_is_known_is_known_for_as_long_as_somebody_holds_it() {
    let registry = HealthRegistry::default();
    let key = |origin: &str, after| HealthKey {
        origin: origin.to_owned(),
        http_version: HttpVersion::Auto,
        check: None,
        ejection: Ejection {
            after,
            time: Duration::from_secs(1),
        },
        ca_cert_path: None,
        reach: None,
        credential_of: None,
    };
    let one = registry.of(key("http://a", 3));
    assert!(Arc::ptr_eq(&one, &registry.of(key("http://a", 3))));
    assert!(!Arc::ptr_eq(&one, &registry.of(key("http://b", 3))));
    assert!(
        !Arc::ptr_eq(&one, &registry.of(key("http://a", 4))),
        "other settings, another judgement"
    );
    let weak = Arc::downgrade(&one);
    drop(one);
    assert!(weak.upgrade().is_none());
    assert_eq!(registry.of(key("http://a", 3)).status().requests, 0);
}
