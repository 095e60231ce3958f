//! harmony-edge as a library: the rooms of the proxy, from configuration to answer.
//!
//! Arrows between the rooms point one way: `config` knows nobody, `auth` and `policy` know
//! `config`, `gateway` knows all three, `listener`, `proxy` and `management` know the gateway, and
//! `server` puts them together.

pub mod auth;
pub mod balance;
pub mod cli;
mod common;
pub mod config;
pub mod control;
mod demo;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub mod gateway;
pub mod listener;
pub mod management;
pub mod policy;
pub mod proxy;
pub mod server;
pub mod shared_store;
pub mod telemetry;
