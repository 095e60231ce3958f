//! Values that several tables have, such as URLs, methods and patterns.

pub(crate) mod address;
pub(crate) mod credential;
pub(crate) mod header;
pub(crate) mod method;
pub(crate) mod path;
pub(crate) mod pattern;
pub(crate) mod redirect;

use crate::config::model::Secret;
use crate::config::reader::Entry;

/// A setting that need not be there. `None`: what is there is wrong, as was reported.
pub(crate) fn given<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    match read {
        None => Some(None),
        Some(read) => read.map(Some),
    }
}

/// A secret that a reference fills in; reports one that is empty then.
pub(crate) fn filled_secret(entry: &Entry<'_>) -> Option<Secret> {
    let text = entry.text()?;
    if text.is_empty() {
        entry.error_help(
            "is empty after filling in",
            "set the variable that it refers to",
        );
        return None;
    }
    Some(Secret::new(text.to_string()))
}
