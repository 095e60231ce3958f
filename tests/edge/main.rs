//! The edge from outside: the real binary, real sockets, real keys. `support` is the harness; every
//! other module holds the rules of one subject.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test that cannot go on should say where, and stop"
)]
#![allow(
    unreachable_pub,
    reason = "nothing of a test is public; `pub` marks what a module offers to the others"
)]

mod bearer;
mod chain;
mod cloud;
mod configuration;
mod conformance;
mod cors;
mod demo;
mod discovery;
mod exhaustion;
mod explain;
mod forwarding;
mod grpc;
mod harness;
mod header_rules;
mod hostile;
mod how_to;
mod http2_upstreams;
mod identity;
mod introspection;
mod key_sets;
mod management;
mod oidc_provider;
mod operation;
mod peers;
mod planted;
mod proxy_protocol;
mod redirects;
mod reload;
mod revocation;
mod rooms;
mod routing;
mod runbeam_sdk;
mod sender_bound;
mod shadow;
mod shared_store;
mod streams;
#[allow(dead_code, reason = "tests/faults shares the harness, and needs another part of it")]
mod support;
mod tls;
mod token_store;
mod tracing;
mod traffic_split;
mod watch;
