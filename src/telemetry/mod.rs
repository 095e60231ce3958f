//! What goes on, for those who run it: the log and its access records.
//!
//! Nothing here knows of the other rooms; they hand over plain values.

pub mod access;
mod logger;
mod writer;

pub use logger::{LogSettings, start};
pub use writer::LogWriter;
