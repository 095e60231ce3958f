//! TLS as one configuration has it: what each listener shows and asks for, whom each upstream is
//! trusted by.
//!
//! Everything is read from its files when a gateway is built and is part of it, so a reload swaps
//! certificates together with all the rest, and a wrong file refuses the reload. Handshakes are the
//! server's business. In reading order: `certificate` reads one, `listener` joins those of a
//! listener, `client_auth` and `roots` are the authorities of clients and of upstreams, `tickets`
//! outlives configurations.

mod certificate;
mod client_auth;
mod listener;
mod pem;
mod roots;
#[cfg(test)]
mod tests;
mod tickets;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use certificate::CertificateStatus;
pub use client_auth::ClientAuth;
pub use listener::Listener;
pub use roots::{Roots, RootsError, system_roots};
pub use tickets::Tickets;

/// The process's own provider, so that everything speaks TLS by the same code; aws-lc-rs where none
/// is installed.
fn provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default().map_or_else(
        || Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
        Arc::clone,
    )
}
