//! Why a token was refused, in words: which claim or header field does not fit, what it says, and
//! what the step asks for. For the operator who asks; no client and no log gets any of it.

use jose::clock::UnixTime;
use jose::{Claims, CompactJws, strict_json};
use serde_json::{Map, Value};

use super::place::{self, FoundToken};
use super::{Verifier, carried};
use crate::auth::Presented;
use crate::auth::outcome::Reason;

/// A value is shown up to here.
const SHOWN: usize = 120;

impl Verifier {
    /// What does not fit in the token of a request that was refused for this reason. `None`: the
    /// reason says it all, or nothing in the token does.
    pub(crate) fn why(
        &self,
        request: &Presented<'_>,
        reason: Reason,
        now: UnixTime,
    ) -> Option<String> {
        let FoundToken::Token(token) = place::find(request, &self.settings.place) else {
            return None;
        };
        let Ok(jws) = CompactJws::split(&token) else {
            return (reason == Reason::Malformed).then(|| {
                "a token is three parts in base64url, without padding, divided by dots".to_owned()
            });
        };
        let header = strict_json::object(jws.header());
        let claims = jws.unverified_claims();
        match (&header, &claims) {
            (None, _) if reason == Reason::Malformed => {
                return Some("its header is no JSON object, or names something twice".to_owned());
            }
            (_, Err(_)) if reason == Reason::Malformed => {
                return Some("its claims are no JSON object, or name something twice".to_owned());
            }
            _ => {}
        }
        self.in_header(&header.unwrap_or_default(), reason)
            .or_else(|| self.in_claims(&claims.unwrap_or_default(), reason, now))
    }

    fn in_header(&self, header: &Map<String, Value>, reason: Reason) -> Option<String> {
        let settings = &self.settings;
        let refused = ["crit", "b64", "zip", "enc", "cty"];
        match reason {
            Reason::WrongAlgorithm => Some(format!(
                "alg is {}, the step takes {:?}",
                said(header.get("alg")),
                settings.algorithm.name()
            )),
            Reason::WrongType => Some(format!(
                "typ is {}, the step takes {}",
                said(header.get("typ")),
                listed(&settings.accepted_types)
            )),
            Reason::UnsupportedHeader => {
                let name = refused.iter().find(|name| header.contains_key(**name))?;
                Some(format!(
                    "its header has {name}, which is not understood here"
                ))
            }
            Reason::UnknownKid | Reason::KeyDoesNotFit | Reason::NoKid => {
                Some(format!("kid is {}", said(header.get("kid"))))
            }
            Reason::Malformed if header.get("kid").is_some_and(|kid| !kid.is_string()) => {
                Some(format!("kid is {}, not a string", said(header.get("kid"))))
            }
            _ => None,
        }
    }

    fn in_claims(&self, claims: &Claims, reason: Reason, now: UnixTime) -> Option<String> {
        let settings = &self.settings;
        let leeway = settings.leeway.as_secs();
        match reason {
            Reason::NoExpiry => Some("exp is absent".to_owned()),
            Reason::Expired => Some(format!(
                "exp is {}, and leeway_secs is {leeway}",
                time(claims, "exp", now)?
            )),
            Reason::NotYetValid => {
                let name = ["nbf", "iat"]
                    .into_iter()
                    .find(|name| number(claims, name).is_some_and(|time| time > now))?;
                Some(format!(
                    "{name} is {}, and leeway_secs is {leeway}",
                    time(claims, name, now)?
                ))
            }
            Reason::WrongIssuer => {
                let names = self.issuers.iter().flat_map(|issuer| &issuer.names);
                let names: Vec<&String> = names.collect();
                Some(format!(
                    "iss is {}, the step takes {}",
                    said(claims.get("iss")),
                    listed(&names)
                ))
            }
            Reason::WrongAudience => Some(format!(
                "aud is {}, the step takes {}",
                said(claims.get("aud")),
                listed(&settings.audiences)
            )),
            Reason::UnsafeSubject => Some(format!("sub is {}", said(claims.get("sub")))),
            Reason::ClaimMissing => {
                let mut required = settings.required_claims.iter();
                let unmet =
                    required.find(|required| !claims.has(&required.name, &required.values))?;
                let asked = match unmet.values.as_slice() {
                    [] => "be there".to_owned(),
                    values => format!("have {}", listed(values)),
                };
                let found = said(claims.get(&unmet.name));
                Some(format!("{} is {found}, and has to {asked}", unmet.name))
            }
            Reason::ScopeMissing => {
                let mut required = settings.required_scopes.iter();
                let unmet = required.find(|scope| !claims.has_scope(scope))?;
                let name = if claims.get("scope").is_some() {
                    "scope"
                } else {
                    "scp"
                };
                let found = match claims.get(name) {
                    None => "scope is absent".to_owned(),
                    granted => format!("{name} is {}", said(granted)),
                };
                Some(format!("{found}, and has to hold {unmet:?}"))
            }
            Reason::Malformed => malformed(claims),
            _ => None,
        }
    }
}

/// A claim of another type than it has to have.
fn malformed(claims: &Claims) -> Option<String> {
    let times = ["exp", "nbf", "iat"];
    let is_wrong = |name: &&str| claims.get(*name).is_some_and(|value| !value.is_number());
    if let Some(name) = times.into_iter().find(is_wrong) {
        return Some(format!(
            "{name} is {}, not a number",
            said(claims.get(name))
        ));
    }
    let subject = claims.get("sub").filter(|subject| match subject {
        Value::String(subject) => carried::subject(subject).is_err(),
        _ => true,
    });
    subject.map(|subject| format!("sub is {}", said(Some(subject))))
}

fn number(claims: &Claims, name: &str) -> Option<f64> {
    claims.get(name)?.as_f64()
}

/// A time of the token, and how far it is from now.
fn time(claims: &Claims, name: &str, now: UnixTime) -> Option<String> {
    let seconds = number(claims, name)?;
    let distance = (seconds - now).abs().round();
    let side = if seconds < now { "ago" } else { "ahead" };
    #[allow(
        clippy::cast_possible_truncation,
        reason = "out of range is no time, and has none shown"
    )]
    let shown = jiff::Timestamp::from_second(seconds as i64);
    Some(match shown {
        Ok(shown) => format!("{seconds} ({shown}), {distance} s {side}"),
        Err(_) => format!("{seconds}, which is no time"),
    })
}

/// A value as JSON, cut where it is long.
fn said(value: Option<&Value>) -> String {
    let Some(value) = value else {
        return "absent".to_owned();
    };
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// What is taken, as JSON.
fn listed<T: serde::Serialize>(values: &[T]) -> String {
    let values = values
        .iter()
        .map(|value| said(serde_json::to_value(value).ok().as_ref()));
    values.collect::<Vec<_>>().join(" or ")
}
