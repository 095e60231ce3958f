//! `[pipelines.NAME.resource]`: what a pipeline publishes of itself (RFC 9728).

use crate::config::model::{AuthSettings, ClaimRules, Pipeline, Resource, Step};
use crate::config::reader::{Entry, Reader, Text};
use crate::config::tables::values::address::HttpUrl;
use crate::config::tables::values::path;

/// Reads the table.
pub(super) fn read(reader: &Reader<'_>) -> Option<Resource> {
    let reader = reader.get("resource")?.table()?;
    let identifier = reader.get("identifier");
    if identifier.is_none() {
        reader.missing(
            "identifier",
            "write the https URL under which clients know the service",
        );
    }
    let identifier = identifier.as_ref().and_then(identifier_of);
    let servers = reader.get("authorization_servers");
    if servers.is_none() {
        reader.warning(
            "no authorization_servers: a client does not learn where it gets a token for this",
        );
    }
    let servers = servers.map(|entry| urls(&entry)).unwrap_or_default();
    let scopes = reader.get("scopes_supported");
    let documentation = reader.get("documentation");
    let documentation = documentation.and_then(|entry| url(&entry.text()?, &entry));
    let scopes_supported = scopes.map(|entry| scopes_of(&entry)).unwrap_or_default();
    reader.finish();
    let (identifier, document_path) = identifier?;
    Some(Resource {
        identifier,
        document_path,
        authorization_servers: servers,
        scopes_supported,
        documentation,
    })
}

/// The identifier, and where its document is (RFC 9728 section 3.1).
fn identifier_of(entry: &Entry<'_>) -> Option<(String, String)> {
    let text = entry.text()?;
    let why = match HttpUrl::parse(&text) {
        Err(why) => why,
        Ok(url) if !url.tls => "must be https (RFC 9728 section 1.2)",
        Ok(url) if url.query => "must not have a query",
        Ok(url) => match path::canonical(&url.path) {
            Ok(_) if url.path == "/" => {
                return Some((text.to_string(), Resource::WELL_KNOWN.to_owned()));
            }
            Ok(_) => {
                let document = format!("{}{}", Resource::WELL_KNOWN, url.path);
                return Some((text.to_string(), document));
            }
            Err(why) => {
                entry.error(format!("has a path that {why}"));
                return None;
            }
        },
    };
    entry.error_help(why, "write it like \"https://api.example.com/orders\"");
    None
}

fn urls(entry: &Entry<'_>) -> Vec<String> {
    let urls = entry.one_or_more();
    urls.iter()
        .filter_map(|(text, item)| url(text, item))
        .collect()
}

/// https, or http to this machine.
fn url(text: &Text, entry: &Entry<'_>) -> Option<String> {
    match HttpUrl::parse(text) {
        Err(why) => entry.error(why),
        Ok(url) if !url.tls && !url.is_loopback() => entry.error("must be https"),
        Ok(_) => return Some(text.to_string()),
    }
    None
}

/// RFC 6749 section 3.3.
fn scopes_of(entry: &Entry<'_>) -> Vec<String> {
    let scopes = entry.one_or_more();
    for (scope, item) in &scopes {
        let is_sound = |byte: u8| matches!(byte, b'!'..=b'~') && !matches!(byte, b'"' | b'\\');
        if !scope.bytes().all(is_sound) {
            item.error("must be visible ASCII without spaces, quotes and backslashes");
        }
    }
    scopes
        .into_iter()
        .map(|(scope, _)| scope.to_string())
        .collect()
}

/// Warns of what contradicts the steps, where the resource is described.
pub(super) fn warn(pipeline: &Pipeline, entry: &Entry<'_>) {
    let Some(resource) = &pipeline.resource else {
        return;
    };
    let rules: Vec<_> = pipeline.steps.iter().filter_map(rules).collect();
    if rules.is_empty() {
        entry.warning(
            "describes a resource that takes tokens, and no step of the pipeline takes one: no \
             challenge will point at its document",
        );
    }
    for (step, rules) in rules {
        if !rules.audiences.is_empty() && !rules.audiences.contains(&resource.identifier) {
            entry.warning(&format!(
                "its identifier {:?} is no audience of step {:?}: a token that a client gets for \
                 it is refused",
                resource.identifier, step.name
            ));
        }
    }
}

/// What a step asks of tokens, if it takes any.
fn rules(step: &Step) -> Option<(&Step, &ClaimRules)> {
    let rules = match &step.enforced_auth()?.settings {
        AuthSettings::Jwt(settings) => &settings.rules,
        AuthSettings::Introspection(settings) => &settings.rules,
        AuthSettings::Basic(_) | AuthSettings::ApiKey(_) | AuthSettings::MutualTls(_) => {
            return None;
        }
    };
    Some((step, rules))
}
