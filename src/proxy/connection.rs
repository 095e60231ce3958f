//! What the handshake of a connection leaves to its requests: the client's certificate.

use std::sync::{Arc, OnceLock};

use pingora::protocols::Digest;

use crate::auth::ClientCertificate;

/// A connection with TLS whose listener asks for certificates.
#[derive(Debug, Default)]
pub struct Connection {
    certificate: OnceLock<ClientCertificate>,
}

impl Connection {
    /// Takes note of the certificate, once the handshake has verified it.
    pub fn verified(&self, certificate: ClientCertificate) {
        // There is one handshake.
        let _ = self.certificate.set(certificate);
    }

    /// The certificate; `None`: the client showed none.
    pub(super) fn certificate(&self) -> Option<&ClientCertificate> {
        self.certificate.get()
    }

    /// The one that a request came on, where the server has put it: in the place that Pingora has for what a connection brings along.
    pub(super) fn of(digest: Option<&Digest>) -> Option<Arc<Self>> {
        digest?
            .proxy_digest
            .as_ref()?
            .user_data
            .as_ref()?
            .downcast_ref::<Arc<Self>>()
            .cloned()
    }
}
