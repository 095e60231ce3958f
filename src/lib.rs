//! harmony-edge as a library: the rooms of the proxy, from configuration to answer.
//!
//! Arrows between the rooms point one way; `tests/rooms.rs` holds the rules.

pub mod config;
