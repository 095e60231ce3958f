//! Issuers without a source of keys: each publishes a document that says where its keys are.
//!
//! Not here: fetching documents and judging them (the auth room).

use super::key_source::Fetching;
use crate::config::model::Discovery;
use crate::config::reader::{Entry, Reader, Text};
use crate::config::tables::values::address::HttpUrl;

/// What stands for a tenant in an issuer of Entra ID.
const TENANT: &str = "{tenantid}";

/// Whether issuers without a source of keys are URLs, at which there could be a document.
pub(super) fn is_meant(issuers: &[(Text, Entry<'_>)]) -> bool {
    let is_url = |name: &str| name.starts_with("https://") || name.starts_with("http://");
    issuers.iter().any(|(name, _)| is_url(name))
}

/// The issuers, each with a document of its own; one that holds `{tenantid}` is one for each of the
/// `tenants`.
pub(super) fn read(
    reader: &Reader<'_>,
    issuers: &[(Text, Entry<'_>)],
    fetching: &Fetching,
) -> Vec<Discovery> {
    let tenants = tenants(reader);
    let mut discovered: Vec<Discovery> = Vec::new();
    for (name, entry) in issuers {
        for (name, tenants) in filled(name, entry, &tenants) {
            if discovered.iter().any(|other| other.issuer == name) {
                entry.error_help(
                    format!("issuer {name:?} is named twice"),
                    "remove one of the two",
                );
            }
            if is_discoverable(&name, entry) {
                discovered.push(discovery(name, tenants, entry, fetching));
            }
        }
    }
    discovered
}

/// Reports `tenants` where no document is fetched that they could fill in.
pub(super) fn refuse_tenants(reader: &Reader<'_>) {
    if let Some(entry) = reader.get("tenants") {
        entry.error_help(
            "has no meaning beside a source of keys",
            "name each tenant's `issuer` instead, or remove the source of keys",
        );
    }
}

fn discovery(
    issuer: String,
    tenants: Vec<String>,
    entry: &Entry<'_>,
    fetching: &Fetching,
) -> Discovery {
    Discovery {
        issuer,
        tenants,
        fresh: fetching.fresh,
        max_stale: fetching.max_stale,
        cooldown: fetching.cooldown,
        reach: entry.reach(),
    }
}

fn tenants(reader: &Reader<'_>) -> Vec<String> {
    let Some(entry) = reader.get("tenants") else {
        return Vec::new();
    };
    let fits = |tenant: &str| {
        let mut bytes = tenant.bytes();
        bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    let tenants = entry.one_or_more();
    for (tenant, item) in &tenants {
        if !fits(tenant) {
            item.error_help(
                format!("{} is not the id of a tenant", tenant.shown()),
                "write it as it stands in the `iss` of its tokens",
            );
        }
    }
    tenants
        .iter()
        .map(|(tenant, _)| tenant.to_string())
        .collect()
}

/// Whether Entra ID publishes a document there whose `issuer` holds `{tenantid}`.
fn is_of_any_tenant(name: &str) -> bool {
    const HOSTS: [&str; 3] = [
        "https://login.microsoftonline.com/",
        "https://login.microsoftonline.us/",
        "https://login.partner.microsoftonline.cn/",
    ];
    let path = HOSTS.iter().find_map(|host| name.strip_prefix(host));
    let tenant = path.and_then(|path| path.split('/').next());
    matches!(tenant, Some("common" | "organizations"))
}

/// The issuers that one name means, each with the tenants that its document may be filled with.
fn filled(name: &Text, entry: &Entry<'_>, tenants: &[String]) -> Vec<(String, Vec<String>)> {
    if !name.contains(TENANT) {
        if tenants.is_empty() && is_of_any_tenant(name) {
            entry.error_help(
                "is for users of any tenant, and the step does not say which tenants it takes",
                "write the tenant's id in its place, or list several: tenants = \
                 [\"11111111-2222-3333-4444-555555555555\"]",
            );
        }
        return vec![(name.to_string(), tenants.to_vec())];
    }
    if tenants.is_empty() {
        entry.error_help(
            format!("holds {TENANT}, and the step does not say which tenants it takes"),
            "list them: tenants = [\"11111111-2222-3333-4444-555555555555\"]",
        );
    }
    let of_tenant = |tenant: &String| (name.replace(TENANT, tenant), vec![tenant.clone()]);
    tenants.iter().map(of_tenant).collect()
}

/// Whether an issuer has an address at which its document could be.
fn is_discoverable(name: &str, entry: &Entry<'_>) -> bool {
    const ADD_SOURCE: &str =
        "write the issuer's https URL, or add one of jwks_url, jwks_path, public_key_path";
    if let Some((issuer, _)) = name.split_once("/.well-known/") {
        entry.error_help(
            "is the URL of the issuer's document, not the issuer",
            format!("write {issuer:?}, or whatever the document's `issuer` is"),
        );
        return false;
    }
    let why = match HttpUrl::parse(name) {
        Err(why) => why,
        Ok(url) if !url.tls && !url.is_loopback() => "must be https",
        Ok(url) if url.query => "must not have a query",
        Ok(_) => return true,
    };
    entry.error_help(
        format!("is to say where its keys are, since there is no source of keys, and {why}"),
        ADD_SOURCE,
    );
    false
}
