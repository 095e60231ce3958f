//! What the options of a rule compare a request's fields with.

use http::HeaderName;

use crate::config::model::{FieldMatch, MediaRange, Secret, TextPattern, ValueMatch};
use crate::config::reader::{Entry, Reader, Text};
use crate::config::tables::values::pattern;

/// One of `headers`.
pub(crate) fn header(entry: &Entry<'_>) -> Option<FieldMatch<HeaderName>> {
    let reader = entry.table()?;
    let name = reader
        .required_text("name", "add name = \"X-Tenant\"")
        .and_then(|text| {
            let name = HeaderName::from_bytes(text.as_bytes()).ok();
            if name.is_none() {
                reader.error(
                    format!("{} is not a header name", text.shown()),
                    "write it like \"X-Tenant\"",
                );
            }
            name
        });
    let value = value(&reader, |text| text.to_ascii_lowercase());
    reader.finish();
    Some(FieldMatch {
        name: name?,
        value: value?,
    })
}

/// One of `parameters`.
pub(crate) fn parameter(entry: &Entry<'_>) -> Option<FieldMatch<String>> {
    let reader = entry.table()?;
    let name = reader.required_text("name", "add name = \"version\"");
    let value = value(&reader, str::to_owned);
    reader.finish();
    Some(FieldMatch {
        name: name?.to_string(),
        value: value?,
    })
}

/// `match_type` and `value`.
fn value(reader: &Reader<'_>, kept: impl Fn(&str) -> String) -> Option<ValueMatch> {
    let kind = reader.required_text("match_type", "exact, contains, regex or exists")?;
    let value = reader.get("value");
    if &*kind == "exists" {
        if let Some(value) = value {
            value.error_help(
                "has no meaning beside match_type = \"exists\"",
                "remove it, or write match_type = \"exact\"",
            );
        }
        return Some(ValueMatch::Exists);
    }
    let Some(value) = value else {
        reader.missing("value", "what is it compared with?");
        return None;
    };
    let text = || -> Option<Text> {
        let text = value.text()?;
        if text.is_empty() {
            value.error("is empty");
            return None;
        }
        Some(text)
    };
    match &*kind {
        "exact" => Some(ValueMatch::Exact(Secret::new(kept(&value.text()?)))),
        "contains" => Some(ValueMatch::Contains(Secret::new(kept(&text()?)))),
        "regex" => pattern::regex(&value).map(ValueMatch::Regex),
        _ => {
            let known = ["exact", "contains", "regex", "exists"];
            if let Some(entry) = reader.get("match_type") {
                entry.unknown("match type", &kind, &known);
            }
            None
        }
    }
}

/// One of `patterns` of `user_agent`: `{ label, pattern }`, or the pattern alone.
pub(crate) fn user_agent(entry: &Entry<'_>) -> Option<TextPattern> {
    if !entry.is_table() {
        return pattern::regex(entry);
    }
    let reader = entry.table()?;
    reader.know(&["label"]);
    let found = reader.get("pattern");
    if found.is_none() {
        reader.missing("pattern", "add pattern = \"/bot/i\"");
    }
    reader.finish();
    pattern::regex(&found?)
}

/// One of `content_types`.
pub(crate) fn media_range(entry: &Entry<'_>) -> Option<MediaRange> {
    let text = entry.text()?;
    let range = text.trim().to_ascii_lowercase();
    let token = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    match range.split_once('/') {
        Some(("*", "*")) => Some(MediaRange::Any),
        Some((kind, "*")) if token(kind) => Some(MediaRange::Type(format!("{kind}/"))),
        Some((kind, subtype)) if token(kind) && token(subtype) => Some(MediaRange::Exact(range)),
        _ => {
            entry.error_help(
                format!("{} is not a media type", text.shown()),
                "write it like \"application/json\" or \"text/*\", without parameters",
            );
            None
        }
    }
}
