//! Whom a request counts for: the key under which a limit counts it.
//!
//! A key carries its limit and, for each part, the kind of the part; what an identity says of
//! itself stands beside how it authenticated and who issued it. So a subject that looks like an
//! address is not that address, and two issuers' subjects are not each other.

use std::net::IpAddr;

use ring::digest::{SHA256, digest};
use serde_json::Value;
use smallvec::SmallVec;

use crate::auth::{Admitted, AuthMethod, Identity};
use crate::common::client_network;
use crate::config::{CountBy, Quota};

/// On the stack up to the length that most have.
pub(super) type LimitKey = SmallVec<[u8; MAX_KEY_BYTES]>;

/// A longer key is kept as its hash, so that no subject makes the table larger.
const MAX_KEY_BYTES: usize = 128;

/// Ends a text in a key: no text has this byte (RFC 3629).
const END: u8 = 0xff;

/// What of a request limits look at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Requester<'a> {
    /// That of the request, for the log.
    pub request_id: &'a str,
    /// The client's address, behind trusted proxies; those without one are counted together.
    pub client: Option<IpAddr>,
    /// The credentials that let it in. Of several the first counts that has what is looked at.
    pub admitted: &'a [Admitted],
    /// Pipeline and endpoint.
    pub route: (&'a str, &'a str),
}

impl Requester<'_> {
    /// The key under which a limit counts it.
    pub(super) fn key(&self, limit: &str, by: &[CountBy]) -> LimitKey {
        let mut key = LimitKey::new();
        text(&mut key, limit);
        let name_ends = key.len();
        for by in by {
            let named = match by {
                CountBy::Client => None,
                CountBy::Route => {
                    key.push(b'r');
                    text(&mut key, self.route.0);
                    text(&mut key, self.route.1);
                    Some(())
                }
                _ => self.identify(&mut key, by),
            };
            if named.is_none() {
                self.address(&mut key);
            }
        }
        if key.len() > MAX_KEY_BYTES {
            let hash = digest(&SHA256, &key[name_ends..]);
            key.truncate(name_ends);
            key.push(b'#');
            key.extend_from_slice(hash.as_ref());
        }
        key
    }

    fn address(&self, key: &mut LimitKey) {
        match self.client.map(client_network) {
            None => key.push(b'?'),
            Some(IpAddr::V4(address)) => {
                key.push(b'4');
                key.extend_from_slice(&address.octets());
            }
            Some(IpAddr::V6(address)) => {
                key.push(b'6');
                // The network; the rest is zero.
                key.extend_from_slice(&address.octets()[..8]);
            }
        }
    }

    fn identities(&self) -> impl Iterator<Item = &Identity> {
        self.admitted.iter().map(|admitted| &admitted.identity)
    }

    /// Adds what an identity has of this kind; `None`, and nothing added, if none has any.
    fn identify(&self, key: &mut LimitKey, by: &CountBy) -> Option<()> {
        self.identities()
            .find_map(|identity| identify(identity, key, by))
    }

    /// How many requests a limit has room for: of several values the one that has most.
    pub(super) fn max_requests(&self, quota: &Quota) -> u32 {
        let chosen = || {
            let (by, numbers) = quota.by.as_ref()?;
            let number = |value: &str| numbers.get(value).copied();
            let CountBy::Claim(name) = by else {
                return number(self.identities().find_map(|it| of_identity(it, by))?);
            };
            let of_value = |value: &Value| match value {
                Value::String(text) => number(text),
                Value::Number(_) | Value::Bool(_) => number(&value.to_string()),
                _ => None,
            };
            match self.identities().find_map(|it| claim(it, name))? {
                Value::Array(values) => values.iter().filter_map(of_value).max(),
                value => of_value(value),
            }
        };
        chosen().unwrap_or(quota.most)
    }
}

/// Adds what the identity has of this kind; `None`, and nothing added, if it has nothing.
fn identify(identity: &Identity, key: &mut LimitKey, by: &CountBy) -> Option<()> {
    let begin = key.len();
    key.push(match by {
        CountBy::Claim(_) => b'c',
        CountBy::ApiKey => b'k',
        CountBy::ClientId => b'i',
        _ => b's',
    });
    text(key, identity.method().as_str());
    let token = identity.credential().token();
    match token.and_then(|ids| ids.issuer.as_deref()) {
        Some(issuer) => text(key, issuer),
        None => key.push(0),
    }
    let found = match by {
        CountBy::Claim(name) => claim(identity, name).map(|value| {
            text(key, name);
            // Into memory: it cannot fail.
            let _ = serde_json::to_writer(&mut *key, value);
            key.push(END);
        }),
        _ => of_identity(identity, by).map(|value| text(key, value)),
    };
    if found.is_none() {
        key.truncate(begin);
    }
    found
}

/// A claim that says something.
fn claim<'i>(identity: &'i Identity, name: &str) -> Option<&'i Value> {
    let value = identity.claims()?.at(name)?;
    (!value.is_null()).then_some(value)
}

fn of_identity<'i>(identity: &'i Identity, by: &CountBy) -> Option<&'i str> {
    let subject = || identity.subject()?.to_str().ok();
    match by {
        CountBy::Subject => subject(),
        CountBy::ApiKey if identity.method() == AuthMethod::ApiKey => subject(),
        CountBy::ClientId => identity.credential().token()?.client_id.as_deref(),
        _ => None,
    }
}

fn text(key: &mut LimitKey, text: &str) {
    key.extend_from_slice(text.as_bytes());
    key.push(END);
}

#[cfg(test)]
mod tests;
