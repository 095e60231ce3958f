//! `[runbeam]`, or `[provider.runbeam]` of the public DSL: the cloud that steers this gateway.

use std::time::Duration;

use super::proxy::Proxy;
use super::values::address::{self, HttpUrl};
use crate::config::model::{CloudRights, KeyPath, Runbeam, TokenStore};
use crate::config::reader::{Entry, Reader};

const DEFAULT_BASE: &str = "https://api.runbeam.cloud";
const DAY: u64 = 86_400;

/// Reads both tables; `None` when the cloud is off or something is wrong. What the cloud may do is
/// read in either case: what it sent before serves on.
///
/// `[runbeam].enabled` decides where that table is there; else `[provider.runbeam]` with
/// `primary_provider` absent or `"runbeam"`.
pub(crate) fn read(root: &Reader<'_>, proxy: Option<&Proxy<'_>>) -> (Option<Runbeam>, CloudRights) {
    let providers = root.group("provider");
    let primary = proxy.and_then(|proxy| proxy.primary_provider.as_ref());
    let chosen = primary.is_none_or(|(name, _)| &**name == "runbeam");
    if let Some((name, entry)) = primary {
        let mut known: Vec<&str> = providers.iter().map(|(name, _)| *name).collect();
        known.extend(["local", "runbeam"]);
        if !known.contains(&&**name) {
            entry.unknown("provider", name, &known);
        }
    }
    let mut provider = None;
    for (name, entry) in &providers {
        match *name {
            "runbeam" => provider = read_provider(entry),
            _ => root.loading().ignored(KeyPath::from(["provider", name])),
        }
    }
    match root.get("runbeam").map(|entry| entry.table()) {
        Some(table) => table.map(read_table).unwrap_or_default(),
        None => (provider.filter(|_| chosen), CloudRights::default()),
    }
}

fn read_table(reader: Reader<'_>) -> (Option<Runbeam>, CloudRights) {
    let enabled = reader.flag("enabled", false);
    let runbeam = Runbeam {
        cloud_api_base_url: base_url(reader.get("cloud_api_base_url").as_ref()),
        api_base_urls: reader
            .get("api_base_urls")
            .map(|entry| entry.items())
            .unwrap_or_default()
            .iter()
            .map(|item| base_url(Some(item)))
            .collect(),
        poll_interval: poll_interval(&reader),
        token_store: token_store(&reader),
        renew_before: Duration::from_secs(DAY * reader.number("renew_before_days", 1..=29, 5)),
        report_status: reader.flag("report_status", true),
        apply_changes: reader.flag("apply_changes", true),
    };
    let rights = CloudRights {
        backend_allow: reader
            .get("backend_allow")
            .map(|entry| address::ranges(&entry)),
        owns_uploaded: reader.flag("cloud_owns_uploaded", false),
    };
    reader.finish();
    (enabled.then_some(runbeam), rights)
}

fn read_provider(entry: &Entry<'_>) -> Option<Runbeam> {
    let reader = entry.table()?;
    let runbeam = Runbeam {
        cloud_api_base_url: base_url(reader.get("api").as_ref()),
        api_base_urls: Vec::new(),
        poll_interval: poll_interval(&reader),
        token_store: TokenStore::Auto,
        renew_before: Duration::from_secs(5 * DAY),
        report_status: true,
        apply_changes: true,
    };
    reader.finish();
    Some(runbeam)
}

/// 0: none; else 5 s to 1 h.
fn poll_interval(reader: &Reader<'_>) -> Option<Duration> {
    let entry = reader.get("poll_interval_secs");
    match entry
        .as_ref()
        .map_or(Some(30), |entry| entry.integer(0..=3600))
    {
        None | Some(0) => None,
        Some(seconds @ 1..5) => {
            if let Some(entry) = entry {
                entry.error_help(
                    format!("must be 0, or from 5 to 3600, not {seconds}"),
                    "0 switches polling off",
                );
            }
            None
        }
        Some(seconds) => Some(Duration::from_secs(seconds.unsigned_abs())),
    }
}

fn token_store(reader: &Reader<'_>) -> TokenStore {
    let Some((text, entry)) = reader
        .get("token_store")
        .and_then(|entry| Some((entry.text()?, entry)))
    else {
        return TokenStore::Auto;
    };
    match &*text {
        "auto" => TokenStore::Auto,
        "keyring" => TokenStore::Keyring,
        "file" => TokenStore::File,
        "memory" => TokenStore::Memory,
        _ => {
            entry.unknown("token store", &text, &["auto", "keyring", "file", "memory"]);
            TokenStore::Auto
        }
    }
}

/// https, or http to this machine; without its trailing slash.
fn base_url(entry: Option<&Entry<'_>>) -> String {
    let Some(entry) = entry else {
        return DEFAULT_BASE.to_owned();
    };
    let Some(text) = entry.text() else {
        return String::new();
    };
    match HttpUrl::parse(&text) {
        Ok(url) if url.query => entry.error("must not have a query"),
        Ok(url) if !url.tls && !url.is_loopback() => entry.error_help(
            "must be https",
            "http is for a loopback address only: tokens travel on it",
        ),
        Ok(_) => {}
        Err(why) => entry.error(why),
    }
    text.trim_end_matches('/').to_owned()
}
