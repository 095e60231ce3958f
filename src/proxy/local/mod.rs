//! What the edge answers itself.

pub(crate) mod echo;
pub(crate) mod probe;
pub(crate) mod redirect;
pub(crate) mod respond;
