//! Patterns as written: regular expressions, paths, and globs over field names. Compiled here,
//! once, within limits.

use regex::RegexBuilder;

use super::path;
use crate::config::model::{PathPattern, TextPattern};
use crate::config::reader::{Entry, Reader, Text};

/// What a compiled expression may take, in bytes; and what matching may keep besides.
const SIZE_LIMIT: usize = 256 * 1024;

/// A regular expression, bare or as `/EXPRESSION/FLAGS`.
pub(crate) fn regex(entry: &Entry<'_>) -> Option<TextPattern> {
    let text = entry.text()?;
    if text.is_empty() {
        entry.error("is empty: it would match everything");
        return None;
    }
    let (expression, flags) = delimited(&text).unwrap_or((&text, ""));
    compiled(entry, expression, flags, false)
}

/// Names of fields: globs (`*_key`), or expressions as `/EXPRESSION/`. Case does not count; `-`,
/// `_` and `.` in a glob stand for every character that is no letter or digit.
pub(crate) fn names(reader: &Reader<'_>, key: &'static str) -> Vec<TextPattern> {
    let Some(entry) = reader.get(key) else {
        return Vec::new();
    };
    let texts = entry.texts().into_iter();
    texts
        .filter_map(|(text, item)| name(&text, &item))
        .collect()
}

fn name(text: &Text, item: &Entry<'_>) -> Option<TextPattern> {
    if text.is_empty() {
        item.error("an empty string means nothing here");
        return None;
    }
    match delimited(text) {
        Some((expression, flags)) => compiled(item, expression, flags, true),
        None => compiled(item, &glob(text), "", true),
    }
}

/// A glob as an expression over the whole name.
fn glob(text: &str) -> String {
    let mut expression = String::from("^");
    for character in text.chars() {
        match character {
            '*' => expression.push_str(".*"),
            '?' => expression.push('.'),
            '-' | '_' | '.' => expression.push_str("[^a-z0-9]"),
            _ => expression.push_str(&regex::escape(character.encode_utf8(&mut [0; 4]))),
        }
    }
    expression.push('$');
    expression
}

/// The parts of `/EXPRESSION/FLAGS`.
fn delimited(text: &str) -> Option<(&str, &str)> {
    let (expression, flags) = text.strip_prefix('/')?.rsplit_once('/')?;
    let plain = flags.bytes().all(|byte| byte.is_ascii_lowercase());
    (plain && !expression.is_empty()).then_some((expression, flags))
}

fn compiled(
    entry: &Entry<'_>,
    expression: &str,
    flags: &str,
    ignore_case: bool,
) -> Option<TextPattern> {
    let mut builder = RegexBuilder::new(expression);
    builder.size_limit(SIZE_LIMIT).dfa_size_limit(SIZE_LIMIT);
    builder.case_insensitive(ignore_case);
    for flag in flags.chars() {
        match flag {
            'i' => builder.case_insensitive(true),
            'm' => builder.multi_line(true),
            's' => builder.dot_matches_new_line(true),
            'x' => builder.ignore_whitespace(true),
            _ => {
                entry.error_help(
                    format!("{flag:?} is not a flag of an expression"),
                    "known: i, m, s, x",
                );
                return None;
            }
        };
    }
    match builder.build() {
        Ok(regex) => Some(TextPattern::new(regex)),
        Err(error) => {
            entry.error(format!("is not a regular expression: {}", reason(&error)));
            None
        }
    }
}

/// The reason alone: the rest repeats the expression, which may have been filled in.
fn reason(error: &regex::Error) -> String {
    if let regex::Error::CompiledTooBig(limit) = error {
        return format!("it takes more than {limit} bytes when compiled");
    }
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// A pattern of paths in `matchit` syntax, or `*`.
pub(crate) fn path(entry: &Entry<'_>) -> Option<PathPattern> {
    let text = entry.text()?;
    let wrong = |why: String, help: &str| {
        entry.error_help(why, help);
        None
    };
    if &*text == "*" {
        return PathPattern::new("*").ok();
    }
    let outside = without_names(&text);
    if outside.contains('*') || outside.split('/').any(|segment| segment.starts_with(':')) {
        return wrong(
            format!("{} has a wildcard of another syntax", text.shown()),
            "write {name} for one segment, {*rest} for everything that follows",
        );
    }
    let canonical = match path::canonical(&outside) {
        Ok(_) if text.is_empty() => return wrong("is empty".to_owned(), "write \"/\""),
        Ok(canonical) => canonical,
        Err(why) => return wrong(why.into_owned(), &format!("it is {}", text.shown())),
    };
    let trimmed = if canonical == "/" {
        "/"
    } else {
        text.strip_suffix('/').unwrap_or(&text)
    };
    match PathPattern::new(trimmed) {
        Ok(pattern) => Some(pattern),
        Err(_) => wrong(
            format!("{} is not a pattern of paths", text.shown()),
            "write {name} for one segment, {*rest} for everything that follows",
        ),
    }
}

/// A pattern with a letter for each `{name}`, to be looked at as a path. A brace that has no other
/// stays.
fn without_names(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((_, after)) = after.split_once('}') else {
            break;
        };
        out.push_str(before);
        out.push('x');
        rest = after;
    }
    out.push_str(rest);
    out
}
