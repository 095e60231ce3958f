//! Methods of requests.

use http::Method;

use crate::config::reader::{Entry, Text};

/// Methods in upper case, each once.
pub(crate) fn all(entry: &Entry<'_>) -> Vec<Method> {
    let mut methods = Vec::new();
    for (text, item) in entry.one_or_more() {
        match method(&text) {
            Some(Method::TRACE | Method::CONNECT) => {
                item.error_help(format!("{} is never served", text.shown()), "remove it")
            }
            Some(method) if methods.contains(&method) => {
                item.error(format!("{} is named twice", text.shown()))
            }
            Some(method) => methods.push(method),
            None if text.is_empty() => {}
            None => item.error_help(
                format!("{} is not a method", text.shown()),
                "write it like \"GET\"",
            ),
        }
    }
    methods
}

fn method(text: &Text) -> Option<Method> {
    Method::from_bytes(text.to_ascii_uppercase().as_bytes()).ok()
}
