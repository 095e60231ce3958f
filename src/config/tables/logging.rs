//! `[logging]`, and `log_level` of `[proxy]`, which means the same.

use std::path::PathBuf;

use crate::config::model::{ErrorKind, LogFormat, Logging};
use crate::config::reader::{Entry, Reader, known_names};

const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

/// Reads `[logging]`. `of_proxy` is `[proxy] log_level`.
pub(crate) fn read(root: &Reader<'_>, of_proxy: Option<Entry<'_>>) -> Logging {
    let mut logging = Logging {
        level: "info".to_owned(),
        format: LogFormat::Text,
        file: None,
    };
    let outer = of_proxy.as_ref().and_then(level);
    let mut inner = None;
    if let Some(reader) = root.get("logging").and_then(|entry| entry.table()) {
        let entry = reader.get("log_level");
        inner = entry.as_ref().and_then(level);
        if let (Some(outer), Some(inner), Some(entry), Some(of_proxy)) =
            (&outer, &inner, &entry, &of_proxy)
            && outer != inner
        {
            entry.error_help(
                ErrorKind::DefinedTwice {
                    what: "`log_level`".into(),
                    other: of_proxy.span().to_string(),
                },
                "keep this one",
            );
        }
        if let Some(format) = reader.get("format") {
            logging.format = log_format(&format).unwrap_or(LogFormat::Text);
        }
        let to_file = reader.flag("log_to_file", false);
        logging.file = match reader.get("log_file_path") {
            Some(entry) if to_file => entry.log_file(),
            Some(entry) => entry.path().and(None),
            None if to_file => reader
                .span()
                .file
                .parent()
                .map(|base| base.join("harmony.log")),
            None => None,
        };
        reader.finish();
    }
    if let Some(level) = inner.or(outer) {
        logging.level = level;
    }
    logging
}

/// Reads `[audit]`.
pub(crate) fn audit_path(root: &Reader<'_>) -> Option<PathBuf> {
    let reader = root.get("audit")?.table()?;
    let path = reader.get("path").and_then(|entry| entry.log_file());
    reader.finish();
    path
}

fn log_format(entry: &Entry<'_>) -> Option<LogFormat> {
    let text = entry.text()?;
    match &*text {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => {
            entry.unknown("log format", &text, &["text", "json"]);
            None
        }
    }
}

/// A level, or `target=level` separated by commas, as `RUST_LOG` has it.
fn level(entry: &Entry<'_>) -> Option<String> {
    let text = entry.text()?;
    let directives = text
        .split_once('/')
        .map_or(&*text, |(directives, _)| directives);
    for directive in directives.split(',') {
        let word = directive
            .rsplit('=')
            .next()
            .unwrap_or(directive)
            .trim()
            .to_ascii_lowercase();
        if !LEVELS.contains(&word.as_str()) {
            entry.error_help(
                "must be a level, or target=level separated by commas",
                known_names(&word, LEVELS).unwrap_or_default(),
            );
            return None;
        }
    }
    Some(text.to_string())
}
