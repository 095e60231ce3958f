//! Which member is next.

use super::*;
use crate::balance::HealthState;

#[test]
fn round_robin_follows_weights_and_spreads_turns() {
    let (pool, _) = pool(&Balance::RoundRobin, &[5, 1, 1]);
    let order: Vec<usize> = (0..7).map(|_| any(&pool, b"").index()).collect();
    assert_eq!(order, [0, 0, 1, 0, 2, 0, 0]);
    assert_eq!(counts(&pool, 3, 700), [500, 100, 100]);
    let (equal, _) = super::pool(&Balance::RoundRobin, &[20, 20]);
    let order: Vec<usize> = (0..4).map(|_| any(&equal, b"").index()).collect();
    assert_eq!(order, [0, 1, 0, 1], "weights count in proportion");
}

#[test]
fn the_turns_of_one_that_is_down_are_shared_evenly() {
    let (pool, healths) = pool(&Balance::RoundRobin, &[1, 1, 1]);
    down(&healths[1]);
    assert_eq!(counts(&pool, 3, 60), [30, 0, 30]);
    up(&healths[1]);
    assert_eq!(counts(&pool, 3, 60), [20, 20, 20]);
}

#[test]
fn the_least_busy_one_is_next() {
    let (pool, healths) = pool(&Balance::LeastConn, &[1, 1, 1]);
    let first = any(&pool, b"");
    let second = any(&pool, b"");
    let third = any(&pool, b"");
    let mut all = [first.index(), second.index(), third.index()];
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2], "each has one");
    let free = second.index();
    drop(second);
    let again: Vec<Pick> = (0..1).map(|_| any(&pool, b"")).collect();
    assert_eq!(again[0].index(), free, "the one without a request");
    drop((first, third, again));
    assert!(healths.iter().all(|health| health.status().in_flight == 0));
    assert_eq!(counts(&pool, 3, 60), [20, 20, 20], "equals take turns");
}

#[test]
fn the_least_busy_one_is_so_for_its_weight() {
    let (pool, _) = pool(&Balance::LeastConn, &[3, 1]);
    let held: Vec<Pick> = (0..8).map(|_| any(&pool, b"")).collect();
    let of_first = held.iter().filter(|pick| pick.index() == 0).count();
    assert_eq!((of_first, held.len() - of_first), (6, 2));
    drop(held);
    assert_eq!(counts(&pool, 2, 60), [45, 15], "one after the other");
}

#[test]
fn a_key_keeps_its_member_and_only_those_of_a_lost_one_move() {
    let (pool, healths) = pool(&CONSISTENT, &[1, 1, 1, 1]);
    let place = |pool: &Pool, key: u32| any(pool, &key.to_le_bytes()).index();
    let before: Vec<usize> = (0..1000).map(|key| place(&pool, key)).collect();
    for member in 0..4 {
        let share = before.iter().filter(|&&index| index == member).count();
        assert!(
            (125..=500).contains(&share),
            "member {member} has {share} of 1000"
        );
    }
    down(&healths[2]);
    let mut heirs = [0; 4];
    for (key, &before) in (0..).zip(&before) {
        let now = place(&pool, key);
        assert_ne!(now, 2);
        if before == 2 {
            heirs[now] += 1;
        } else {
            assert_eq!(now, before, "key {key} had no reason to move");
        }
    }
    assert!(
        heirs.iter().filter(|&&count| count > 0).count() > 1,
        "{heirs:?}"
    );
    up(&healths[2]);
    assert!(
        (0..)
            .zip(&before)
            .all(|(key, &before)| place(&pool, key) == before)
    );
    // A list without it is the same as one in which it is down; a new order changes nothing.
    let names = ["m3", "m0", "m1"];
    let members = names.iter().map(|name| ((*name).to_owned(), 1, health(1)));
    let fewer = Pool::new(members.collect(), &CONSISTENT);
    for (key, &before) in (0..).zip(&before).filter(|(_, before)| **before != 2) {
        assert_eq!(names[place(&fewer, key)], format!("m{before}"), "key {key}");
    }
}

#[test]
fn a_heavier_member_has_more_keys() {
    let (pool, _) = pool(&CONSISTENT, &[1, 4]);
    let counts = counts(&pool, 2, 2000);
    assert!((1300..=1850).contains(&counts[1]), "{counts:?}");
}

#[test]
fn addresses_are_keys() {
    let (pool, _) = pool(&CONSISTENT, &[1, 1, 1]);
    let at = |address: &str| {
        let key = HashKey::Address(address.parse().unwrap());
        pool.choose(key, |_| true).unwrap().index()
    };
    let places: Vec<usize> = (0..50).map(|host| at(&format!("10.0.0.{host}"))).collect();
    assert!((0..3).all(|index| places.contains(&index)), "{places:?}");
    assert_eq!(at("10.0.0.7"), places[7]);
    assert_eq!(at("fd00::1"), at("fd00::1"));
    assert!(pool.choose(HashKey::Nothing, |_| true).is_some());
}

#[test]
fn when_all_are_down_all_are_tried() {
    for balance in [Balance::RoundRobin, Balance::LeastConn, CONSISTENT] {
        let (pool, healths) = pool(&balance, &[1, 1, 1]);
        healths.iter().for_each(|health| down(health));
        let counts = counts(&pool, 3, 300);
        assert!(
            counts.iter().all(|&count| count > 0),
            "{balance:?}: {counts:?}"
        );
        up(&healths[0]);
        assert_eq!(super::counts(&pool, 3, 30), [30, 0, 0], "{balance:?}");
    }
}

#[test]
fn what_is_not_allowed_is_not_chosen() {
    for balance in [Balance::RoundRobin, Balance::LeastConn, CONSISTENT] {
        let (pool, healths) = pool(&balance, &[1, 1, 1]);
        let choose = |allowed: &[usize]| {
            let pick = pool.choose(HashKey::Bytes(b"k"), |index| allowed.contains(&index));
            pick.map(|pick| pick.index())
        };
        assert_eq!(choose(&[1]), Some(1), "{balance:?}");
        assert_eq!(choose(&[]), None, "{balance:?}");
        down(&healths[1]);
        assert_eq!(choose(&[1, 2]), Some(2), "{balance:?}: the one that works");
        assert_eq!(
            choose(&[1]),
            Some(1),
            "{balance:?}: rather that one than none"
        );
        assert!(pool.has_other(0, |_| true) && !pool.has_other(0, |index| index == 1));
    }
}

#[test]
fn nobody_is_nobody() {
    let (empty, _) = pool(&CONSISTENT, &[]);
    assert!(empty.choose(HashKey::Nothing, |_| true).is_none());
    let (lonely, healths) = pool(&Balance::RoundRobin, &[7]);
    down(&healths[0]);
    assert_eq!(any(&lonely, b"").index(), 0);
    assert_eq!(healths[0].state(), HealthState::Unhealthy);
}
