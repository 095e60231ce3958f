//! The SDK against a cloud on loopback.

mod calls;
mod failures;
mod limits;
mod root;
mod seed;
mod user_tokens;
