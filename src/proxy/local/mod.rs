//! What the edge answers itself.

mod body;
pub(crate) mod echo;
pub(crate) mod probe;
pub(crate) mod receiver;
pub(crate) mod redirect;
pub(crate) mod resource_document;
pub(crate) mod respond;
