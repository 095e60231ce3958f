//! Windows, who is counted under what, and several limits at once.

use super::*;
use crate::config::RateLimit;

fn limit(name: &str, owner: Owner, max_requests: u32) -> Limit {
    Limit {
        name: name.into(),
        owner,
        settings: RateLimit {
            max_requests,
            window: Duration::from_secs(60),
        },
        place: 0,
    }
}

fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

/// Under one limit of two requests a minute: whether there was room, or for how long there is none.
fn take(
    limiters: &Limiters,
    name: &str,
    owner: Owner,
    client: Option<IpAddr>,
    now: Instant,
) -> Result<(), Duration> {
    let limits = [limit(name, owner, 2)];
    limiters
        .take(&limits, client, now)
        .map_err(|over| over.wait)
}

#[test]
fn a_window_begins_with_its_first_request_and_ends_as_a_whole() {
    let limiters = Limiters::default();
    let start = Instant::now();
    let take = |after| {
        let now = start + Duration::from_secs(after);
        take(&limiters, "p r", Owner::Local, ip("10.0.0.1"), now)
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
    let take = |name: &str, client| take(&limiters, name, Owner::Local, client, now);
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
fn the_cloud_counts_for_itself() {
    let limiters = Limiters::bounded(100);
    let now = Instant::now();
    let take = |owner, client| take(&limiters, "p r", owner, client, now);
    for _ in 0..2 {
        assert!(take(Owner::Cloud, ip("10.0.0.1")).is_ok());
    }
    assert!(take(Owner::Cloud, ip("10.0.0.1")).is_err());
    for _ in 0..2 {
        assert!(take(Owner::Local, ip("10.0.0.1")).is_ok());
    }
    // Nor does it push local counts out.
    for index in 0..5_000_u32 {
        let _ = take(Owner::Cloud, Some(IpAddr::V4((0x0a00_0000 + index).into())));
    }
    assert!(take(Owner::Local, ip("10.0.0.1")).is_err());
}

#[test]
fn other_settings_go_on_with_the_count() {
    let limiters = Limiters::default();
    let now = Instant::now();
    let take = |max_requests| {
        let limits = [limit("p r", Owner::Local, max_requests)];
        limiters.take(&limits, ip("10.0.0.1"), now)
    };
    assert!(take(2).is_ok() && take(2).is_ok() && take(2).is_err());
    assert!(take(3).is_ok() && take(3).is_err() && take(1).is_err());
}

#[test]
fn the_state_is_bounded_and_keeps_the_busiest() {
    let limiters = Limiters::bounded(100);
    let now = Instant::now();
    let take = |client| take(&limiters, "p r", Owner::Local, client, now);
    let busy = ip("192.0.2.1");
    for index in 0..5_000_u32 {
        assert!(take(Some(IpAddr::V4((0x0a00_0000 + index).into()))).is_ok());
        if index % 10 == 0 {
            let _ = take(busy);
        }
    }
    assert!(limiters.clients() <= 100);
    assert!(take(busy).is_err());
}

/// Three limits, in the order of their names as [`RateLimits`](crate::policy::RateLimits) keeps
/// them, but `c` stands first in the pipeline.
fn three() -> [Limit; 3] {
    let [mut a, mut b, mut c] =
        [("a", 3), ("b", 1), ("c", 2)].map(|(name, most)| limit(name, Owner::Local, most));
    (c.place, a.place, b.place) = (0, 1, 2);
    b.settings.window = Duration::from_secs(10);
    [a, b, c]
}

#[test]
fn a_request_that_one_limit_refuses_takes_nothing_of_the_others() {
    let limiters = Limiters::default();
    let limits = three();
    let start = Instant::now();
    let client = ip("10.0.0.1");
    let take = |after| {
        let now = start + Duration::from_secs(after);
        let taken = limiters.take(&limits, client, now);
        let (left, _) = limiters.peek(&limits, client, now);
        let over = taken.map_err(|over| (over.place, over.wait.as_secs()));
        (over, <[u32; 3]>::try_from(left).unwrap())
    };
    assert_eq!(take(0), (Ok(()), [2, 0, 1]));
    for _ in 0..5 {
        assert_eq!(take(4), (Err((2, 6)), [2, 0, 1]));
    }
    assert_eq!(take(12), (Ok(()), [1, 0, 0]));
    // Both `b` and `c` have none left: that of the first step and rule answers.
    assert_eq!(take(13), (Err((0, 47)), [1, 0, 0]));
    assert_eq!(take(23), (Err((0, 37)), [1, 1, 0]));
    // A refused request begins no window: that of `b` begins here.
    assert_eq!(take(60), (Ok(()), [2, 0, 1]));
    assert_eq!(take(69), (Err((2, 1)), [2, 0, 1]));
}

#[test]
fn a_look_finds_what_a_request_would_and_counts_nothing() {
    let limiters = Limiters::default();
    let (limits, now) = (three(), Instant::now());
    for _ in 0..5 {
        assert_eq!(limiters.peek(&limits, None, now), (vec![3, 1, 2], Ok(())));
    }
    assert_eq!(limiters.clients(), 0);
    limiters.take(&limits, None, now).unwrap();
    let (left, looked) = limiters.peek(&limits, None, now);
    assert_eq!(left, [2, 0, 1]);
    assert_eq!(looked, limiters.take(&limits, None, now));
}

#[test]
fn requests_at_once_take_no_token_more_or_less_than_there_are() {
    let limiters = Limiters::default();
    let [a, b, c] = three();
    let mut reversed = [c.clone(), a.clone()];
    reversed.sort_by(|one, other| one.name.cmp(&other.name));
    let pairs: [&[Limit]; 2] = [&[a.clone(), c.clone()], &reversed];
    let now = Instant::now();
    let passed = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (limiters, passed) = (&limiters, &passed);
            scope.spawn(move || {
                for _ in 0..200 {
                    if limiters.take(pairs[thread % 2], None, now).is_ok() {
                        passed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(passed.into_inner(), 2);
    let (left, _) = limiters.peek(&[a, b, c], None, now);
    assert_eq!(
        left,
        [1, 1, 0],
        "none was taken for those that were refused"
    );
}

/// The cloud's texts have room for so many.
#[test]
fn any_number_of_limits_fits_on_the_stack() {
    let limiters = Limiters::default();
    let names = (0..20_000).map(|number| format!("{number:05}"));
    let limits: Vec<Limit> = names.map(|name| limit(&name, Owner::Local, 1)).collect();
    let now = Instant::now();
    assert!(limiters.take(&limits, None, now).is_ok());
    assert!(limiters.take(&limits, None, now).is_err());
}
