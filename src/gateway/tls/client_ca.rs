//! The authorities that vouch for clients.

use std::path::Path;
use std::sync::Arc;

use ring::digest::{Context, SHA256};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::UnixTime;

use super::{pem, provider};
use crate::auth::{ClientCertificate, PresentedCertificate};

/// `client_ca_path`, read.
#[derive(Debug, Clone)]
pub struct ClientCa {
    verifier: Arc<dyn ClientCertVerifier>,
    /// SHA-256 of its certificates: the same authorities are the same after a reload.
    id: [u8; 32],
}

impl ClientCa {
    /// Reads the file. `required`: a client without a certificate is not let in at all.
    pub(super) fn load(path: &Path, required: bool) -> Result<Self, String> {
        let wrong = |why: String| format!("{}: {why}", path.display());
        let certificates =
            pem::certificates(path).map_err(|error| wrong(format!("the file {error}")))?;
        let mut roots = RootCertStore::empty();
        let mut context = Context::new(&SHA256);
        for certificate in certificates {
            context.update(&certificate.len().to_le_bytes());
            context.update(&certificate);
            roots
                .add(certificate)
                .map_err(|error| wrong(format!("a certificate cannot be used: {error}")))?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        let builder = if required {
            builder
        } else {
            builder.allow_unauthenticated()
        };
        let verifier = builder.build().map_err(|error| wrong(error.to_string()))?;
        let mut id = [0; 32];
        id.copy_from_slice(context.finish().as_ref());
        Ok(Self { verifier, id })
    }

    /// The certificate as a request on its connection presents it. It was verified in the
    /// handshake; if the authorities changed since, it is verified once more.
    pub fn present<'c>(&self, certificate: &'c ClientCertificate) -> PresentedCertificate<'c> {
        let trusted = certificate.is_verified_by(self.id, |certificate| {
            let (client, others) = match certificate.chain() {
                [] => return false,
                [client, others @ ..] => (client, others),
            };
            let verdict = self
                .verifier
                .verify_client_cert(client, others, UnixTime::now());
            verdict.is_ok()
        });
        PresentedCertificate {
            certificate,
            trusted,
        }
    }

    /// Takes note that the handshake has verified the certificate.
    pub fn has_verified(&self, certificate: &ClientCertificate) {
        certificate.is_verified_by(self.id, |_| true);
    }

    pub(super) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        self.verifier.clone()
    }
}
