//! What `fuzz/` needs of this room: readers of what clients and issuers send.

use std::time::Duration;

use http::HeaderMap;
use jose::{Document, IssuerUrl, ParsedKeySet, Proof};
use serde_json::{Value, json};

use super::basic;
use super::bearer::{self, BearerToken};
use super::introspection;
use super::revocation::journal;

pub use super::receiver::fuzzing::{logout_token, security_event};

/// The bearer token of `Authorization`: `None` for another scheme or none, `Some(None)` for a
/// malformed one.
pub fn bearer_token(headers: &HeaderMap) -> Option<Option<&[u8]>> {
    match bearer::find(headers) {
        BearerToken::Absent => None,
        BearerToken::Malformed => Some(None),
        BearerToken::Token(token) => Some(Some(token)),
    }
}

/// The user name and the password of a Basic credential.
pub fn user_and_password(token: &[u8]) -> Option<(String, String)> {
    basic::user_and_password(token)
}

/// What a proof of possession says whose signature has verified.
#[derive(Debug)]
pub struct Proven {
    /// `alg`.
    pub algorithm: &'static str,
    /// Its claims.
    pub claims: Value,
}

/// A proof of possession. `None`: it does not verify under its own key.
pub fn dpop_proof(text: &[u8]) -> Option<Proven> {
    let proof = Proof::verify(text).ok()?;
    Some(Proven {
        algorithm: proof.algorithm().name(),
        claims: proof.claims().as_map().clone().into(),
    })
}

/// The names of an htpasswd file; or the line that is wrong, and what is said of it.
pub fn htpasswd(text: &str) -> Result<Vec<String>, (usize, String)> {
    basic::htpasswd_names(text).map_err(|(line, error)| (line, error.to_string()))
}

/// What a discovery document says of a configured issuer with these tenants: `iss` of its tokens,
/// and its URLs; or why it is not believed.
pub fn discovery_document(
    text: &[u8],
    issuer: &str,
    tenants: &[&str],
) -> Result<(Vec<String>, Vec<String>), String> {
    let expected = IssuerUrl {
        issuer: issuer.to_owned(),
        tenants: tenants.iter().map(ToString::to_string).collect(),
        fresh: Duration::from_secs(3600),
        max_stale: Duration::from_secs(86_400),
        cooldown: Duration::from_secs(30),
        addresses: None,
    };
    let document = Document::parse(text, "https://fuzz.example/", &expected);
    let document = document.map_err(|error| error.to_string())?;
    let urls = [document.jwks_uri, document.introspection_endpoint];
    let urls = urls.iter().flatten().map(ToString::to_string).collect();
    Ok((document.token_issuers, urls))
}

/// What an issuer says of a token when it is asked: its other members if it is active, `None` if it
/// is not; or why that is no answer.
pub fn introspection_answer(text: &[u8]) -> Result<Option<Value>, String> {
    introspection::answer(text).map_err(|error| error.to_string())
}

/// The keys of a key set that are used, as a key set again, and what is said of each that is not.
pub fn key_set(text: &[u8]) -> Result<(Value, Vec<String>), String> {
    let set = ParsedKeySet::parse(text).map_err(|error| error.to_string())?;
    let refused = set.refused.iter();
    let refused = refused.map(|(key, refusal)| format!("{key}: {refusal}"));
    Ok((json!({ "keys": set.ring.to_json() }), refused.collect()))
}

/// The log of revocations: its records and where it is torn, or the line that is damaged; and the
/// records as a log again.
#[allow(clippy::type_complexity, reason = "read in one place only")]
pub fn revocation_log(content: &[u8]) -> Result<(Vec<Value>, Option<usize>, Vec<u8>), usize> {
    journal::parse_and_encode(content)
}
