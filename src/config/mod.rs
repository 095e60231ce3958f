//! Configuration: text, then what the user wrote, then what the program uses.

mod model;

pub use model::*;
