//! What in a token does not fit, in words: which claim or header field, what it says, and what the
//! step asks for. For the operator who asks; no client and no log gets any of it.

use jose::clock::UnixTime;
use jose::{Claims, CompactJws, Header, KeyTrouble, Keys, MAX_TOKEN, TokenError, strict_json};
use serde_json::Value;

use super::trust::Trusted;
use crate::auth::outcome::{Reason, Refusal};
use crate::config::{Jwt, RequiredClaim};

/// A value is shown up to here.
const SHOWN: usize = 120;

/// Of a token that cannot be taken apart.
pub(super) fn form(error: TokenError) -> String {
    match error {
        TokenError::TooLong => format!("it has more than {MAX_TOKEN} bytes"),
        _ => "a token is three parts in base64url, without padding, divided by dots".to_owned(),
    }
}

/// Of a header.
pub(super) fn header(jws: &CompactJws<'_>, error: TokenError, settings: &Jwt) -> String {
    let Some(header) = strict_json::object(jws.header()) else {
        return "its header is no JSON object, or names something twice".to_owned();
    };
    let field = |name: &str| said(header.get(name));
    match error {
        TokenError::WrongAlgorithm => {
            let algorithm = settings.algorithm.name();
            format!("alg is {}, the step takes {algorithm:?}", field("alg"))
        }
        TokenError::WrongType => {
            let accepted = listed(&settings.accepted_types);
            format!("typ is {}, the step takes {accepted}", field("typ"))
        }
        TokenError::UnsupportedHeader => {
            let names = Header::UNSUPPORTED
                .into_iter()
                .filter(|name| header.contains_key(*name));
            let names = names.collect::<Vec<_>>().join(" and ");
            format!("its header has {names}, which is not understood here")
        }
        _ => format!("kid is {}, not a string", field("kid")),
    }
}

/// Of a token of which no issuer is known.
pub(super) fn issuer(claims: &Claims, issuers: &[Trusted], refusal: &Refusal) -> String {
    let known: Vec<_> = issuers.iter().filter_map(Trusted::names).collect();
    let found = value(claims, "iss", known.iter().flat_map(|names| names.iter()));
    match refusal.reason {
        Reason::Token(TokenError::NoKeys) => format!("{found}; {}", without_documents(issuers)),
        _ => found,
    }
}

/// Which documents are not at hand, and why.
fn without_documents(issuers: &[Trusted]) -> String {
    let discovered = issuers.iter().filter_map(Trusted::discovered);
    let missing = discovered.filter(|issuer| issuer.document().is_none());
    let causes = missing.map(|issuer| format!("{}: {}", issuer.name(), issuer.cause()));
    causes.collect::<Vec<_>>().join("; ")
}

/// Of a token that the issuer's keys do not verify.
pub(super) fn key(header: &Header, error: TokenError, keys: &Keys) -> String {
    match (error, keys) {
        (TokenError::NoKeys, Keys::Fetched(keys)) => {
            let KeyTrouble { url, cause, .. } = keys.trouble();
            format!("no key set of its issuer is at hand: {url}: {cause}")
        }
        _ => key_id(header, error),
    }
}

fn key_id(header: &Header, error: TokenError) -> String {
    match error {
        TokenError::Malformed => no_claims(),
        _ => {
            let kid = header.kid.as_deref().map(Value::from);
            format!("kid is {}", said(kid.as_ref()))
        }
    }
}

/// Of claims that cannot be read.
pub(super) fn no_claims() -> String {
    "its claims are no JSON object, or name something twice".to_owned()
}

/// Of `exp`, `nbf` and `iat` that are no times.
pub(super) fn times(claims: &Claims, error: TokenError) -> String {
    let mut names = ["exp", "nbf", "iat"].into_iter();
    let is_text = |name: &&str| claims.get(name).is_some_and(|value| !value.is_number());
    match (error, names.find(is_text)) {
        (TokenError::NoExpiry, _) => "exp is absent".to_owned(),
        (_, Some(name)) => format!("{name} is {}, not a number", said(claims.get(name))),
        (_, None) => "exp lies beyond the year 9999, or nbf or iat before 1970".to_owned(),
    }
}

/// Of a token that does not count now.
pub(super) fn validity(
    claims: &Claims,
    error: TokenError,
    settings: &Jwt,
    now: UnixTime,
) -> String {
    let number = |name: &str| claims.get(name).and_then(Value::as_f64);
    let name = match error {
        TokenError::Expired => "exp",
        _ if number("nbf").is_some_and(|begin| begin > now) => "nbf",
        _ => "iat",
    };
    let time = number(name).map_or_else(|| "absent".to_owned(), |time| moment(time, now));
    format!(
        "{name} is {time}, and leeway_secs is {}",
        settings.leeway.as_secs()
    )
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
pub(super) fn value<'a>(
    claims: &Claims,
    name: &str,
    accepted: impl IntoIterator<Item = &'a String>,
) -> String {
    let (found, accepted) = (said(claims.get(name)), listed(accepted));
    format!("{name} is {found}, the step takes {accepted}")
}

/// Of `sub`.
pub(super) fn subject(claims: &Claims) -> String {
    format!("sub is {}", said(claims.get("sub")))
}

/// Of a claim that is required.
pub(super) fn claim(claims: &Claims, required: &RequiredClaim) -> String {
    let asked = match required.values.as_slice() {
        [] => "be there".to_owned(),
        values => format!("have {}", listed(values)),
    };
    let found = said(claims.get(&required.name));
    format!("{} is {found}, and has to {asked}", required.name)
}

/// Of the scopes that were granted.
pub(super) fn scope(claims: &Claims, required: &str) -> String {
    let scp = claims.get("scp").filter(|_| claims.get("scope").is_none());
    let (name, granted) = match scp {
        Some(_) => ("scp", scp),
        None => ("scope", claims.get("scope")),
    };
    format!("{name} is {}, and has to hold {required:?}", said(granted))
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
fn listed(values: impl IntoIterator<Item = impl serde::Serialize>) -> String {
    let values = values
        .into_iter()
        .map(|value| said(serde_json::to_value(value).ok().as_ref()));
    values.collect::<Vec<_>>().join(" or ")
}
