//! The SDK against a cloud on loopback.

mod calls;
