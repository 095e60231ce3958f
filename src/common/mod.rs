//! What several rooms need, and none of them owns.

mod client_network;
mod hex;
mod peer_address;
mod recurring_error;
mod retry_after;
mod sha256;
mod weak_map;

pub(crate) use client_network::client_network;
pub(crate) use hex::{Hex, write_hex};
pub use peer_address::PeerAddress;
pub(crate) use recurring_error::RecurringError;
pub(crate) use retry_after::retry_after;
pub(crate) use sha256::sha256;
pub(crate) use weak_map::WeakMap;
