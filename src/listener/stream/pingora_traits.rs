//! What Pingora asks of a stream besides bytes: passed on to the client's own, but for the look at
//! its first bytes, which have been read.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, IO, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};

use super::GuardedStream;

#[async_trait]
impl<S: IO> Peek for GuardedStream<S> {
    /// Pingora asks for the preface of HTTP/2, and would wait for as many bytes. By now, either it
    /// or something else has been read.
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        let have = self.read_ahead.len().min(buf.len());
        buf[..have].copy_from_slice(&self.read_ahead[..have]);
        buf[have..].fill(0);
        Ok(true)
    }
}

#[async_trait]
impl<S: IO> Shutdown for GuardedStream<S> {
    async fn shutdown(&mut self) {
        self.stream.shutdown().await;
    }
}

impl<S: IO> UniqueID for GuardedStream<S> {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl<S: IO> Ssl for GuardedStream<S> {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.stream.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.selected_alpn_proto()
    }
}

impl<S: IO> GetTimingDigest for GuardedStream<S> {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.stream.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.stream.get_write_pending_time()
    }
}

impl<S: IO> GetProxyDigest for GuardedStream<S> {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }
}

impl<S: IO> GetSocketDigest for GuardedStream<S> {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }
}
