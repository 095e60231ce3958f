//! Options of `rate_limit` and `concurrency_limit`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::model::{ConcurrencyLimit, CountBy, Quota, RateLimit};
use crate::config::reader::Reader;

/// A month: longer counts belong to a system that outlives a process.
const WINDOW: RangeInclusive<i64> = 1..=31 * 86_400;
const NUMBER: RangeInclusive<i64> = 1..=u32::MAX as i64;
const KINDS: &[&str] = &[
    "client",
    "subject",
    "claim:NAME",
    "key",
    "client_id",
    "route",
];

pub(super) fn rate_limit(reader: &Reader<'_>) -> Option<RateLimit> {
    let quota = quota(reader, "max_requests", 60);
    let window = required(reader, "window_seconds", 60, WINDOW);
    let by = by(reader);
    let attempts = choice(reader, "count", ["passed", "attempts"]);
    if let Some(true) = attempts
        && let Some(by) = &by
        && *by != [CountBy::Client]
        && let Some(count) = reader.get("count")
    {
        count.error_help(
            "counts before anybody has authenticated, and `by` asks who did",
            "write by = \"client\", or leave `count` out",
        );
    }
    Some(RateLimit {
        window: Duration::from_secs(window?.unsigned_abs()),
        quota: quota?,
        by: by?,
        attempts: attempts?,
        shared: choice(reader, "scope", ["local", "shared"])?,
        headers: reader.flag("headers", true),
    })
}

pub(super) fn concurrency_limit(reader: &Reader<'_>) -> Option<ConcurrencyLimit> {
    let quota = quota(reader, "max_in_flight", 10);
    let by = by(reader);
    Some(ConcurrencyLimit {
        quota: quota?,
        by: by?,
    })
}

fn required(
    reader: &Reader<'_>,
    key: &'static str,
    example: u32,
    range: RangeInclusive<i64>,
) -> Option<i64> {
    let entry = reader.get(key);
    if entry.is_none() {
        reader.missing(key, &format!("add {key} = {example}"));
    }
    entry?.integer(range)
}

/// One of two words; `Some(true)`: the second. The first is the default.
fn choice(reader: &Reader<'_>, key: &'static str, words: [&str; 2]) -> Option<bool> {
    let Some(entry) = reader.get(key) else {
        return Some(false);
    };
    let text = entry.text()?;
    let found = words.iter().position(|word| *word == &*text);
    if found.is_none() {
        entry.unknown("choice", &text, &words);
    }
    found.map(|index| index == 1)
}

fn by(reader: &Reader<'_>) -> Option<Vec<CountBy>> {
    let Some(entry) = reader.get("by") else {
        return Some(vec![CountBy::Client]);
    };
    if !entry.is_not_empty() {
        return None;
    }
    let mut all = Vec::new();
    let written = entry.one_or_more();
    for (text, item) in &written {
        let Some(by) = kind(text) else {
            item.unknown("kind of key", text, KINDS);
            return None;
        };
        if all.contains(&by) {
            item.error(format!("{} is named twice", text.shown()));
        }
        all.push(by);
    }
    (!all.is_empty()).then_some(all)
}

fn kind(text: &str) -> Option<CountBy> {
    Some(match text {
        "client" => CountBy::Client,
        "subject" => CountBy::Subject,
        "key" => CountBy::ApiKey,
        "client_id" => CountBy::ClientId,
        "route" => CountBy::Route,
        other => {
            let name = other.strip_prefix("claim:")?;
            (!name.is_empty()).then(|| CountBy::Claim(name.into()))?
        }
    })
}

/// The number, and `limits`: `{ "claim:plan" = { gold = 1000 } }`.
fn quota(reader: &Reader<'_>, key: &'static str, example: u32) -> Option<Quota> {
    let number = |value: i64| u32::try_from(value).ok();
    let most = required(reader, key, example, NUMBER).and_then(number);
    let Some(entry) = reader.get("limits") else {
        return Some(Quota {
            most: most?,
            by: None,
        });
    };
    let selectors = entry.table()?.entries();
    let [(selector, values)] = selectors.as_slice() else {
        entry.error_help(
            "has to name one thing that is looked at",
            "write it like limits = { \"claim:plan\" = { gold = 1000, free = 10 } }",
        );
        return None;
    };
    let of_identity = |by: &CountBy| !matches!(by, CountBy::Client | CountBy::Route);
    let Some(by) = kind(selector).filter(of_identity) else {
        values.error_help(
            "is nothing that an identity has",
            "write claim:NAME, subject, key or client_id",
        );
        return None;
    };
    let mut numbers = BTreeMap::new();
    for (value, entry) in values.table()?.entries() {
        numbers.insert(value.to_owned(), entry.integer(NUMBER).and_then(number)?);
    }
    if numbers.is_empty() {
        values.error_help("is empty", "name at least one value and its number");
        return None;
    }
    Some(Quota {
        most: most?,
        by: Some((by, numbers)),
    })
}
