//! `libz-ng-sys` as `flate2` uses it, from stock zlib.
//!
//! `pingora-core` asks `flate2` for zlib-ng, whose build needs CMake. harmony-edge compresses
//! nothing, and a fresh machine has only Rust and a C compiler, so `[patch.crates-io]` in the main
//! Cargo.toml puts this crate in its place.

pub use libz_sys::*;
