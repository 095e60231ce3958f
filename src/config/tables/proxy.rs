//! `[proxy]`: the instance as a whole.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use super::values::{address, pattern};
use crate::config::model::{ErrorKind, TextPattern};
use crate::config::reader::{Document, Entry, Loading, Reader, Span, Text};

const HOUR: u64 = 3600;
const MEBIBYTE: u64 = 1024 * 1024;

/// `[proxy]` as read.
pub(crate) struct Proxy<'a> {
    pub(crate) id: String,
    pub(crate) threads: usize,
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// Whether there are any, be they written wrong.
    pub(crate) trusts: bool,
    pub(crate) forwarded: bool,
    /// `resolve_secs`.
    pub(crate) resolve_interval: Option<Duration>,
    pub(crate) grace: Duration,
    pub(crate) shutdown_delay: Duration,
    /// Connections to upstreams at a time.
    pub(crate) max_upstream_connections: Option<usize>,
    pub(crate) token_cache_bytes: u64,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) watch_files: bool,
    /// What a `jwt-auth` step's `jwks_cache_secs` is by default.
    pub(crate) jwks_fresh: Duration,
    /// What an endpoint's `max_body_size` is by default.
    pub(crate) max_body_size: u64,
    /// `sensitive_field_patterns`: names whose values no log shows.
    pub(crate) sensitive_fields: Vec<TextPattern>,
    /// `primary_provider`.
    pub(crate) primary_provider: Option<(Text, Entry<'a>)>,
    /// `log_level`, which means that of `[logging]`.
    pub(crate) log_level: Option<Entry<'a>>,
}

/// The directory whose files join the main one: `pipelines_path`, and what names it.
///
/// Without the key: `pipelines` beside the main file, if it is there and the main file has no
/// pipelines itself.
pub(crate) fn pipelines_directory(
    document: &Document,
    loading: &Loading<'_>,
) -> Option<(PathBuf, Span)> {
    let root = Reader::root(document, loading);
    let written = root
        .get("proxy")
        .filter(Entry::is_table)
        .and_then(|proxy| proxy.table()?.get("pipelines_path"));
    match written {
        Some(entry) => {
            let directory = entry.path()?;
            loading.pipelines(&directory);
            Some((directory, entry.span().clone()))
        }
        None if root.has("pipelines") => None,
        None => {
            let main = loading.main_file();
            let directory = main
                .file
                .parent()
                .unwrap_or(Path::new(""))
                .join("pipelines");
            loading.pipelines(&directory);
            loading
                .has_directory(&directory)
                .then_some((directory, main))
        }
    }
}

/// Reads `[proxy]`.
pub(crate) fn read<'a>(root: &Reader<'a>) -> Option<Proxy<'a>> {
    let Some(entry) = root.get("proxy") else {
        root.missing("proxy", "add [proxy] with id = \"edge-01\"");
        return None;
    };
    let reader = entry.table()?;
    reader.know(&["pipelines_path", "description"]);
    reader.ignore(&["transforms_path", "mesh_path", "store_dir"]);
    required_env_vars(&reader);
    let id = id(&reader);
    let proxy = Proxy {
        threads: threads(&reader),
        trusts: reader
            .get("trusted_proxies")
            .is_some_and(|entry| !entry.items().is_empty()),
        trusted_proxies: trusted_proxies(&reader),
        forwarded: reader.flag("forwarded", false),
        resolve_interval: reader
            .get("resolve_secs")
            .and_then(|entry| entry.integer(1..=3600))
            .map(|seconds| Duration::from_secs(seconds.unsigned_abs())),
        grace: reader.seconds("grace_secs", 0..=3600, 15),
        shutdown_delay: reader.seconds("shutdown_delay_secs", 0..=3600, 0),
        max_upstream_connections: reader.connections("max_upstream_connections"),
        token_cache_bytes: reader.number("token_cache_mb", 0..=65_536, 64) * MEBIBYTE,
        state_dir: state_dir(&reader, id.as_deref()),
        watch_files: reader.flag("watch_files", true),
        jwks_fresh: Duration::from_secs(
            reader.number("jwks_cache_duration_hours", 1..=168, 1) * HOUR,
        ),
        max_body_size: content_limits(&reader).unwrap_or(10 * MEBIBYTE),
        sensitive_fields: pattern::names(&reader, "sensitive_field_patterns"),
        primary_provider: reader
            .get("primary_provider")
            .and_then(|entry| Some((entry.text()?, entry))),
        log_level: reader.get("log_level"),
        id: id.unwrap_or_default(),
    };
    reader.finish();
    Some(proxy)
}

/// `id`, or `name` where there is no `id`.
fn id(reader: &Reader<'_>) -> Option<String> {
    let name = reader.get("name");
    let Some(entry) = reader.get("id").or(name) else {
        reader.missing("id", "add id = \"edge-01\"");
        return None;
    };
    let text = entry.text()?;
    let plain = !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if !plain {
        entry.error_help(
            "must be letters, digits, \"-\" and \"_\"",
            "it names a directory; add an id of that form",
        );
    }
    plain.then(|| text.to_string())
}

fn threads(reader: &Reader<'_>) -> usize {
    match reader.number("threads", 0..=1024, 0) {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => usize::try_from(threads).unwrap_or(1),
    }
}

fn trusted_proxies(reader: &Reader<'_>) -> Vec<IpNet> {
    let Some(entry) = reader.get("trusted_proxies") else {
        return Vec::new();
    };
    let ranges = address::ranges(&entry);
    if ranges.iter().any(|range| range.prefix_len() == 0) {
        entry.warning("every peer's X-Forwarded-* is believed");
    }
    ranges
}

/// `state_dir`, else `$STATE_DIRECTORY`, else `$HOME/.runbeam/<id>`.
fn state_dir(reader: &Reader<'_>, id: Option<&str>) -> Option<PathBuf> {
    if let Some(entry) = reader.get("state_dir") {
        return entry.path();
    }
    let env = |name| {
        reader
            .loading()
            .env
            .var(name)
            .filter(|value| !value.is_empty())
    };
    // systemd joins several with colons
    let given = env("STATE_DIRECTORY").and_then(|list| list.split(':').next().map(PathBuf::from));
    given.or_else(|| Some(PathBuf::from(env("HOME")?).join(".runbeam").join(id?)))
}

fn content_limits(reader: &Reader<'_>) -> Option<u64> {
    let limits = reader.get("content_limits")?.table()?;
    limits.ignore(&[
        "max_csv_rows",
        "max_xml_depth",
        "max_multipart_files",
        "max_form_fields",
    ]);
    let size = limits
        .get("max_body_size")
        .and_then(|entry| entry.integer(1..=i64::MAX));
    limits.finish();
    size.map(i64::unsigned_abs)
}

fn required_env_vars(reader: &Reader<'_>) {
    let Some(entry) = reader.get("required_env_vars") else {
        return;
    };
    for (name, item) in entry.texts() {
        if reader
            .loading()
            .env
            .var(&name)
            .is_none_or(|value| value.is_empty())
        {
            item.error(ErrorKind::UnsetVariable(name.to_string()));
        }
    }
}
