//! Permits that are taken and given back.

use super::*;
use crate::auth::Entry;
use crate::config::{CountBy, Quota};

fn limits(all: &[(&str, Table, u32)]) -> ConcurrencyLimits {
    let mut limits = ConcurrencyLimits::default();
    for (name, table, most) in all {
        let limit = Limit {
            name: (*name).into(),
            table: *table,
            settings: Arc::new(ConcurrencyLimit {
                quota: Quota {
                    most: *most,
                    by: None,
                },
                by: vec![CountBy::Client],
            }),
        };
        limits.add(std::slice::from_ref(&limit));
        limits.add(&[limit]);
    }
    limits
}

fn from(client: &str) -> Requester<'static> {
    Requester {
        client: client.parse().ok(),
        ..Requester::default()
    }
}

#[test]
fn as_many_as_there_is_room_for_and_none_is_lost() {
    let limiters = Limiters::default();
    let limits = limits(&[("a", Table::Local, 2)]);
    let one = limits.enter(&limiters, &from("192.0.2.1")).unwrap();
    let two = limits.enter(&limiters, &from("192.0.2.1")).unwrap();
    let full = || limits.enter(&limiters, &from("192.0.2.1")).err();
    assert_eq!(full(), Some(Denial::ConcurrencyLimited));
    assert!(limits.enter(&limiters, &from("192.0.2.2")).is_ok());
    let mut trace = Trace::for_explain();
    let found = limits.enter_or_peek(&limiters, &from("192.0.2.1"), &mut trace);
    assert_eq!(found.err(), Some(Denial::ConcurrencyLimited));
    let outcome = "2 requests at once, 2 in flight".to_owned();
    let name = limits.limits[0].name.clone();
    assert_eq!(trace.finish().0, [Entry::Limit { name, outcome }]);
    drop(one);
    assert_eq!(full(), None);
    drop(two);
    assert!(limiters.in_flight().is_empty());
}

#[test]
fn one_that_is_full_takes_no_place_under_another() {
    let limiters = Limiters::default();
    let wide = limits(&[("wide", Table::Local, 2)]);
    let both = limits(&[("wide", Table::Local, 2), ("narrow", Table::Local, 1)]);
    let one = both.enter(&limiters, &from("192.0.2.1")).unwrap();
    for _ in 0..3 {
        assert!(both.enter(&limiters, &from("192.0.2.1")).is_err());
    }
    assert!(wide.enter(&limiters, &from("192.0.2.1")).is_ok());
    let cloud = limits(&[("wide", Table::Cloud, 1)]);
    assert!(cloud.enter(&limiters, &from("192.0.2.1")).is_ok());
    drop(one);
    assert!(limiters.in_flight().is_empty());
}
