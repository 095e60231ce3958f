//! What a connection brings along for its requests: how far it has come, what its client is held
//! to, and the client's certificate.

use std::any::Any;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use pingora::protocols::Digest;

use super::backlog::Backlog;
use super::client_limits::ClientLimits;
use super::state::{Clock, Progress};
use crate::auth::ClientCertificate;

/// Requests of one connection that upstreams may be at. The streams of HTTP/2 are as many at most;
/// one that is reset is none any more, but what the upstream does for it may go on.
const MAX_RUNNING: usize = 100;
/// A request that its client gave up is reckoned to run no longer.
const MAX_RUN: Duration = Duration::from_secs(60);

/// A connection from a client.
#[derive(Debug)]
pub struct Connection {
    progress: Progress,
    limits: Arc<ClientLimits>,
    certificate: OnceLock<ClientCertificate>,
    backlog: Backlog,
    /// By the guard's clock in milliseconds, until when upstreams may be at requests that were
    /// given up, and how many these are.
    given_up: Mutex<Vec<u64>>,
    given_up_count: AtomicUsize,
    /// 0, or the status that the last head was answered with before it became a request.
    refused: AtomicU16,
    /// What the proxy keeps with the connection, of a type that is not known here.
    extension: OnceLock<Box<dyn Any + Send + Sync>>,
}

/// While this lives, a stream of an HTTP/2 connection is being served.
#[derive(Debug)]
pub struct Served(Arc<Connection>);

/// While this lives, the body of a request that is being served has stalled.
#[derive(Debug)]
pub struct Stalled(Arc<Connection>);

impl Connection {
    /// One that was accepted just now.
    pub fn new(clock: Arc<Clock>, limits: Arc<ClientLimits>) -> Self {
        Self {
            progress: Progress::new(clock),
            limits,
            certificate: OnceLock::new(),
            backlog: Backlog::default(),
            given_up: Mutex::default(),
            given_up_count: AtomicUsize::new(0),
            refused: AtomicU16::new(0),
            extension: OnceLock::new(),
        }
    }

    /// What its client is held to.
    pub fn limits(&self) -> &Arc<ClientLimits> {
        &self.limits
    }

    /// HTTP/2: the bodies that may lie unread.
    pub fn backlog(&self) -> &Backlog {
        &self.backlog
    }

    /// The client gave a request up that an upstream is at, which may take as long as this.
    pub fn gives_up(&self, at_most: Duration) {
        let at_most = u64::try_from(at_most.min(MAX_RUN).as_millis()).unwrap_or(u64::MAX);
        let now = self.progress.now();
        let mut given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        given_up.retain(|until| *until > now);
        given_up.push(now.saturating_add(at_most));
        self.given_up_count.store(given_up.len(), Ordering::Relaxed);
    }

    /// HTTP/2: whether upstreams are at as many of its requests as they may be, those included that
    /// the client gave up.
    pub fn is_overrun(&self) -> bool {
        if self.given_up_count.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let now = self.progress.now();
        let mut given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        given_up.retain(|until| *until > now);
        self.given_up_count.store(given_up.len(), Ordering::Relaxed);
        given_up.len() + self.progress.streams() > MAX_RUNNING
    }

    /// How far it has come.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Takes note that a head was answered with this status before it became a request.
    pub fn is_refused(&self, status: u16) {
        self.refused.store(status, Ordering::Relaxed);
    }

    /// The status that the last head was answered with, if it did not become a request.
    pub fn refused(&self) -> Option<u16> {
        Some(self.refused.load(Ordering::Relaxed)).filter(|status| *status > 0)
    }

    /// Begins to serve a stream.
    pub fn serve_stream(self: &Arc<Self>) -> Served {
        self.progress.serve_stream();
        Served(self.clone())
    }

    /// The body of a request that is being served has stalled.
    pub fn stalled(self: &Arc<Self>) -> Stalled {
        self.progress.body_stalls(true);
        Stalled(self.clone())
    }

    /// Takes note of the certificate, once the handshake has verified it.
    pub fn verified(&self, certificate: ClientCertificate) {
        // There is one handshake.
        let _ = self.certificate.set(certificate);
    }

    /// The certificate; `None`: the client showed none.
    pub fn certificate(&self) -> Option<&ClientCertificate> {
        self.certificate.get()
    }

    /// What the proxy keeps with the connection; `None`: nothing yet. There is room for one value,
    /// so one type.
    pub fn extension<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.extension.get()?.downcast_ref()
    }

    /// The same, made now where there is none; `None`: there is one of another type.
    pub fn extension_or_default<T: Any + Default + Send + Sync>(&self) -> Option<&T> {
        let made = || Box::<T>::default() as Box<dyn Any + Send + Sync>;
        self.extension.get_or_init(made).downcast_ref()
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

impl Drop for Stalled {
    fn drop(&mut self) {
        self.0.progress.body_stalls(false);
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.0.progress.end_stream();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_up_counts_for_as_long_as_it_may_run() {
        let clock = Arc::<Clock>::default();
        let connection = Arc::new(Connection::new(
            clock.clone(),
            Arc::new(ClientLimits::new(0, 0)),
        ));
        let served: Vec<_> = (0..60).map(|_| connection.serve_stream()).collect();
        for _ in 0..40 {
            connection.gives_up(Duration::from_secs(30));
        }
        assert!(!connection.is_overrun(), "as many as streams may be");
        let one_more = connection.serve_stream();
        assert!(connection.is_overrun());
        drop(one_more);
        connection.gives_up(Duration::from_secs(600));
        assert!(connection.is_overrun());
        clock.advance(Duration::from_secs(30));
        assert!(!connection.is_overrun());
        drop(served);
        clock.advance(Duration::from_secs(30));
        assert!(!connection.is_overrun());
        assert_eq!(connection.given_up.lock().unwrap().len(), 0);
    }
}
