//! Settings of the steps `path-filter` and `log_dump`.

use std::sync::Arc;

use crate::config::model::{Effect, LogDump, PathFilter, PathPattern, StepKind, TextPattern};
use crate::config::reader::{Entry, Reader};
use crate::config::tables::pattern;

/// `path-filter`: `rules`, each a pattern that is allowed, or `{ allow = PATTERN }`, or `{ deny =
/// PATTERN }`.
pub(crate) fn path_filter(reader: &Reader<'_>) -> Option<PathFilter> {
    let Some(entry) = reader.get("rules") else {
        reader.missing("rules", "add rules = [\"/status\", \"/users/{id}\"]");
        return None;
    };
    if !entry.is_not_empty() {
        return None;
    }
    let items = entry.items();
    let rules: Vec<_> = items.iter().filter_map(path_rule).collect();
    if rules.len() != items.len() {
        return None;
    }
    if rules.iter().all(|(effect, _)| *effect == Effect::Deny) {
        entry.warning("no rule allows anything: every request is answered 404");
    }
    Some(PathFilter { rules })
}

fn path_rule(item: &Entry<'_>) -> Option<(Effect, PathPattern)> {
    if !item.is_table() {
        return Some((Effect::Allow, pattern::path(item)?));
    }
    let reader = item.table()?;
    let (allow, deny) = (reader.get("allow"), reader.get("deny"));
    let rule = match (allow, deny) {
        (Some(allow), None) => pattern::path(&allow).map(|pattern| (Effect::Allow, pattern)),
        (None, Some(deny)) => pattern::path(&deny).map(|pattern| (Effect::Deny, pattern)),
        _ => {
            reader.error(
                "needs either `allow` or `deny`",
                "write { allow = \"/users/{id}\" } or { deny = \"/{*rest}\" }",
            );
            None
        }
    };
    reader.finish();
    rule
}

/// `log_dump`; nothing at all for one that is about the response. `sensitive`:
/// `proxy.sensitive_field_patterns`.
pub(crate) fn log_dump(
    name: &str,
    reader: &Reader<'_>,
    sensitive: &[TextPattern],
) -> Option<StepKind> {
    let about_request = match reader.get("apply") {
        None => Some(true),
        Some(entry) => side(&entry),
    };
    if let Some(entry) = reader.get("max_bytes") {
        entry.integer(0..=i64::MAX);
        entry.info("ignored: an edge does not dump bodies");
    }
    let mut redact = sensitive.to_vec();
    for key in ["redact_headers", "redact_metadata", "redact_data_fields"] {
        redact.extend(pattern::names(reader, key));
    }
    let level = match reader.get("level") {
        None => Some(log::Level::Info),
        Some(entry) => level(&entry),
    };
    let label = reader.text("label").map(|label| label.to_string());
    let dump = LogDump {
        level: level?,
        label: label.unwrap_or_else(|| name.to_owned()),
        pretty: reader.flag("pretty", true),
        redact,
    };
    Some(if about_request? {
        StepKind::LogDump(Arc::new(dump))
    } else {
        StepKind::Passthru
    })
}

/// `apply`: whether it is about the request.
fn side(entry: &Entry<'_>) -> Option<bool> {
    let text = entry.text()?;
    match &*text {
        "left" => Some(true),
        "right" => {
            entry.info("ignored: an edge has no steps on the response");
            Some(false)
        }
        "both" => {
            entry.info("the request only: an edge has no steps on the response");
            Some(true)
        }
        _ => {
            entry.unknown("side", &text, &["left", "right", "both"]);
            None
        }
    }
}

fn level(entry: &Entry<'_>) -> Option<log::Level> {
    let text = entry.text()?;
    let level = text.parse().ok();
    if level.is_none() {
        entry.unknown("level", &text, &["error", "warn", "info", "debug", "trace"]);
    }
    level
}
