//! What the upstream gets, what the client gets back, and what happens when either of them is slow,
//! gone or wrong.

mod answers;
mod backends;
mod balance;
mod bodies;
mod bound;
mod broken;
mod early;
mod fields;
mod http2;
mod kept;
mod names;
mod sockets;
mod streams;
mod timeouts;
mod trailers;
mod tunnels;
mod victims;
