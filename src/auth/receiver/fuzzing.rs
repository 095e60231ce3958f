//! What `fuzz/` needs of receivers: what tokens that have verified revoke.

use jose::Claims;
use jose::clock::UnixTime;
use serde_json::{Map, Value, json};

use super::error::Invalid;
use super::{backchannel_logout, security_events};
use crate::auth::revocation::Revocation;

/// The entries of a logout token with these claims.
pub fn logout_token(claims: Map<String, Value>, also_subject: bool) -> Result<Vec<Value>, String> {
    let logout = backchannel_logout::read(&Claims::from(claims), also_subject);
    told(logout.map(|logout| logout.entries))
}

/// The entries of a security event token with these claims.
pub fn security_event(
    claims: Map<String, Value>,
    issuers: &[String],
    now: UnixTime,
) -> Result<Vec<Value>, String> {
    told(security_events::read(&Claims::from(claims), issuers, now))
}

fn told(entries: Result<Vec<Revocation>, Invalid>) -> Result<Vec<Value>, String> {
    let entries = entries.map_err(|invalid| invalid.why)?;
    Ok(entries.iter().map(|entry| json!(entry)).collect())
}
