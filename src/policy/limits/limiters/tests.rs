//! Windows, who is counted under what, and several limits at once.

use std::net::IpAddr;

use super::*;
use crate::config::{CountBy, Quota, RateLimit};

fn limit(name: &str, table: Table, most: u32) -> Limit<RateLimit> {
    lasting(name, table, most, 60)
}

fn lasting(name: &str, table: Table, most: u32, seconds: u64) -> Limit<RateLimit> {
    let settings = RateLimit {
        quota: Quota { most, by: None },
        window: Duration::from_secs(seconds),
        by: vec![CountBy::Client],
        attempts: false,
        shared: false,
        headers: true,
    };
    Limit {
        name: name.into(),
        table,
        settings: settings.into(),
    }
}

fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

fn from(client: Option<IpAddr>) -> Requester<'static> {
    Requester {
        client,
        ..Requester::default()
    }
}

fn counts(
    limiters: &Limiters,
    limits: &[Limit<RateLimit>],
    client: Option<IpAddr>,
    now: Instant,
) -> bool {
    let (_, taken) = limiters.take(limits, &from(client), now, false);
    matches!(taken, TakeOutcome::Counted)
}

/// Of those without room the place of the first, and for how long it has none.
fn outcome((states, taken): (LimitStates, TakeOutcome<'_>)) -> Result<(), (usize, Duration)> {
    let room = matches!(taken, TakeOutcome::Counted);
    let mut over = states.iter().enumerate();
    match over
        .find(|(_, state)| state.remaining == 0)
        .filter(|_| !room)
    {
        Some((place, state)) => Err((place, state.reset)),
        None => {
            assert!(room);
            Ok(())
        }
    }
}

/// Under one limit of two requests a minute: whether there was room, or for how long there is none.
fn take(
    limiters: &Limiters,
    name: &str,
    table: Table,
    client: Option<IpAddr>,
    now: Instant,
) -> Result<(), Duration> {
    let limits = [limit(name, table, 2)];
    outcome(limiters.take(&limits, &from(client), now, false)).map_err(|(_, wait)| wait)
}

fn left(limiters: &Limiters, limits: &[Limit<RateLimit>], now: Instant) -> Vec<u32> {
    let states = limiters.peek(limits, &from(None), now);
    states.iter().map(|state| state.remaining).collect()
}

#[test]
fn a_window_begins_with_its_first_request_and_ends_as_a_whole() {
    let limiters = Limiters::default();
    let start = Instant::now();
    let take = |after| {
        let now = start + Duration::from_secs(after);
        take(&limiters, "p r", Table::Local, ip("10.0.0.1"), now)
    };
    assert_eq!(take(0), Ok(()));
    assert_eq!(take(10), Ok(()));
    assert_eq!(take(20), Err(Duration::from_secs(40)));
    assert_eq!(take(59), Err(Duration::from_secs(1)));
    assert_eq!(take(60), Ok(()));
    assert_eq!(take(61), Ok(()));
    assert_eq!(take(119), Err(Duration::from_secs(1)));
}

#[test]
fn clients_and_limits_are_counted_apart() {
    let limiters = Limiters::default();
    let now = Instant::now();
    let take = |name: &str, client| take(&limiters, name, Table::Local, client, now);
    for _ in 0..2 {
        assert!(take("a", ip("10.0.0.1")).is_ok());
    }
    assert!(take("a", ip("10.0.0.1")).is_err());
    assert!(take("a", ip("::ffff:10.0.0.1")).is_err());
    assert!(take("a", ip("10.0.0.2")).is_ok());
    assert!(take("b", ip("10.0.0.1")).is_ok());
    assert!(take("a", ip("2001:db8::1")).is_ok());
    assert!(take("a", ip("2001:db8::2")).is_ok());
    assert!(take("a", ip("2001:db8::3")).is_err());
    assert!(take("a", ip("2001:db8:0:1::1")).is_ok());
    assert!(take("a", None).is_ok());
}

#[test]
fn the_cloud_and_what_is_in_shadow_count_for_themselves() {
    let limiters = Limiters::bounded(100);
    let now = Instant::now();
    let take = |table, client| take(&limiters, "p r", table, client, now);
    for table in [Table::Cloud, Table::Shadow, Table::Local] {
        for _ in 0..2 {
            assert!(take(table, ip("10.0.0.1")).is_ok());
        }
        assert!(take(table, ip("10.0.0.1")).is_err());
    }
    // Nor do they push local counts out.
    for index in 0..5_000_u32 {
        let one = Some(IpAddr::V4((0x0a00_0000 + index).into()));
        let _ = take(Table::Cloud, one);
        let _ = take(Table::Shadow, one);
    }
    assert!(take(Table::Local, ip("10.0.0.1")).is_err());
}

#[test]
fn other_settings_go_on_with_the_count() {
    let limiters = Limiters::default();
    let now = Instant::now();
    let take = |max_requests| {
        let limits = [limit("p r", Table::Local, max_requests)];
        outcome(limiters.take(&limits, &from(ip("10.0.0.1")), now, false))
    };
    assert!(take(2).is_ok() && take(2).is_ok() && take(2).is_err());
    assert!(take(3).is_ok() && take(3).is_err() && take(1).is_err());
}

#[test]
fn the_state_is_bounded_and_keeps_the_busiest() {
    let limiters = Limiters::bounded(100);
    let now = Instant::now();
    let take = |client| take(&limiters, "p r", Table::Local, client, now);
    let busy = ip("192.0.2.1");
    for index in 0..5_000_u32 {
        assert!(take(Some(IpAddr::V4((0x0a00_0000 + index).into()))).is_ok());
        if index % 10 == 0 {
            let _ = take(busy);
        }
    }
    let status = limiters.status();
    assert_eq!(status.keys, 100);
    assert_eq!(status.forgotten, 5_001 - 100);
    assert!(take(busy).is_err());
}

/// Three limits, in the order of the pipeline.
fn three() -> [Limit<RateLimit>; 3] {
    [
        limit("c", Table::Local, 2),
        limit("a", Table::Local, 3),
        lasting("b", Table::Local, 1, 10),
    ]
}

#[test]
fn a_request_that_one_limit_refuses_takes_nothing_of_the_others() {
    let limiters = Limiters::default();
    let limits = three();
    let start = Instant::now();
    let take = |after| {
        let now = start + Duration::from_secs(after);
        let taken = outcome(limiters.take(&limits, &from(None), now, false));
        let over = taken.map_err(|(place, wait)| (place, wait.as_secs()));
        (
            over,
            <[u32; 3]>::try_from(left(&limiters, &limits, now)).unwrap(),
        )
    };
    assert_eq!(take(0), (Ok(()), [1, 2, 0]));
    for _ in 0..5 {
        assert_eq!(take(4), (Err((2, 6)), [1, 2, 0]));
    }
    assert_eq!(take(12), (Ok(()), [0, 1, 0]));
    // Both `b` and `c` have none remaining: that of the first step and rule answers.
    assert_eq!(take(13), (Err((0, 47)), [0, 1, 0]));
    assert_eq!(take(23), (Err((0, 37)), [0, 1, 1]));
    // A refused request begins no window: that of `b` begins here.
    assert_eq!(take(60), (Ok(()), [1, 2, 0]));
    assert_eq!(take(69), (Err((2, 1)), [1, 2, 0]));
}

#[test]
fn a_look_finds_what_a_request_would_and_counts_nothing() {
    let limiters = Limiters::default();
    let (limits, now) = (three(), Instant::now());
    for _ in 0..5 {
        assert_eq!(left(&limiters, &limits, now), [2, 3, 1]);
    }
    assert_eq!(limiters.status().keys, 0);
    let (states, taken) = limiters.take(&limits, &from(None), now, false);
    assert!(matches!(taken, TakeOutcome::Counted));
    assert_eq!(states, limiters.peek(&limits, &from(None), now));
    assert_eq!(left(&limiters, &limits, now), [1, 2, 0]);
}

#[test]
fn requests_at_once_take_no_token_more_or_less_than_there_are() {
    let limiters = Limiters::default();
    let [c, a, b] = three();
    let pairs = [[a.clone(), c.clone()], [c.clone(), a.clone()]];
    let now = Instant::now();
    let passed = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (limiters, passed, pairs) = (&limiters, &passed, &pairs);
            scope.spawn(move || {
                for _ in 0..200 {
                    if counts(limiters, &pairs[thread % 2], None, now) {
                        passed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(passed.into_inner(), 2);
    assert_eq!(
        left(&limiters, &[a, b, c], now),
        [1, 1, 0],
        "none was taken for those that were refused"
    );
}

/// A million who ask once each, and a thousand who ask again and again: the table stays within its
/// bound and the thousand are never forgotten.
#[test]
fn a_flood_of_subjects_forgets_none_of_the_busiest() {
    let limiters = Limiters::default();
    let busy: Vec<_> = (0..1000_u32)
        .map(|it| Some(IpAddr::V4(it.into())))
        .collect();
    let limits = [limit("p r", Table::Local, 200)];
    let now = Instant::now();
    let mut asked = 0;
    for flood in 0..1_000_000_u32 {
        let one = Some(IpAddr::V4((0x0a00_0000 + flood).into()));
        assert!(counts(&limiters, &limits, one, now));
        if flood % 50 == 0 {
            for _ in 0..10 {
                let _ = counts(&limiters, &limits, busy[asked % 1000], now);
                asked += 1;
            }
        }
    }
    assert_eq!(limiters.status().keys, MAX_KEYS);
    for client in busy {
        let (states, _) = limiters.take(&limits, &from(client), now, false);
        assert_eq!(states[0].remaining, 0, "{client:?}");
    }
}

#[test]
fn what_is_over_is_forgotten_by_and_by() {
    let limiters = Limiters::default();
    let start = Instant::now();
    let limits = [limit("p r", Table::Local, 2)];
    let take = |client: u32, after| {
        let now = start + Duration::from_secs(after);
        counts(&limiters, &limits, Some(IpAddr::V4(client.into())), now)
    };
    for client in 0..1000 {
        assert!(take(client, 0));
    }
    for client in 1000..2000 {
        assert!(take(client, 61));
    }
    let status = limiters.status();
    assert_eq!((status.keys, status.forgotten), (1000, 0));
}

/// The cloud's texts have room for so many.
#[test]
fn any_number_of_limits_fits_on_the_stack() {
    let limiters = Limiters::default();
    let names = (0..20_000).map(|number| format!("{number:05}"));
    let limits: Vec<_> = names.map(|name| limit(&name, Table::Local, 1)).collect();
    let now = Instant::now();
    assert!(counts(&limiters, &limits, None, now));
    assert!(!counts(&limiters, &limits, None, now));
}

#[derive(Debug)]
struct Unasked;

#[async_trait::async_trait]
impl Budgets for Unasked {
    fn is_up(&self) -> bool {
        true
    }

    async fn lease(&self, _: &crate::policy::LeaseRequest) -> Option<crate::policy::Lease> {
        None
    }
}

#[tokio::test]
async fn a_lease_wakes_those_who_wait_for_its_key() {
    let limiters = Limiters::default();
    limiters.share(Arc::new(Unasked));
    let mut limit = limit("shared", Table::Local, 100);
    let mut settings = (*limit.settings).clone();
    settings.shared = true;
    limit.settings = settings.into();
    let limits = [limit];
    let now = Instant::now();
    let mut waiting = Vec::new();
    for last in 0..64 {
        let requester = from(ip(&format!("192.0.2.{last}")));
        let (_, taken) = limiters.take(&limits, &requester, now, true);
        let TakeOutcome::NeedsLease(leases, arrived) = taken else {
            panic!("{taken:?}")
        };
        waiting.push((leases, Box::pin(arrived)));
    }
    let (leases, arrived) = waiting.swap_remove(0);
    limiters.request_leases(leases);
    tokio::time::timeout(Duration::from_secs(5), arrived)
        .await
        .unwrap();
    let mut woken = 0;
    for (_, arrived) in &mut waiting {
        woken += usize::from(tokio::time::timeout(Duration::ZERO, arrived).await.is_ok());
    }
    assert!(woken < 8, "{woken} of other keys");
}
