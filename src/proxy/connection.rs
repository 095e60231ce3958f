//! What a connection brings along for its requests: how far it has come, and the client's
//! certificate.

use std::sync::{Arc, OnceLock};

use pingora::protocols::Digest;

use super::bound::Bound;
use super::progress::{Clock, Progress};
use crate::auth::ClientCertificate;

/// A connection from a client.
#[derive(Debug)]
pub struct Connection {
    progress: Progress,
    certificate: OnceLock<ClientCertificate>,
    /// A connection to an upstream that nobody else may use.
    bound: Bound,
}

/// While this lives, a stream of an HTTP/2 connection is being served.
#[derive(Debug)]
pub struct Served(Arc<Connection>);

impl Connection {
    /// One that was accepted just now.
    pub fn new(clock: Arc<Clock>) -> Self {
        Self {
            progress: Progress::new(clock),
            certificate: OnceLock::new(),
            bound: Bound::default(),
        }
    }

    /// How far it has come.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Begins to serve a stream.
    pub fn serve_stream(self: &Arc<Self>) -> Served {
        self.progress.serve_stream();
        Served(self.clone())
    }

    /// Takes note of the certificate, once the handshake has verified it.
    pub fn verified(&self, certificate: ClientCertificate) {
        // There is one handshake.
        let _ = self.certificate.set(certificate);
    }

    /// The certificate; `None`: the client showed none.
    pub(super) fn certificate(&self) -> Option<&ClientCertificate> {
        self.certificate.get()
    }

    /// The connection to an upstream that belongs to this one.
    pub(super) fn bound(&self) -> &Bound {
        &self.bound
    }

    /// The one that a request came on, where the server has put it: in the place that Pingora has
    /// for what a connection brings along.
    pub fn of(digest: Option<&Digest>) -> Option<&Arc<Self>> {
        digest?
            .proxy_digest
            .as_ref()?
            .user_data
            .as_ref()?
            .downcast_ref()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.0.progress.end_stream();
    }
}
