//! PEM files (RFC 7468): certificates and keys, and what is wrong with a file that holds none.

use std::path::Path;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::common::sha256;

/// What a file should hold and does not.
#[derive(Debug, thiserror::Error)]
pub(super) enum PemError {
    #[error("cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    #[error("is not in PEM form: nothing in it begins with -----BEGIN")]
    NotPem,
    #[error("is broken PEM: {0}")]
    Broken(String),
    #[error("holds no certificate")]
    NoCertificate,
    #[error("holds no key in PKCS#8, PKCS#1 or SEC1 form")]
    NoKey,
    #[error(
        "holds a key that a password protects; take it off with `openssl pkey -in FILE -out FILE`"
    )]
    EncryptedKey,
}

/// Every certificate of a file, in its order; at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let text = std::fs::read(path)?;
    let certificates = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| PemError::Broken(error.to_string()))?;
    match certificates.len() {
        0 if !has(&text, b"-----BEGIN") => Err(PemError::NotPem),
        0 => Err(PemError::NoCertificate),
        _ => Ok(certificates),
    }
}

/// The first key of a file.
pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    let text = Zeroizing::new(std::fs::read(path)?);
    match PrivateKeyDer::from_pem_slice(&text) {
        Ok(key) => Ok(key),
        Err(_) if !has(&text, b"-----BEGIN") => Err(PemError::NotPem),
        Err(_) if has(&text, b"ENCRYPTED") => Err(PemError::EncryptedKey),
        Err(rustls_pki_types::pem::Error::NoItemsFound) => Err(PemError::NoKey),
        // What it says may hold a piece of the key.
        Err(_) => Err(PemError::Broken("the key cannot be decoded".to_owned())),
    }
}

/// The SHA-256 of certificates: the same in the same order have the same.
pub(super) fn sha256_of(certificates: &[CertificateDer<'_>]) -> [u8; 32] {
    let mut content = Vec::new();
    for certificate in certificates {
        content.extend_from_slice(&certificate.len().to_le_bytes());
        content.extend_from_slice(certificate);
    }
    sha256(&[&content])
}

fn has(text: &[u8], words: &[u8]) -> bool {
    text.windows(words.len()).any(|window| window == words)
}
