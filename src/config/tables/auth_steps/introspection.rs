//! The settings of an `introspection` step, and of `introspect = true` of a `jwt-auth` step: who is
//! asked about tokens, and how.

use std::time::Duration;

use super::key_source::Fetching;
use super::{claims, discovery, dpop, token_location};
use crate::config::model::{
    ClientAuth, Discovery, Introspection, IntrospectionClient, IntrospectionEndpoint,
};
use crate::config::reader::{Entry, Reader};
use crate::config::tables::values::address::HttpUrl;
use crate::config::tables::values::filled_secret;

/// What says who is asked about tokens, and how.
const SETTINGS: [&str; 6] = [
    "introspection_url",
    "client_id",
    "client_secret",
    "client_auth",
    "cache_secs",
    "max_in_flight",
];

/// Reads the step; `jwks_fresh` is the default of `jwks_cache_secs`, which the issuer's document
/// has too.
pub(crate) fn read(reader: &Reader<'_>, jwks_fresh: Duration) -> Option<Introspection> {
    let issuer = reader.any(&["issuer", "trusted_issuers"]);
    let issuers = issuer.as_ref().map(Entry::one_or_more).unwrap_or_default();
    let discovered = if reader.has("introspection_url") || !discovery::is_meant(&issuers) {
        discovery::refuse_tenants(reader);
        Vec::new()
    } else {
        discovery::read(reader, &issuers, &Fetching::read(reader, jwks_fresh))
    };
    let rules = claims::rules(reader);
    let location = token_location::read(reader, &rules.claims_to_headers);
    let dpop = dpop::read(reader, &location);
    let client = client(reader, &discovered);
    Some(Introspection {
        issuers: issuers.iter().map(|(name, _)| name.to_string()).collect(),
        rules,
        location,
        dpop,
        client: client?,
    })
}

/// Refuses what says who is asked about tokens where nobody is.
pub(super) fn refuse_settings(reader: &Reader<'_>) {
    for entry in SETTINGS.iter().filter_map(|key| reader.get(key)) {
        entry.error_help(
            "has no effect without introspect = true",
            "add introspect = true, or remove this",
        );
    }
}

/// Who is asked; `discovered` are the issuers whose documents are fetched.
pub(super) fn client(reader: &Reader<'_>, discovered: &[Discovery]) -> Option<IntrospectionClient> {
    let endpoint = match (reader.get("introspection_url"), discovered) {
        (Some(entry), _) => url(&entry),
        (None, [issuer]) => Some(IntrospectionEndpoint::Discovery(issuer.clone())),
        (None, []) => {
            reader.missing(
                "introspection_url",
                "write it like \"https://auth.example.com/introspect\", or write `issuer` as the \
                 URL under which it publishes its endpoints",
            );
            None
        }
        (None, _) => {
            reader.missing(
                "introspection_url",
                "there are several issuers: name the one place that knows the tokens of all",
            );
            None
        }
    };
    let client_id = reader.required_name("client_id", "name who asks, as the issuer knows it");
    let secret = reader.get("client_secret");
    let client_auth = match reader.get("client_auth") {
        Some(entry) => client_auth(&entry),
        None => Some(ClientAuth::Basic),
    };
    let client_secret = match &secret {
        Some(entry) => Some(filled_secret(entry)?),
        None => {
            reader.warning(
                "no client_secret: an endpoint that answers without one tells anybody about any \
                 token",
            );
            None
        }
    };
    Some(IntrospectionClient {
        endpoint: endpoint?,
        client_id: client_id?.to_string(),
        client_secret,
        client_auth: client_auth?,
        cache: reader.seconds("cache_secs", 1..=3600, 60),
        max_in_flight: usize::try_from(reader.number("max_in_flight", 1..=1024, 64)).ok()?,
    })
}

/// https, or http to this machine: the secret and the tokens go there.
fn url(entry: &Entry<'_>) -> Option<IntrospectionEndpoint> {
    let text = entry.text()?;
    match HttpUrl::parse(&text) {
        Err(why) => entry.error(why),
        Ok(url) if !url.tls && !url.is_loopback() => entry.error_help(
            "must be https",
            "whoever can read along learns the secret and every token",
        ),
        Ok(_) => {
            return Some(IntrospectionEndpoint::Url {
                url: text.to_string(),
                reach: entry.reach(),
            });
        }
    }
    None
}

fn client_auth(entry: &Entry<'_>) -> Option<ClientAuth> {
    let text = entry.text()?;
    match &*text {
        "basic" => Some(ClientAuth::Basic),
        "post" => Some(ClientAuth::Post),
        _ => {
            entry.unknown("way to authenticate", &text, &["basic", "post"]);
            None
        }
    }
}
