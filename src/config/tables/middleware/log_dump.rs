//! The settings of a `log_dump` step.

use std::sync::Arc;

use crate::config::model::{LogDump, StepKind, TextPattern};
use crate::config::reader::{Entry, Reader};
use crate::config::tables::values::pattern;

/// `log_dump`; nothing at all for one that is about the response. `sensitive`:
/// `proxy.sensitive_field_patterns`.
pub(super) fn read(name: &str, reader: &Reader<'_>, sensitive: &[TextPattern]) -> Option<StepKind> {
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
