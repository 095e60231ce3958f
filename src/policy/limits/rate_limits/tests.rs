//! Which limits are counted together, in which order, and what one is called that has no room.

use super::*;
use crate::auth::Entry;
use crate::policy::Ruleset;
use crate::policy::testing::policies;

fn ruleset(rules: &str) -> Ruleset {
    Ruleset::build(&"s".into(), &policies(rules))
}

fn limit(id: &str, max_requests: u32, more: &str) -> String {
    format!(
        "{{ id = \"{id}\", type = \"rate_limit\", max_requests = {max_requests}, \
         window_seconds = 60{more} }}"
    )
}

/// Names and room.
fn room(limits: &RateLimits, limiters: &Limiters) -> Vec<(String, u32)> {
    let mut trace = Trace::for_explain();
    let _ = limits.peek(limiters, &Requester::default(), Instant::now(), &mut trace);
    let (entries, _) = trace.finish();
    let room = entries.into_iter().map(|entry| match entry {
        Entry::Limit { name, outcome } => {
            let left = outcome.strip_suffix(" left").unwrap();
            let left = left.rsplit(' ').next().unwrap().parse();
            (name.to_string(), left.unwrap())
        }
        Entry::Step { .. } => panic!("no step was taken: {entry:?}"),
    });
    room.collect()
}

fn named(room: &[(&str, u32)]) -> Vec<(String, u32)> {
    room.iter()
        .map(|(name, left)| ((*name).to_owned(), *left))
        .collect()
}

#[test]
fn one_that_several_steps_name_is_counted_once() {
    let first = ruleset(&[limit("z", 5, ""), limit("a", 4, "")].join(","));
    let second = ruleset(&[limit("a", 4, ""), limit("m", 3, ", weight = 200")].join(","));
    let (mut limits, mut later) = (RateLimits::default(), RateLimits::default());
    limits.add(first.rate_limits(), false, std::iter::empty());
    limits.add(first.rate_limits(), false, std::iter::empty());
    later.add(second.rate_limits(), false, [&limits].into_iter());
    assert!(!limits.is_empty() && !later.is_empty() && RateLimits::default().is_empty());
    let limiters = Limiters::default();
    let now = Instant::now();
    assert_eq!(
        room(&limits, &limiters),
        named(&[("s/rules z", 5), ("s/rules a", 4)])
    );
    for points in [&limits, &later] {
        let (_, found) = points.take(&limiters, &Requester::default(), now);
        found.unwrap();
    }
    assert_eq!(
        room(&limits, &limiters),
        named(&[("s/rules z", 4), ("s/rules a", 3)])
    );
    assert_eq!(room(&later, &limiters), named(&[("s/rules m", 2)]));
}
