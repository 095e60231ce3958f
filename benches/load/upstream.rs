//! An upstream over HTTP/1.1 and HTTP/2 by prior knowledge, small and fast: it takes whole bodies,
//! sends as many bytes as the path asks for (`/bytes/N`), and answers a call of gRPC with the
//! message that came.

use std::io;

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// `--serve-upstream PORT`.
pub const ARGUMENT: &str = "--serve-upstream";

/// The longest body that it sends.
const LONGEST: usize = 16 << 20;
static BODY: [u8; LONGEST] = [b'x'; LONGEST];
/// The response to a path that asks for no bytes.
pub const GREETING: &[u8] = b"hello from the upstream\n";

/// Flow control that never holds anybody up for long.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

#[tokio::main(flavor = "current_thread")]
pub async fn serve(arguments: &[String]) -> anyhow::Result<()> {
    let port: u16 = arguments.first().context("no port")?.parse()?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (connection, _) = listener.accept().await?;
        connection.set_nodelay(true)?;
        // A client that leaves ends its connection with an error.
        tokio::spawn(async { serve_connection(connection).await.ok() });
    }
}

async fn serve_connection(connection: TcpStream) -> anyhow::Result<()> {
    let mut preface = [0; 3];
    let read = connection.peek(&mut preface).await?;
    match preface[..read] == *b"PRI" {
        true => http2(connection).await,
        false => Ok(http1(connection).await?),
    }
}

async fn http1(mut connection: TcpStream) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(64 << 10);
    loop {
        let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
            buffer.reserve(64 << 10);
            if connection.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let head = buffer.split_to(end + 4);
        let head = str::from_utf8(&head).map_err(io::Error::other)?;
        let path = head.split(' ').nth(1).unwrap_or_default();
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        let mut left: usize = length.unwrap_or(0);
        loop {
            let taken = left.min(buffer.len());
            left -= taken;
            drop(buffer.split_to(taken));
            if left == 0 {
                break;
            }
            buffer.reserve(64 << 10);
            if connection.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        let body = body_of(path);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        if body.len() > 1024 {
            connection.write_all(head.as_bytes()).await?;
            connection.write_all(body).await?;
        } else {
            connection.write_all(&[head.as_bytes(), body].concat()).await?;
        }
    }
}

async fn http2(connection: TcpStream) -> anyhow::Result<()> {
    let mut connection = h2::server::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(1000)
        .handshake(connection)
        .await?;
    while let Some(accepted) = connection.accept().await {
        let (request, answering) = accepted?;
        tokio::spawn(async { respond(request, answering).await.ok() });
    }
    Ok(())
}

async fn respond(
    request: Request<RecvStream>,
    mut answering: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let (head, mut body) = request.into_parts();
    let mut message = BytesMut::new();
    let is_grpc = head.headers.get("content-type").is_some_and(|kind| kind == "application/grpc");
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        if is_grpc {
            message.extend_from_slice(&part);
        }
    }
    if is_grpc {
        let head = Response::builder().header("content-type", "application/grpc");
        let mut stream = answering.send_response(head.body(()).unwrap_or_default(), false)?;
        stream.send_data(message.freeze(), false)?;
        let status = (HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"));
        return stream.send_trailers(HeaderMap::from_iter([status]));
    }
    let body = Bytes::from_static(body_of(head.uri.path()));
    let head = Response::builder().header("content-length", body.len());
    let mut stream = answering.send_response(head.body(()).unwrap_or_default(), false)?;
    stream.send_data(body, true)
}

/// What a path asks for.
fn body_of(path: &str) -> &'static [u8] {
    let bytes = path.rsplit_once("/bytes/").and_then(|(_, bytes)| bytes.parse().ok());
    bytes.map_or(GREETING, |bytes: usize| &BODY[..bytes.min(LONGEST)])
}
