//! Certificates of clients, and the authorities that vouch for them.

use std::path::Path;
use std::sync::Arc;

use jose::clock;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::{pem, provider};
use crate::auth::{CertificateTrust, ClientCertificate, PresentedCertificate};

/// Which certificates clients may show on a listener.
#[derive(Debug, Clone)]
pub struct ClientAuth {
    /// Who vouches for clients, if anybody does.
    ca: Option<ClientCa>,
    /// Whether a certificate passes that nobody vouches for (RFC 8705 section 2.2).
    any: bool,
}

/// `client_ca_path`, read.
#[derive(Debug, Clone)]
pub(super) struct ClientCa {
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
        let id = pem::sha256_of(&certificates);
        for certificate in certificates {
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
        Ok(Self { verifier, id })
    }

    /// Whether they vouch for a certificate. It was verified in the handshake, as a rule; if the
    /// authorities changed since, or a certificate of its chain ended, it is verified once more.
    fn verifies(&self, certificate: &ClientCertificate) -> bool {
        certificate.is_verified_by(self.id, clock::now(), |certificate| {
            let (client, others) = match certificate.chain() {
                [] => return false,
                [client, others @ ..] => (client, others),
            };
            let verdict = self
                .verifier
                .verify_client_cert(client, others, UnixTime::now());
            verdict.is_ok()
        })
    }
}

impl ClientAuth {
    /// `any`: certificates that nobody vouches for are taken, too. `None`: clients are not asked.
    pub(super) fn new(ca: Option<ClientCa>, any: bool) -> Option<Self> {
        (any || ca.is_some()).then_some(Self { ca, any })
    }

    /// The certificate as a request on its connection presents it.
    pub fn present<'c>(&self, certificate: &'c ClientCertificate) -> PresentedCertificate<'c> {
        let verified = self.ca.as_ref().is_some_and(|ca| ca.verifies(certificate));
        PresentedCertificate {
            certificate,
            trust: match verified {
                true => CertificateTrust::Verified,
                false if self.any => CertificateTrust::Unverified,
                false => CertificateTrust::Withdrawn,
            },
        }
    }

    /// Takes note that a handshake has ended with this certificate.
    pub fn note_handshake(&self, certificate: &ClientCertificate) {
        if let (Some(ca), false) = (&self.ca, self.any) {
            certificate.is_verified_by(ca.id, clock::now(), |_| true);
        }
    }

    /// What handshakes go by.
    pub(super) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        match &self.ca {
            Some(ca) if !self.any => ca.verifier.clone(),
            _ => Arc::new(AnyCertificate(provider().signature_verification_algorithms)),
        }
    }
}

/// Takes every certificate whose key the client proves to have.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
