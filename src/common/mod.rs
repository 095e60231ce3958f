//! What several rooms need, and none of them owns.

mod client_network;
mod weak_map;

pub(crate) use client_network::client_network;
pub(crate) use weak_map::WeakMap;
