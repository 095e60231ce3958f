//! The authorities that vouch for upstreams.

use std::path::Path;

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::pem;

/// `ca_cert_path`, read: what is trusted for one upstream instead of the system's authorities.
#[derive(Debug)]
pub struct Roots {
    /// The certificates; at least one, and each fit to be a root.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Taken from their content: connections made under one are not used under another.
    pub id: u64,
}

/// Why the system's authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// There are none.
    #[error(
        "this machine trusts no certificate authority; install ca-certificates, set \
         SSL_CERT_FILE, or give the backend a ca_cert_path"
    )]
    None,
    /// They cannot be read.
    #[error(
        "the certificate authorities of this machine cannot be read: {0}; check SSL_CERT_FILE and \
         SSL_CERT_DIR"
    )]
    Unreadable(String),
}

impl Roots {
    /// Reads the file.
    pub(in crate::gateway) fn load(path: &Path) -> Result<Self, String> {
        let wrong = |why: String| format!("{}: {why}", path.display());
        let certificates =
            pem::certificates(path).map_err(|error| wrong(format!("the file {error}")))?;
        let mut store = RootCertStore::empty();
        for certificate in &certificates {
            store
                .add(certificate.clone())
                .map_err(|error| wrong(format!("a certificate cannot be used: {error}")))?;
            X509Certificate::from_der(certificate)
                .map_err(|_| wrong("a certificate is no X.509 certificate".to_owned()))?;
        }
        let mut id = [0; 8];
        id.copy_from_slice(&pem::sha256_of(&certificates)[..8]);
        Ok(Self {
            certificates,
            id: u64::from_le_bytes(id),
        })
    }
}

/// How many authorities the system trusts. `SSL_CERT_FILE` and `SSL_CERT_DIR` say where they are,
/// if they are set.
///
/// # Errors
///
/// What the variables name cannot be read, or a certificate cannot be used.
pub fn system_roots() -> Result<usize, RootsError> {
    let found = rustls_native_certs::load_native_certs();
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"]
        .iter()
        .any(|name| std::env::var_os(name).is_some());
    // One of several files that cannot be read is no reason to do without the rest.
    if let (Some(error), [], true) = (found.errors.first(), &*found.certs, named) {
        return Err(RootsError::Unreadable(error.to_string()));
    }
    let mut store = RootCertStore::empty();
    for certificate in found.certs {
        store
            .add(certificate)
            .map_err(|error| RootsError::Unreadable(error.to_string()))?;
    }
    Ok(store.len())
}
