//! The fields as a client reads them.

use std::time::Duration;

use smallvec::smallvec;

use super::*;
use crate::config::{CountBy, Quota};
use crate::policy::limits::limiters::LimitState;
use crate::policy::limits::named::Table;

fn limit(name: &str, headers: bool, by: bool) -> Limit<RateLimit> {
    let by_plan = || (CountBy::Subject, [("a".to_owned(), 9)].into());
    Limit {
        name: name.into(),
        table: Table::Local,
        settings: RateLimit {
            quota: Quota {
                most: 5,
                by: by.then(by_plan),
            },
            window: Duration::from_secs(60),
            by: vec![CountBy::Client],
            attempts: false,
            shared: false,
            headers,
        }
        .into(),
    }
}

fn state(remaining: u32) -> LimitState {
    LimitState {
        most: 7,
        remaining,
        reset: Duration::from_millis(29_001),
    }
}

fn values(fields: Option<RateLimitFields>) -> Vec<String> {
    let fields = fields.unwrap();
    let values = fields.iter();
    values
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect()
}

#[test]
fn one_item_for_each_limit_that_is_shown() {
    let limits = [
        limit("p often", true, false),
        limit("hidden", false, false),
        limit("q\"\\é", true, true),
    ];
    let names = FieldNames::of(&limits);
    let states = smallvec![state(4), state(0), state(2)];
    assert_eq!(
        values(names.fill(&limits, &states)),
        [
            r#"ratelimit: "p often";r=4;t=30, "q\"\\%C3%A9";r=2;t=30"#,
            r#"ratelimit-policy: "p often";q=7;w=60, "q\"\\%C3%A9";q=7;w=60"#
        ]
    );
    let fixed = FieldNames::of(&limits[..1]);
    let fill = || fixed.fill(&limits, &states);
    let joined = fill().map(|fields| fields.after(fill()));
    assert_eq!(
        values(joined),
        [
            r#"ratelimit: "p often";r=4;t=30, "p often";r=4;t=30"#,
            r#"ratelimit-policy: "p often";q=5;w=60, "p often";q=5;w=60"#
        ]
    );
    let none = FieldNames::of(&limits[1..2]);
    assert_eq!(none.fill(&limits[1..2], &states), None);
}

#[test]
fn there_are_only_so_many() {
    let limits: Vec<_> = (0..100)
        .map(|it| limit(&it.to_string(), true, false))
        .collect();
    let states = limits.iter().map(|_| state(1)).collect();
    let fields = values(FieldNames::of(&limits).fill(&limits, &states));
    assert_eq!(fields[0].matches(";r=").count(), MOST);
}
