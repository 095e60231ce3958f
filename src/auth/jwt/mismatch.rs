//! What in a token does not fit, in words: which claim or header field, what it says, and what the
//! step asks for. For the operator who asks; no client and no log gets any of it.

use jose::{Claims, CompactJws, Header, KeyTrouble, Keys, MAX_TOKEN, TokenError, strict_json};
use serde_json::Value;

use super::trust::Trusted;
use crate::auth::claims::mismatch::{listed, said, value};
use crate::auth::outcome::{Reason, Refusal};
use crate::config::Jwt;

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
