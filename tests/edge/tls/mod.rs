//! TLS: what a listener shows and asks for, what a reload changes of it, and what an upstream must
//! show.

mod clients;
mod handshakes;
mod listening;
mod programs;
mod redirect;
mod reload;
mod upstreams;

pub use listening::Listening;
