//! Choosing among members, and the life of an upstream's health.

mod health;
mod strategies;

use std::sync::Arc;
use std::time::Duration;

use super::{HashKey, Health, Pick, Pool};
use crate::config::{Balance, CheckKind, ConsistentBy, Ejection, HealthCheck, HttpVersion};

const CONSISTENT: Balance = Balance::Consistent(ConsistentBy::Address);

fn health(eject_millis: u64) -> Arc<Health> {
    let ejection = Ejection {
        after: 3,
        time: Duration::from_millis(eject_millis),
    };
    let check = HealthCheck {
        kind: CheckKind::Tcp,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        unhealthy_after: 2,
        healthy_after: 2,
    };
    Arc::new(Health::new("http://u", ejection, Some(check)))
}

/// A pool of members with these weights, and their health.
fn pool(balance: &Balance, weights: &[u32]) -> (Pool, Vec<Arc<Health>>) {
    let healths: Vec<_> = weights.iter().map(|_| health(60_000)).collect();
    let members = weights.iter().zip(&healths).enumerate();
    let members = members
        .map(|(index, (weight, health))| (format!("m{index}"), *weight, health.clone()))
        .collect();
    (Pool::new(members, balance), healths)
}

fn any(pool: &Pool, key: &[u8]) -> Pick {
    pool.choose(HashKey::Bytes(key), |_| true).unwrap()
}

fn down(health: &Health) {
    for _ in 0..2 {
        health.record_check(Err("gone".to_owned()));
    }
}

fn up(health: &Health) {
    for _ in 0..2 {
        health.record_check(Ok(()));
    }
}

/// How often each of `members` is chosen in `times` requests that end at once.
fn counts(pool: &Pool, members: usize, times: usize) -> Vec<usize> {
    let mut counts = vec![0; members];
    for number in 0..times {
        counts[any(pool, &number.to_le_bytes()).index()] += 1;
    }
    counts
}
