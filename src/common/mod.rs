//! What several rooms need, and none of them owns.

mod client_network;
mod hex;
mod peer_address;
mod retry_after;
mod weak_map;

pub(crate) use client_network::client_network;
pub(crate) use hex::{Hex, write_hex};
pub use peer_address::PeerAddress;
pub(crate) use retry_after::retry_after;
pub(crate) use weak_map::WeakMap;
