//! From text to values: TOML with the place of each value, the main file and its pipelines
//! directory as one document, references filled in, and readers that report what is wrong.
//!
//! Not here: which tables there are and what their keys mean (`tables`).

mod document;
mod entry;
mod hint;
mod interpolate;
mod loading;
mod local;
mod named;
mod near;
mod parse;
mod span;
mod syntax;
mod table;
mod value;

pub(crate) use document::{Document, IGNORED_TABLES};
pub(crate) use entry::Entry;
pub(crate) use interpolate::Text;
pub use interpolate::{Environment, ProcessEnvironment};
pub(crate) use loading::Loading;
pub use local::{Local, toml_files};
pub(crate) use named::Named;
pub(crate) use near::{known_names, near};
pub(crate) use parse::parse_text;
pub(crate) use span::Span;
pub(crate) use table::Reader;
pub(crate) use value::{Node, Table, Value};
