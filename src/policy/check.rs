//! One rule against one request.
//!
//! What comes more than once (a header, a parameter) is ambiguous: then every value has to match
//! for a rule to allow, and any one suffices to deny. The same holds for what only some servers
//! take for one: names that differ in case or in a `_` for a `-`.

use std::borrow::Cow;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderName, HeaderValue, Method};
use ipnet::IpNet;
use jiff::Timestamp;

use super::expression;
use super::facts::Facts;
use super::field_name::reads_as;
use crate::auth::Identity;
use crate::config::{
    Check, ClaimMatch, Effect, FieldMatch, MediaRange, PathPattern, TimeWindow, ValueMatch,
};

/// Evaluates a rule for a request. `None`: it does not match.
pub(super) fn evaluate(check: &Check, facts: &Facts<'_>) -> Option<Effect> {
    let (effect, matches) = match check {
        Check::RateLimit(_) | Check::ConcurrencyLimit(_) => return None,
        Check::All(effect) => (*effect, true),
        Check::Ip { effect, ranges } => (*effect, is_in_range(*effect, facts, ranges)),
        Check::Path { effect, patterns } => (*effect, meets_any(*effect, facts, patterns)),
        Check::Method { effect, methods } => (*effect, has_method(*effect, facts, methods)),
        Check::Header { effect, headers } => {
            let has = |field: &FieldMatch<HeaderName>| {
                decide_field(*effect, facts, &field.name, |value| {
                    equals_ignoring_case(&field.value, value)
                })
            };
            (*effect, headers.iter().all(has))
        }
        Check::UserAgent { effect, patterns } => {
            let matches = |agent: &str| patterns.iter().any(|pattern| pattern.is_match(agent));
            (*effect, decide_field(*effect, facts, &USER_AGENT, matches))
        }
        Check::ContentType { effect, types } => {
            let matches = |value: &str| has_type(*effect, types, value);
            (
                *effect,
                decide_field(*effect, facts, &CONTENT_TYPE, matches),
            )
        }
        Check::QueryParameter { effect, parameters } => {
            let has = |field: &FieldMatch<String>| decide_parameter(*effect, facts, field);
            (*effect, parameters.iter().all(has))
        }
        Check::Claims { effect, claims } => {
            let known = facts.identity.and_then(Identity::claims);
            let found = known.is_some_and(|known| {
                let mut claims = claims.iter();
                claims.all(|claim| known.has(&claim.path, &claim.values))
            });
            (*effect, found)
        }
        Check::Cel { effect, expression } => match expression::is_true(expression, facts) {
            Ok(found) => (*effect, found),
            Err(error) => {
                log::debug!(
                    "request {}: an expression cannot be evaluated, so it denies: {error}",
                    facts.request_id
                );
                (Effect::Deny, true)
            }
        },
        Check::Time(window) => {
            let allows = allows_at(window, Timestamp::now());
            (if allows { Effect::Allow } else { Effect::Deny }, true)
        }
        Check::Geo {
            effect,
            countries,
            header,
        } => {
            let is_listed = |value: &str| {
                let mut countries = countries.iter();
                countries.any(|country| country.eq_ignore_ascii_case(value.trim()))
            };
            let found = facts.peer_is_trusted && decide_field(*effect, facts, header, is_listed);
            (*effect, found)
        }
    };
    matches.then_some(effect)
}

/// A client without an address is in no range that allows, and in every one that denies.
fn is_in_range(effect: Effect, facts: &Facts<'_>, ranges: &[IpNet]) -> bool {
    match facts.client.map(|client| client.to_canonical()) {
        Some(client) => ranges.iter().any(|range| range.contains(&client)),
        None => effect == Effect::Deny,
    }
}

fn meets_any(effect: Effect, facts: &Facts<'_>, patterns: &[PathPattern]) -> bool {
    let paths = [facts.path, facts.subpath()];
    patterns
        .iter()
        .any(|pattern| paths.iter().any(|path| facts.meets(path, pattern, effect)))
}

fn has_method(effect: Effect, facts: &Facts<'_>, methods: &[Method]) -> bool {
    match effect {
        Effect::Allow => methods.contains(facts.method),
        // Some servers ignore case: `delete` is `DELETE` to them.
        Effect::Deny => {
            let sent = facts.method.as_str();
            let mut methods = methods.iter();
            methods.any(|method| method.as_str().eq_ignore_ascii_case(sent))
        }
    }
}

/// What a rule on claims or an expression looked at, for `explain`.
pub(super) fn describe_inputs(check: &Check, facts: &Facts<'_>) -> Vec<String> {
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

/// `exact` are the values of the rule's name, `lookalikes` those of names that some servers take
/// for it. To allow, all of them have to match, and there has to be an exact one; to deny, any.
fn decide<'v>(
    effect: Effect,
    mut exact: impl Iterator<Item = Cow<'v, str>>,
    mut lookalikes: impl Iterator<Item = Cow<'v, str>>,
    mut matches: impl FnMut(&str) -> bool,
) -> bool {
    match effect {
        Effect::Deny => exact.chain(lookalikes).any(|value| matches(&value)),
        Effect::Allow => {
            exact.next().is_some_and(|first| matches(&first))
                && exact.all(|value| matches(&value))
                && lookalikes.all(|value| matches(&value))
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
    let lookalikes = facts.headers.iter().filter(|(other, _)| {
        facts.ambiguous_names
            && *other != name
            && reads_as(other.as_str().as_bytes(), name.as_str().as_bytes())
    });
    let lookalikes = lookalikes.map(|(_, value)| text(value));
    decide(effect, exact, lookalikes, matches)
}

/// The same for the values of a query parameter.
fn decide_parameter(effect: Effect, facts: &Facts<'_>, field: &FieldMatch<String>) -> bool {
    let named = |is_named: fn(&str, &str) -> bool| {
        let given = facts.parameters();
        let given = given.filter(move |(name, _)| is_named(name, &field.name));
        given.map(|(_, value)| value)
    };
    let exact = named(|name, wanted| name == wanted);
    let lookalikes = named(|name, wanted| name != wanted && name.eq_ignore_ascii_case(wanted));
    decide(effect, exact, lookalikes, |value| {
        equals(&field.value, value)
    })
}

/// What is no text has its odd bytes replaced.
fn text(value: &HeaderValue) -> Cow<'_, str> {
    String::from_utf8_lossy(value.as_bytes())
}

/// `wanted` is in lower case, but for a regular expression, which says itself whether case counts.
fn equals_ignoring_case(wanted: &ValueMatch, value: &str) -> bool {
    let has_upper_case = || value.bytes().any(|byte| byte.is_ascii_uppercase());
    match wanted {
        ValueMatch::Exact(_) | ValueMatch::Contains(_) if has_upper_case() => {
            equals(wanted, &value.to_ascii_lowercase())
        }
        _ => equals(wanted, value),
    }
}

fn equals(wanted: &ValueMatch, value: &str) -> bool {
    match wanted {
        ValueMatch::Exists => true,
        // In constant time: the value may be a secret.
        ValueMatch::Exact(secret) => {
            verify_slices_are_equal(secret.expose().as_bytes(), value.as_bytes()).is_ok()
        }
        ValueMatch::Contains(secret) => value.contains(secret.expose()),
        ValueMatch::Regex(pattern) => pattern.is_match(value),
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
