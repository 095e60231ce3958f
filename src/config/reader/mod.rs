//! From text to values: TOML with the place of each value, the main file and its pipelines
//! directory as one document, references filled in, and readers that report what is wrong.
//!
//! Not here: which tables there are and what their keys mean (`tables`).

pub(crate) mod document;
pub(crate) mod entry;
mod hint;
pub(crate) mod interpolate;
pub(crate) mod loading;
pub(crate) mod local;
pub(crate) mod named;
pub(crate) mod near;
mod syntax;
pub(crate) mod table;

pub(crate) use document::{Document, Node, Place, Table, Value, parse_text};
pub(crate) use entry::Entry;
pub(crate) use interpolate::Text;
pub(crate) use loading::Loading;
pub(crate) use named::Named;
pub(crate) use near::{known_names, near};
pub(crate) use table::{Reader, join};
