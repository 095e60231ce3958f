//! Values that several tables have, such as URLs, methods and patterns.

pub(crate) mod address;
pub(crate) mod credential;
pub(crate) mod header;
pub(crate) mod method;
pub(crate) mod path;
pub(crate) mod pattern;

/// A setting that need not be there. `None`: what is there is wrong, as was reported.
pub(crate) fn given<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    match read {
        None => Some(None),
        Some(read) => read.map(Some),
    }
}
