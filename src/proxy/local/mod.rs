//! What the edge answers itself.

pub(crate) mod echo;
pub(crate) mod probe;
pub(crate) mod respond;
