//! One rule against one request.
//!
//! What comes more than once (a header, a parameter) is ambiguous: then every value has to match
//! for a rule to allow, and any one suffices to deny.

use std::borrow::Cow;
use std::net::IpAddr;

use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName};

use super::facts::Facts;
use crate::config::{Check, Effect, FieldMatch, MediaRange, TimeWindow, ValueMatch};

/// What a rule says of a request; `None`: nothing.
pub(super) fn finding(check: &Check, facts: &Facts<'_>) -> Option<Effect> {
    let (effect, matches) = match check {
        Check::All(effect) => (*effect, true),
        Check::Ip { effect, ranges } => {
            let found = facts.client.map(|client| {
                let client = client.to_canonical();
                ranges.iter().any(|range| range.contains(&client))
            });
            (*effect, found.unwrap_or(*effect == Effect::Deny))
        }
        Check::RateLimit(_) => return None,
        Check::Path { effect, patterns } => {
            let paths = [facts.path, facts.subpath()];
            let found = patterns.iter().any(|pattern| {
                paths.iter().any(|path| match effect {
                    Effect::Allow => pattern.is_match(path),
                    Effect::Deny => pattern.covers(path),
                })
            });
            (*effect, found)
        }
        Check::Method { effect, methods } => (*effect, methods.contains(facts.method)),
        Check::Header { effect, headers } => {
            let found = headers
                .iter()
                .all(|field| header(field, *effect, facts.headers));
            (*effect, found)
        }
        Check::UserAgent { effect, patterns } => {
            let values = texts(facts.headers, &USER_AGENT);
            let found = decide(*effect, values, |agent| {
                patterns.iter().any(|pattern| pattern.is_match(agent))
            });
            (*effect, found)
        }
        Check::ContentType { effect, types } => {
            let values = texts(facts.headers, &CONTENT_TYPE);
            let found = decide(*effect, values, |value| {
                types.iter().any(|range| includes(range, value))
            });
            (*effect, found)
        }
        Check::QueryParameter { effect, parameters } => {
            let given: Vec<_> = facts.parameters().collect();
            let found = parameters.iter().all(|field| {
                let values = given
                    .iter()
                    .filter(|(name, _)| *name == field.name)
                    .map(|(_, value)| Cow::Borrowed(value.as_str()));
                decide(*effect, values, |value| equals(&field.value, value, false))
            });
            (*effect, found)
        }
        Check::Time(window) => {
            let allows = inside(window, facts) == window.allow_inside;
            let effect = if allows { Effect::Allow } else { Effect::Deny };
            (effect, true)
        }
        Check::Geo {
            effect,
            countries,
            header,
        } => {
            let values = texts(facts.headers, header).filter(|_| facts.peer_is_trusted);
            let found = decide(*effect, values, |value| {
                let value = value.trim();
                countries
                    .iter()
                    .any(|country| country.eq_ignore_ascii_case(value))
            });
            (*effect, found)
        }
    };
    matches.then_some(effect)
}

/// All of the values, and at least one, to allow; any to deny.
fn decide<'v>(
    effect: Effect,
    mut values: impl Iterator<Item = Cow<'v, str>>,
    mut matches: impl FnMut(&str) -> bool,
) -> bool {
    match effect {
        Effect::Deny => values.any(|value| matches(&value)),
        Effect::Allow => match values.next() {
            None => false,
            Some(first) => matches(&first) && values.all(|value| matches(&value)),
        },
    }
}

/// The values of a header. What is no text has its odd bytes replaced.
fn texts<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = Cow<'h, str>> {
    let values = headers.get_all(name).into_iter();
    values.map(|value| String::from_utf8_lossy(value.as_bytes()))
}

fn header(field: &FieldMatch<HeaderName>, effect: Effect, headers: &HeaderMap) -> bool {
    decide(effect, texts(headers, &field.name), |value| {
        equals(&field.value, value, true)
    })
}

/// `folded`: case does not count, and what it is compared with is in lower case.
fn equals(wanted: &ValueMatch, value: &str, folded: bool) -> bool {
    let value = if folded && !matches!(wanted, ValueMatch::Regex(_)) {
        Cow::Owned(value.to_ascii_lowercase())
    } else {
        Cow::Borrowed(value)
    };
    match wanted {
        ValueMatch::Exists => true,
        ValueMatch::Exact(secret) => same(secret.expose().as_bytes(), value.as_bytes()),
        ValueMatch::Contains(secret) => value.contains(secret.expose()),
        ValueMatch::Regex(pattern) => pattern.is_match(&value),
    }
}

/// Takes the same time wherever they differ: some compare a key that way.
fn same(a: &[u8], b: &[u8]) -> bool {
    let differences = a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b));
    a.len() == b.len() && std::hint::black_box(differences) == 0
}

/// Whether a `Content-Type`, parameters left out, is in a range.
fn includes(range: &MediaRange, value: &str) -> bool {
    let essence = value.split(';').next().unwrap_or(value).trim();
    match range {
        MediaRange::Any => essence.contains('/'),
        MediaRange::Type(start) => essence
            .get(..start.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(start)),
        MediaRange::Exact(wanted) => essence.eq_ignore_ascii_case(wanted),
    }
}

fn inside(window: &TimeWindow, facts: &Facts<'_>) -> bool {
    let now = facts.time.to_zoned(window.timezone.clone());
    let minutes = i32::from(now.hour()) * 60 + i32::from(now.minute());
    let in_times = window.times.is_none_or(|(from, to)| {
        let (from, to) = (i32::from(from), i32::from(to));
        if from < to {
            (from..to).contains(&minutes)
        } else {
            minutes >= from || minutes < to
        }
    });
    in_times
        && (window.days.is_empty() || window.days.contains(&now.weekday()))
        && window.first_day.is_none_or(|first| now.date() >= first)
        && window.last_day.is_none_or(|last| now.date() <= last)
}

/// The address that a client is counted under: IPv6 by its /64, since a single client has that
/// many.
pub(super) fn counted(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests;
