//! Values that several tables have, such as URLs, methods and patterns.

pub(crate) mod address;
pub(crate) mod credential;
pub(crate) mod header;
pub(crate) mod method;
pub(crate) mod path;
pub(crate) mod pattern;
