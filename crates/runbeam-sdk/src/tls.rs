//! The cryptography of the process.

use rustls::crypto::CryptoProvider;

/// Installs aws-lc-rs, unless the program has chosen a provider already: a library may be used by
/// one that has not.
pub(super) fn install_provider() {
    if CryptoProvider::get_default().is_none() {
        // Somebody else may be quicker; then theirs serves.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
}
