//! What each table of the file means: one file for each, or a directory where a table has much to
//! say. Every one reads its keys into the types of `model`.
//!
//! Not here: how a value is read (`reader`).

pub(crate) mod address;
pub(crate) mod authentications;
pub(crate) mod backends;
pub(crate) mod endpoints;
pub(crate) mod logging;
pub(crate) mod management;
pub(crate) mod middleware;
pub(crate) mod network;
pub(crate) mod path;
pub(crate) mod pattern;
pub(crate) mod pipelines;
pub(crate) mod policies;
pub(crate) mod proxy;
pub(crate) mod reach;
pub(crate) mod rules;
pub(crate) mod runbeam;
pub(crate) mod secrets;
pub(crate) mod unsupported;
