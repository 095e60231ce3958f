//! HTTP/2 to an upstream (RFC 9113): connections, and the exchanges that share them.
//!
//! The `h2` crate speaks the protocol; Pingora's client session over it gives room in the window
//! back before the client has taken what was read, and tells neither the last stream of a `GOAWAY`
//! nor interim responses. An exchange that ends early resets its own stream and no other.

mod connection;
mod frame_watch;
mod stream;
#[cfg(test)]
mod tests;

pub(super) use connection::{Http2Connection, MAX_STREAMS, Slot};
pub(super) use stream::Http2;
