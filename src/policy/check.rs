//! One rule against one request.
//!
//! What comes more than once (a header, a parameter) is ambiguous: then every value has to match
//! for a rule to allow, and any one suffices to deny. The same holds for what only some servers
//! take for one: names that differ in case or in a `_` for a `-`.

use std::borrow::Cow;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderName, HeaderValue};
use jiff::Timestamp;

use super::expression;
use super::facts::Facts;
use super::field_name::reads_as;
use crate::auth::Identity;
use crate::config::{Check, ClaimMatch, Effect, MediaRange, TimeWindow, ValueMatch};

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
        Check::RateLimit(_) | Check::ConcurrencyLimit(_) => return None,
        Check::Path { effect, patterns } => {
            let paths = [facts.path, facts.subpath()];
            let found = patterns
                .iter()
                .any(|pattern| paths.iter().any(|path| facts.meets(path, pattern, *effect)));
            (*effect, found)
        }
        Check::Method { effect, methods } => {
            let asked = facts.method.as_str();
            let found = match effect {
                Effect::Allow => methods.contains(facts.method),
                // Some servers fold case: `delete` is `DELETE` to them.
                Effect::Deny => methods
                    .iter()
                    .any(|method| method.as_str().eq_ignore_ascii_case(asked)),
            };
            (*effect, found)
        }
        Check::Header { effect, headers } => {
            let found = headers.iter().all(|field| {
                decide_field(*effect, facts, &field.name, |value| {
                    equals(&field.value, value, true)
                })
            });
            (*effect, found)
        }
        Check::UserAgent { effect, patterns } => {
            let found = decide_field(*effect, facts, &USER_AGENT, |agent| {
                patterns.iter().any(|pattern| pattern.is_match(agent))
            });
            (*effect, found)
        }
        Check::ContentType { effect, types } => {
            let found = decide_field(*effect, facts, &CONTENT_TYPE, |value| {
                has_type(*effect, types, value)
            });
            (*effect, found)
        }
        Check::QueryParameter { effect, parameters } => {
            let given: Vec<_> = facts.parameters().collect();
            let found = parameters.iter().all(|field| {
                let named = |is_named: fn(&str, &str) -> bool| {
                    given
                        .iter()
                        .filter(move |(name, _)| is_named(name, &field.name))
                        .map(|(_, value)| Cow::Borrowed(value.as_str()))
                };
                let exact = named(|name, wanted| name == wanted);
                let alike =
                    named(|name, wanted| name != wanted && name.eq_ignore_ascii_case(wanted));
                decide(*effect, exact, alike, |value| {
                    equals(&field.value, value, false)
                })
            });
            (*effect, found)
        }
        Check::Claims { effect, claims } => {
            let found = facts
                .identity
                .and_then(Identity::claims)
                .is_some_and(|known| {
                    claims
                        .iter()
                        .all(|claim| known.has_at(&claim.path, &claim.values))
                });
            (*effect, found)
        }
        Check::Cel { effect, expression } => match expression::is_true(expression, facts) {
            Ok(found) => (*effect, found),
            Err(error) => {
                log::debug!(
                    "request {}: an expression denies: {error}",
                    facts.request_id
                );
                (Effect::Deny, true)
            }
        },
        Check::Time(window) => {
            let allows = allows_at(window, Timestamp::now());
            let effect = if allows { Effect::Allow } else { Effect::Deny };
            (effect, true)
        }
        Check::Geo {
            effect,
            countries,
            header,
        } => {
            let found = facts.peer_is_trusted
                && decide_field(*effect, facts, header, |value| {
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

/// What a rule looked at, for `explain`: of rules on claims, and of expressions.
pub(super) fn values(check: &Check, facts: &Facts<'_>) -> Vec<String> {
    match check {
        Check::Claims { claims, .. } => {
            let known = facts.identity.and_then(Identity::claims);
            let value = |claim: &ClaimMatch| {
                let path = &claim.path;
                match known.and_then(|known| known.at(path)) {
                    Some(value) => format!("{path} is {value}"),
                    None => format!("{path} is not there"),
                }
            };
            claims.iter().map(value).collect()
        }
        Check::Cel { expression, .. } => {
            let error = expression::is_true(expression, facts).err();
            let error = error.map(|error| error.to_string());
            expression::looked_at(expression, facts)
                .chain(error)
                .collect()
        }
        _ => Vec::new(),
    }
}

/// `exact` has the name that is meant, `alike` one that some servers take for it. All of the
/// values, and at least one of the exact ones, to allow; any of them to deny.
fn decide<'v>(
    effect: Effect,
    mut exact: impl Iterator<Item = Cow<'v, str>>,
    mut alike: impl Iterator<Item = Cow<'v, str>>,
    mut matches: impl FnMut(&str) -> bool,
) -> bool {
    match effect {
        Effect::Deny => exact.chain(alike).any(|value| matches(&value)),
        Effect::Allow => {
            exact.next().is_some_and(|first| matches(&first))
                && exact.all(|value| matches(&value))
                && alike.all(|value| matches(&value))
        }
    }
}

/// The same for the values of a header field.
fn decide_field(
    effect: Effect,
    facts: &Facts<'_>,
    name: &HeaderName,
    matches: impl FnMut(&str) -> bool,
) -> bool {
    let exact = facts.headers.get_all(name).into_iter().map(text);
    let alike = facts.headers.iter().filter(|(other, _)| {
        facts.ambiguous_names
            && *other != name
            && reads_as(other.as_str().as_bytes(), name.as_str().as_bytes())
    });
    decide(effect, exact, alike.map(|(_, value)| text(value)), matches)
}

/// What is no text has its odd bytes replaced.
fn text(value: &HeaderValue) -> Cow<'_, str> {
    String::from_utf8_lossy(value.as_bytes())
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
        // In constant time: some compare a key that way.
        ValueMatch::Exact(secret) => {
            verify_slices_are_equal(secret.expose().as_bytes(), value.as_bytes()).is_ok()
        }
        ValueMatch::Contains(secret) => value.contains(secret.expose()),
        ValueMatch::Regex(pattern) => pattern.is_match(&value),
    }
}

/// Whether a `Content-Type` is in one of the ranges. It is one media type; servers that take a list
/// for one differ in which of its members counts, so any denies, and all have to be allowed.
fn has_type(effect: Effect, ranges: &[MediaRange], value: &str) -> bool {
    let in_range = |member: &str| ranges.iter().any(|range| includes(range, member));
    let mut members = value.split(',');
    match effect {
        Effect::Deny => members.any(in_range),
        Effect::Allow => {
            // What has no slash is nobody's media type, but a part of a quoted parameter.
            let is_type = |member: &&str| member.split(';').next().unwrap_or(member).contains('/');
            let mut members = members.filter(is_type);
            members.next().is_some_and(in_range) && members.all(in_range)
        }
    }
}

/// Whether a media type, parameters left out, is in a range.
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

fn allows_at(window: &TimeWindow, now: Timestamp) -> bool {
    let now = now.to_zoned(window.timezone.clone());
    let minutes = i32::from(now.hour()) * 60 + i32::from(now.minute());
    let in_times = window.times.is_none_or(|(from, to)| {
        let (from, to) = (i32::from(from), i32::from(to));
        if from < to {
            (from..to).contains(&minutes)
        } else {
            minutes >= from || minutes < to
        }
    });
    let inside = in_times
        && (window.days.is_empty() || window.days.contains(&now.weekday()))
        && window.first_day.is_none_or(|first| now.date() >= first)
        && window.last_day.is_none_or(|last| now.date() <= last);
    inside == window.allow_inside
}

#[cfg(test)]
mod tests;
