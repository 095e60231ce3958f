//! `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-08): lists of items,
//! one for each limit.

use http::{HeaderName, HeaderValue};

use super::limiters::LimitStates;
use super::named::Limit;
use crate::common::retry_after;
use crate::config::RateLimit;

const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Most limits that are listed in the two fields.
const MOST: usize = 16;

/// What of both fields is known when a pipeline is built.
#[derive(Debug, Default)]
pub(super) struct FieldNames {
    /// Those that are shown: where they stand among the limits, and their names as strings of
    /// structured fields (RFC 9651 section 3.3.3).
    shown: Vec<(usize, Box<str>)>,
    /// `RateLimit-Policy`, if it does not depend on who use_store.
    policy: Option<HeaderValue>,
}

/// The two fields of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimitFields {
    limit: HeaderValue,
    policy: HeaderValue,
}

impl FieldNames {
    pub(super) fn of(limits: &[Limit<RateLimit>]) -> Self {
        let shown = limits.iter().enumerate();
        let shown = shown.filter(|(_, limit)| limit.settings.headers).take(MOST);
        let mut names = Self {
            shown: shown.map(|(at, limit)| (at, quoted(&limit.name))).collect(),
            policy: None,
        };
        if limits.iter().all(|limit| limit.settings.quota.by.is_none()) {
            names.policy = names.policy(limits, |at| limits[at].settings.quota.most);
        }
        names
    }

    /// The fields, for limits that stand like this. `None`: no limit is shown.
    pub(super) fn fill(
        &self,
        limits: &[Limit<RateLimit>],
        states: &LimitStates,
    ) -> Option<RateLimitFields> {
        if self.shown.is_empty() {
            return None;
        }
        let limit = self.list(48, |at, text| {
            let state = states[at];
            number(text, ";r=", state.remaining.into());
            number(text, ";t=", retry_after(state.reset).into());
        })?;
        let policy = self.policy.clone();
        let policy = policy.or_else(|| self.policy(limits, |at| states[at].most))?;
        Some(RateLimitFields { limit, policy })
    }

    fn policy(
        &self,
        limits: &[Limit<RateLimit>],
        most: impl Fn(usize) -> u32,
    ) -> Option<HeaderValue> {
        self.list(48, |at, text| {
            number(text, ";q=", most(at).into());
            number(text, ";w=", limits[at].settings.window.as_secs());
        })
    }

    fn list(&self, item: usize, add: impl Fn(usize, &mut Vec<u8>)) -> Option<HeaderValue> {
        let names = self.shown.iter().map(|(_, name)| name.len() + item);
        let mut text = Vec::with_capacity(names.sum());
        for (at, name) in &self.shown {
            if !text.is_empty() {
                text.extend_from_slice(b", ");
            }
            text.extend_from_slice(name.as_bytes());
            add(*at, &mut text);
        }
        HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).ok()
    }
}

fn number(text: &mut Vec<u8>, name: &str, number: u64) {
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// What is not visible ASCII is percent-encoded.
fn quoted(name: &str) -> Box<str> {
    let name = percent_encoding::utf8_percent_encode(name, percent_encoding::CONTROLS);
    let name = name.to_string().replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{name}\"").into()
}

impl RateLimitFields {
    /// The same with those of limits that counted earlier before them.
    pub fn after(self, earlier: Option<Self>) -> Self {
        let joined = |first: HeaderValue, second: HeaderValue| {
            let list = [first.as_bytes(), second.as_bytes()].join(&b", "[..]);
            HeaderValue::from_bytes(&list).unwrap_or(second)
        };
        match earlier {
            None => self,
            Some(earlier) => Self {
                limit: joined(earlier.limit, self.limit),
                policy: joined(earlier.policy, self.policy),
            },
        }
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (HeaderName, &HeaderValue)> {
        [(LIMIT, &self.limit), (POLICY, &self.policy)].into_iter()
    }
}

#[cfg(test)]
mod tests;
