//! The options of `backchannel-logout` and `security-events` endpoints.

use std::sync::Arc;
use std::time::Duration;

use super::auth_steps;
use super::management::token_hash;
use super::middleware::Steps;
use crate::config::model::{
    AuthSettings, BackchannelLogout, ClaimRules, CredentialLocation, Jwt, JwtAlgorithm, JwtIssuer,
    SecurityEvents,
};
use crate::config::reader::{Entry, Reader};

/// How far the clocks of a transmitter and of this machine may differ.
const LEEWAY: Duration = Duration::from_secs(60);

/// Reads the options of a `backchannel-logout` endpoint.
pub(super) fn backchannel_logout(
    reader: &Reader<'_>,
    steps: &Steps<'_>,
) -> Option<BackchannelLogout> {
    let step = reader.get("step");
    if step.is_none() {
        reader.missing(
            "step",
            "name the jwt-auth step whose issuer sends logout tokens",
        );
    }
    let client_id = reader.required_name("client_id", "write the `aud` of its logout tokens");
    let also_subject = reader.get("fallback").map(|entry| fallback(&entry));
    let jwt = jwt(&step?, steps)?;
    let also_subject = match also_subject {
        Some(fallback) => fallback?,
        None => false,
    };
    Some(BackchannelLogout {
        tokens: Arc::new(Jwt {
            rules: rules(vec![client_id?.to_string()], jwt.rules.leeway),
            ..notices(jwt.algorithm, jwt.issuers.clone(), "logout+jwt")
        }),
        also_subject,
    })
}

/// Reads the options of a `security-events` endpoint.
pub(super) fn security_events(reader: &Reader<'_>, jwks_fresh: Duration) -> Option<SecurityEvents> {
    let transmitter = auth_steps::transmitter(reader, jwks_fresh);
    let audience = reader.get("audience");
    if audience.is_none() {
        reader.missing("audience", "write the `aud` of its security event tokens");
    }
    let issuers = reader.get("issuers").map(|entry| entry.strings());
    let hash = reader.get("token_hash").map(|entry| token_hash(&entry));
    let hash = match hash {
        Some(hash) => Some(hash?),
        None => None,
    };
    let audiences = audience?.strings();
    let (algorithm, issuer) = transmitter?;
    Some(SecurityEvents {
        issuers: issuers.unwrap_or_else(|| issuer.names.clone()),
        tokens: Arc::new(Jwt {
            rules: rules(audiences, LEEWAY),
            ..notices(algorithm, vec![issuer], "secevent+jwt")
        }),
        token_hash: hash,
    })
}

fn jwt<'s>(entry: &Entry<'_>, steps: &'s Steps<'_>) -> Option<&'s Arc<Jwt>> {
    let name = entry.text()?;
    let step = steps.named.resolve(&name, entry)?;
    let settings = step.kind.auth().map(|auth| &auth.settings);
    let Some(AuthSettings::Jwt(jwt)) = settings else {
        entry.error_help(
            format!("step {:?} is not a jwt-auth step", step.name),
            "name the one that takes the issuer's tokens",
        );
        return None;
    };
    if jwt.issuers.iter().any(|issuer| issuer.names.is_empty()) {
        entry.error_help(
            format!("step {:?} takes tokens of any issuer", step.name),
            "name its `issuer`: a logout is one of an issuer's",
        );
        return None;
    }
    Some(jwt)
}

fn fallback(entry: &Entry<'_>) -> Option<bool> {
    let text = entry.text()?;
    if &*text == "sub" {
        return Some(true);
    }
    entry.unknown("fallback", &text, &["sub"]);
    None
}

/// How tokens of a type are verified that tell something.
fn notices(algorithm: JwtAlgorithm, issuers: Vec<JwtIssuer>, accepted_type: &str) -> Jwt {
    Jwt {
        algorithm,
        issuers,
        rules: rules(Vec::new(), LEEWAY),
        introspection: None,
        accepted_types: vec![accepted_type.to_owned()],
        access_token_profile: false,
        dpop: None,
        location: CredentialLocation::Authorization,
    }
}

fn rules(audiences: Vec<String>, leeway: Duration) -> ClaimRules {
    ClaimRules {
        audiences,
        leeway,
        required_claims: Vec::new(),
        required_scopes: Vec::new(),
        claims_to_headers: Vec::new(),
        keeps_claims: false,
    }
}
