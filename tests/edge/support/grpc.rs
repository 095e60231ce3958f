//! Real peers of gRPC: `tonic`, with messages that are bytes.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming};
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::{BoxFuture, BoxStream, Service, http};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::server::StreamingService;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Response, Status};

use super::poll::eventually;
use super::ports::Port;

/// Larger than any message of a test.
const MAX_MESSAGE: usize = 64 << 20;

/// Messages as they are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// A server. `/test.Svc/Echo` sends back each message as it comes, `Down` as many as the first one
/// says, `Up` the count of those that came; `Fails` is `NOT_FOUND`; `Slow` never answers, `Stalls`
/// answers with one message and never ends.
pub struct Server {
    port: Port,
    runtime: Option<tokio::runtime::Runtime>,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    metadata: Mutex<MetadataMap>,
    connections: AtomicUsize,
    /// Calls of `Slow` and `Stalls` that the server was told to give up.
    cancelled: AtomicUsize,
    waiting: AtomicUsize,
    /// What `grpc.health.v1.Health/Check` answers, by service.
    health: Mutex<HashMap<String, u8>>,
}

impl Server {
    pub fn start() -> Self {
        Self::at(Port::claim())
    }

    pub fn at(port: Port) -> Self {
        let seen = Arc::new(Seen::default());
        let mut server = Self { port, runtime: None, seen };
        server.restart();
        server
    }

    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Ends it, with every connection and call.
    pub fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }

    /// Listens again where it did.
    pub fn restart(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let address = SocketAddr::from(([127, 0, 0, 1], self.port.number()));
        let incoming = eventually("a listener of gRPC", Duration::from_secs(20), || {
            let _context = runtime.enter();
            TcpIncoming::bind(address).ok()
        });
        let routes = Routes(self.seen.clone());
        let connections = self.seen.clone();
        let incoming = tonic::codegen::tokio_stream::StreamExt::map(
            incoming.with_nodelay(Some(true)),
            move |stream| {
                connections.connections.fetch_add(1, Ordering::SeqCst);
                stream
            },
        );
        runtime.spawn(async move {
            let serving = tonic::transport::Server::builder().serve_with_incoming(routes, incoming);
            serving.await.expect("a server of gRPC");
        });
        self.runtime = Some(runtime);
    }

    /// The metadata of the last call.
    pub fn metadata(&self) -> MetadataMap {
        self.seen.metadata.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Calls that never end by themselves: how many are waiting, and how many were cancelled.
    pub fn waiting(&self) -> usize {
        self.seen.waiting.load(Ordering::SeqCst)
    }

    pub fn cancelled(&self) -> usize {
        self.seen.cancelled.load(Ordering::SeqCst)
    }

    /// What it says of a service's health: 1 is `SERVING`, 2 `NOT_SERVING`.
    pub fn set_health(&self, service: &str, status: u8) {
        self.seen.health.lock().unwrap().insert(service.to_owned(), status);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

#[derive(Clone)]
struct Routes(Arc<Seen>);

impl Service<http::Request<Body>> for Routes {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = Method { path: request.uri().path().to_owned(), seen: self.0.clone() };
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(Raw)
                .max_decoding_message_size(MAX_MESSAGE)
                .max_encoding_message_size(MAX_MESSAGE);
            Ok(grpc.streaming(method, request).await)
        })
    }
}

struct Method {
    path: String,
    seen: Arc<Seen>,
}

impl StreamingService<Bytes> for Method {
    type Response = Bytes;
    type ResponseStream = BoxStream<Bytes>;
    type Future = BoxFuture<Response<BoxStream<Bytes>>, Status>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let (path, seen) = (self.path.clone(), self.seen.clone());
        Box::pin(async move {
            *seen.metadata.lock().unwrap() = request.metadata().clone();
            let mut messages = request.into_inner();
            let (sender, receiver) = tokio::sync::mpsc::channel(16);
            match &*path {
                "/test.Svc/Echo" => drop(tokio::spawn(async move {
                    while let Ok(Some(message)) = messages.message().await {
                        if sender.send(Ok(message)).await.is_err() {
                            return;
                        }
                    }
                    let mut status = Status::ok("");
                    let trailers = status.metadata_mut();
                    trailers.insert("x-trailing", "2".parse().unwrap());
                    trailers.insert_bin("bin-bin", MetadataValue::from_bytes(b"\0\xff"));
                    let _ = sender.send(Err(status)).await;
                })),
                "/test.Svc/Down" => {
                    let count = messages.message().await?.unwrap_or_default();
                    let count: u32 = String::from_utf8_lossy(&count).parse().unwrap();
                    tokio::spawn(async move {
                        for number in 0..count {
                            if sender.send(Ok(Bytes::from(number.to_string()))).await.is_err() {
                                return;
                            }
                        }
                    });
                }
                "/test.Svc/Up" => {
                    let mut count = 0;
                    while messages.message().await?.is_some() {
                        count += 1;
                    }
                    let _ = sender.send(Ok(Bytes::from(count.to_string()))).await;
                }
                "/test.Svc/Slow" => {
                    let _waiting = Waiting::new(&seen);
                    pending::<()>().await;
                }
                "/test.Svc/Stalls" => {
                    let waiting = Waiting::new(&seen);
                    tokio::spawn(async move {
                        let _ = sender.send(Ok(Bytes::from_static(b"begun"))).await;
                        sender.closed().await;
                        drop(waiting);
                    });
                }
                "/test.Svc/Fails" => return Err(Status::not_found("no such thing: 100%")),
                "/grpc.health.v1.Health/Check" => {
                    let request = messages.message().await?.unwrap_or_default();
                    // Field 1, a string.
                    let service = request.get(2..).unwrap_or_default();
                    let service = String::from_utf8_lossy(service).into_owned();
                    let status = seen.health.lock().unwrap().get(&service).copied();
                    let status = status.ok_or_else(|| Status::not_found("unknown service"))?;
                    // Field 1, an enumeration.
                    let _ = sender.send(Ok(Bytes::copy_from_slice(&[8, status]))).await;
                }
                _ => return Err(Status::unimplemented(path)),
            }
            let messages: BoxStream<Bytes> = Box::pin(ReceiverStream::new(receiver));
            let mut response = Response::new(messages);
            response.metadata_mut().insert("x-initial", "1".parse().unwrap());
            Ok(response)
        })
    }
}

/// A call that waits until it is cancelled.
struct Waiting(Arc<Seen>);

impl Waiting {
    fn new(seen: &Arc<Seen>) -> Self {
        seen.waiting.fetch_add(1, Ordering::SeqCst);
        Self(seen.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
        self.0.cancelled.fetch_add(1, Ordering::SeqCst);
    }
}

/// A client over one connection.
#[derive(Clone)]
pub struct Client {
    grpc: Grpc<Channel>,
    authorization: Option<String>,
}

impl Client {
    /// Over TLS, to `localhost`.
    pub async fn over_tls(port: u16, authority: &str, token: Option<&str>) -> Self {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority));
        let endpoint = Endpoint::from_shared(format!("https://localhost:{port}")).unwrap();
        Self::connect(endpoint.tls_config(tls).unwrap(), token).await
    }

    /// With prior knowledge.
    pub async fn over_tcp(port: u16, token: Option<&str>) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
        Self::connect(endpoint, token).await
    }

    async fn connect(endpoint: Endpoint, token: Option<&str>) -> Self {
        let channel = endpoint.connect().await.expect("a connection of gRPC");
        let grpc = Grpc::new(channel)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        Self { grpc, authorization: token.map(|token| format!("Bearer {token}")) }
    }

    /// A request with the client's token.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.parse().unwrap());
        }
        request
    }

    /// A unary call.
    pub async fn unary(
        &self,
        method: &str,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, Status> {
        let mut grpc = self.ready().await?;
        grpc.unary(request, path(method), Raw).await
    }

    /// A call of which both sides may be streams.
    pub async fn streaming(
        &self,
        method: &str,
        request: Request<ReceiverStream<Bytes>>,
    ) -> Result<Response<Streaming<Bytes>>, Status> {
        let mut grpc = self.ready().await?;
        grpc.streaming(request, path(method), Raw).await
    }

    async fn ready(&self) -> Result<Grpc<Channel>, Status> {
        let mut grpc = self.grpc.clone();
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        Ok(grpc)
    }
}

fn path(method: &str) -> http::uri::PathAndQuery {
    format!("/test.Svc/{method}").parse().unwrap()
}

/// The way to send a stream of messages, and the stream for a request.
pub fn messages() -> (tokio::sync::mpsc::Sender<Bytes>, ReceiverStream<Bytes>) {
    let (sender, receiver) = tokio::sync::mpsc::channel(16);
    (sender, ReceiverStream::new(receiver))
}
