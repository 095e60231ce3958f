//! What of a token's claims does not fit, in words: which claim, what it says, and what the step
//! asks for. For the operator who asks; no client and no log gets any of it.

use std::time::Duration;

use jose::clock::UnixTime;
use jose::{Claims, TokenError};
use serde_json::Value;

use crate::config::RequiredClaim;

/// A value is shown up to here.
const SHOWN: usize = 120;

/// Of `exp`, `nbf` and `iat` that are no times.
pub(in crate::auth) fn times(claims: &Claims, error: TokenError) -> String {
    let mut names = ["exp", "nbf", "iat"].into_iter();
    let is_text = |name: &&str| claims.get(name).is_some_and(|value| !value.is_number());
    match (error, names.find(is_text)) {
        (TokenError::NoExpiry, _) => "exp is absent".to_owned(),
        (_, Some(name)) => format!("{name} is {}, not a number", said(claims.get(name))),
        (_, None) => "exp lies beyond the year 9999, or nbf or iat before 1970".to_owned(),
    }
}

/// Of a token that does not count now.
pub(in crate::auth) fn validity(
    claims: &Claims,
    error: TokenError,
    leeway: Duration,
    now: UnixTime,
) -> String {
    let number = |name: &str| claims.get(name).and_then(Value::as_f64);
    let name = match error {
        TokenError::Expired => "exp",
        _ if number("nbf").is_some_and(|begin| begin > now) => "nbf",
        _ => "iat",
    };
    let time = number(name).map_or_else(|| "absent".to_owned(), |time| moment(time, now));
    format!("{name} is {time}, and leeway_secs is {}", leeway.as_secs())
}

/// A time of the token, and how far it is from now.
fn moment(seconds: f64, now: UnixTime) -> String {
    let distance = (seconds - now).abs().round();
    let side = if seconds < now { "ago" } else { "ahead" };
    #[allow(
        clippy::cast_possible_truncation,
        reason = "out of range is no time, and has none shown"
    )]
    let shown = jiff::Timestamp::from_second(seconds as i64);
    match shown {
        Ok(shown) => format!("{seconds} ({shown}), {distance} s {side}"),
        Err(_) => format!("{seconds}, which is no time"),
    }
}

/// Of a claim that has to have one of these values.
pub(in crate::auth) fn value<'a>(
    claims: &Claims,
    name: &str,
    accepted: impl IntoIterator<Item = &'a String>,
) -> String {
    let (found, accepted) = (said(claims.get(name)), listed(accepted));
    format!("{name} is {found}, the step takes {accepted}")
}

/// Of `sub`.
pub(in crate::auth) fn subject(claims: &Claims) -> String {
    format!("sub is {}", said(claims.get("sub")))
}

/// Of `cnf`.
pub(in crate::auth) fn confirmation(claims: &Claims) -> String {
    let found = said(claims.get("cnf"));
    format!("cnf is {found}, and only digests in jkt and x5t#S256 are known")
}

/// Of a claim that is required.
pub(in crate::auth) fn claim(claims: &Claims, required: &RequiredClaim) -> String {
    let asked = match required.values.as_slice() {
        [] => "be there".to_owned(),
        values => format!("have {}", listed(values)),
    };
    let found = said(claims.at(&required.name));
    format!("{} is {found}, and has to {asked}", required.name)
}

/// Of the scopes that were granted.
pub(in crate::auth) fn scope(claims: &Claims, required: &str) -> String {
    let scp = claims.get("scp").filter(|_| claims.get("scope").is_none());
    let (name, granted) = match scp {
        Some(_) => ("scp", scp),
        None => ("scope", claims.get("scope")),
    };
    format!("{name} is {}, and has to hold {required:?}", said(granted))
}

/// A value as JSON, cut where it is long.
pub(in crate::auth) fn said(value: Option<&Value>) -> String {
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
pub(in crate::auth) fn listed(values: impl IntoIterator<Item = impl serde::Serialize>) -> String {
    let values = values
        .into_iter()
        .map(|value| said(serde_json::to_value(value).ok().as_ref()));
    values.collect::<Vec<_>>().join(" or ")
}
