//! A client connection, as its requests see it: its state, the limits of its network, the client's
//! certificate.

use std::any::Any;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use pingora::protocols::Digest;

use super::client_limits::ClientLimits;
use super::clock::Clock;
use super::state::ConnectionState;
use super::unread_bodies::UnreadBodies;
use crate::auth::ClientCertificate;

/// Requests of one connection that upstreams may be working on. HTTP/2 allows as many streams; a
/// stream that is reset does not count for it, but its upstream may go on.
const MAX_RUNNING: usize = 100;
/// An abandoned request is assumed to run no longer.
const MAX_RUN: Duration = Duration::from_secs(60);

/// A connection from a client.
#[derive(Debug)]
pub struct Connection {
    state: ConnectionState,
    limits: Arc<ClientLimits>,
    client_certificate: OnceLock<ClientCertificate>,
    /// Open connections of the client's address; unset: it counts for none.
    of_address: OnceLock<Arc<AtomicUsize>>,
    unread_bodies: UnreadBodies,
    /// Until when upstreams may be working on abandoned requests, by the clock in milliseconds, and
    /// how many these are.
    abandoned: Mutex<Vec<u64>>,
    abandoned_count: AtomicUsize,
    /// 0, or the status that the last head was answered with before it became a request.
    refused: AtomicU16,
    /// HTTP/1: the trailers of the last request in chunks, as lines.
    request_trailers: Mutex<Vec<u8>>,
    /// HTTP/1: the trailers that the last chunk of the response is to have, as lines.
    response_trailers: Mutex<Option<Bytes>>,
    /// What the proxy keeps with the connection, of a type that is not known here.
    extension: OnceLock<Box<dyn Any + Send + Sync>>,
}

/// While this lives, a stream of an HTTP/2 connection is being served.
#[derive(Debug)]
pub struct ActiveStream(Arc<Connection>);

/// While this lives, the body of a request that is being served has stalled.
#[derive(Debug)]
pub struct StalledBody(Arc<Connection>);

impl Connection {
    /// One that was accepted just now.
    pub fn new(clock: Arc<Clock>, limits: Arc<ClientLimits>) -> Self {
        Self {
            state: ConnectionState::new(clock),
            limits,
            client_certificate: OnceLock::new(),
            of_address: OnceLock::new(),
            unread_bodies: UnreadBodies::default(),
            abandoned: Mutex::default(),
            abandoned_count: AtomicUsize::new(0),
            refused: AtomicU16::new(0),
            request_trailers: Mutex::default(),
            response_trailers: Mutex::default(),
            extension: OnceLock::new(),
        }
    }

    /// The limits of each client of its network.
    pub fn limits(&self) -> &Arc<ClientLimits> {
        &self.limits
    }

    /// HTTP/2: the request bodies that are not being read.
    pub fn unread_bodies(&self) -> &UnreadBodies {
        &self.unread_bodies
    }

    /// The client abandoned a request that an upstream is working on, for as long as this at most.
    pub fn request_abandoned(&self, at_most: Duration) {
        let at_most = u64::try_from(at_most.min(MAX_RUN).as_millis()).unwrap_or(u64::MAX);
        let now = self.state.now();
        let mut abandoned = self
            .abandoned
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        abandoned.retain(|until| *until > now);
        abandoned.push(now.saturating_add(at_most));
        self.abandoned_count
            .store(abandoned.len(), Ordering::Relaxed);
    }

    /// HTTP/2: whether upstreams are working on too many of its requests, abandoned ones included.
    pub fn has_too_many_abandoned(&self) -> bool {
        if self.abandoned_count.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let now = self.state.now();
        let mut abandoned = self
            .abandoned
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        abandoned.retain(|until| *until > now);
        self.abandoned_count
            .store(abandoned.len(), Ordering::Relaxed);
        abandoned.len() + self.state.streams() > MAX_RUNNING
    }

    /// How far it has come with its requests.
    pub fn state(&self) -> &ConnectionState {
        &self.state
    }

    /// Counts it among the open connections of its client's address.
    pub(super) fn count_for_address(&self, open: Arc<AtomicUsize>) {
        open.fetch_add(1, Ordering::Relaxed);
        // It is admitted once.
        let _ = self.of_address.set(open);
    }

    /// And no longer.
    pub(super) fn release_address(&self) {
        if let Some(open) = self.of_address.get() {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Takes note that a head was answered with this status before it became a request.
    pub(super) fn set_refused(&self, status: u16) {
        self.refused.store(status, Ordering::Relaxed);
    }

    /// The status that the last head was answered with, if it did not become a request.
    pub(super) fn refused(&self) -> Option<u16> {
        Some(self.refused.load(Ordering::Relaxed)).filter(|status| *status > 0)
    }

    /// HTTP/1: the chunks of a request have ended, with these trailers, or with none.
    pub(super) fn set_request_trailers(&self, lines: Vec<u8>) {
        *self.request_trailers() = lines;
    }

    /// HTTP/1: the trailers of the current request, as lines, once its chunks have been read to
    /// their end.
    pub fn request_trailers(&self) -> MutexGuard<'_, Vec<u8>> {
        self.request_trailers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// HTTP/1: writes these lines with the last chunk of the response, which Pingora's session
    /// knows no trailers for. All else of the response must have been written: what is written next
    /// is taken for the last chunk.
    pub fn set_response_trailers(&self, lines: Bytes) {
        *self.response_trailers() = Some(lines);
        self.state.set_at_last_chunk(true);
    }

    /// The trailers that were not written; `None`: there are none.
    pub fn take_response_trailers(&self) -> Option<Bytes> {
        self.state.set_at_last_chunk(false);
        self.response_trailers().take()
    }

    fn response_trailers(&self) -> MutexGuard<'_, Option<Bytes>> {
        self.response_trailers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// HTTP/2: begins to serve a stream.
    pub fn begin_stream(self: &Arc<Self>) -> ActiveStream {
        self.state.begin_stream();
        ActiveStream(self.clone())
    }

    /// The body of a request that is being served has stalled.
    pub fn stalled(self: &Arc<Self>) -> StalledBody {
        self.state.body_stalled(true);
        StalledBody(self.clone())
    }

    /// Takes note of the certificate, once the handshake has verified it.
    pub(super) fn set_client_certificate(&self, certificate: ClientCertificate) {
        // There is one handshake.
        let _ = self.client_certificate.set(certificate);
    }

    /// The certificate; `None`: the client showed none.
    pub fn client_certificate(&self) -> Option<&ClientCertificate> {
        self.client_certificate.get()
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

    /// The connection of a request, from the place that Pingora has for what a proxy in front said
    /// of a connection.
    pub fn of(digest: Option<&Digest>) -> Option<&Arc<Self>> {
        digest?
            .proxy_digest
            .as_ref()?
            .user_data
            .as_ref()?
            .downcast_ref()
    }
}

impl Drop for StalledBody {
    fn drop(&mut self) {
        self.0.state.body_stalled(false);
    }
}

impl Drop for ActiveStream {
    fn drop(&mut self) {
        self.0.state.end_stream();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abandoned_request_counts_for_as_long_as_it_may_run() {
        let clock = Arc::<Clock>::default();
        let connection = Arc::new(Connection::new(
            clock.clone(),
            Arc::new(ClientLimits::new(0, 0)),
        ));
        let served: Vec<_> = (0..60).map(|_| connection.begin_stream()).collect();
        for _ in 0..40 {
            connection.request_abandoned(Duration::from_secs(30));
        }
        assert!(
            !connection.has_too_many_abandoned(),
            "as many as streams may be"
        );
        let one_more = connection.begin_stream();
        assert!(connection.has_too_many_abandoned());
        drop(one_more);
        connection.request_abandoned(Duration::from_secs(600));
        assert!(connection.has_too_many_abandoned());
        clock.advance(Duration::from_secs(30));
        assert!(!connection.has_too_many_abandoned());
        drop(served);
        clock.advance(Duration::from_secs(30));
        assert!(!connection.has_too_many_abandoned());
        assert_eq!(connection.abandoned.lock().unwrap().len(), 0);
    }
}
