//! HTTP/2 with prior knowledge: one request on a connection of its own.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpStream;

use super::message::Head;
use super::request::Request;
use super::response::Response;

const PATIENCE: Duration = Duration::from_secs(30);

pub fn send(request: &Request) -> Result<Response, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { tokio::time::timeout(PATIENCE, exchange(request)).await? })
}

async fn exchange(request: &Request) -> Result<Response, Box<dyn Error>> {
    let stream = TcpStream::connect(("127.0.0.1", request.port)).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = h2::client::handshake(stream).await?;
    // Its end is no error of the request: the response tells.
    tokio::spawn(async move { drop(connection.await) });

    let mut head = http::Request::builder()
        .version(http::Version::HTTP_2)
        .method(request.method.as_str())
        .uri(format!("http://{}{}", request.host, request.target));
    for (name, value) in &request.fields {
        head = head.header(name.to_ascii_lowercase(), value);
    }
    let (response, body) = sender.send_request(head.body(())?, request.body.is_none())?;
    if let Some(bytes) = request.body.clone() {
        // Beside the response, which may come before the end of the body.
        tokio::spawn(async move { drop(upload(body, Bytes::from(bytes)).await) });
    }
    let response = response.await?;
    let (parts, mut stream) = response.into_parts();
    let mut body = Vec::new();
    let complete = loop {
        match stream.data().await {
            Some(Ok(piece)) => {
                stream.flow_control().release_capacity(piece.len())?;
                body.extend_from_slice(&piece);
            }
            Some(Err(_)) => break false,
            None => break true,
        }
    };
    let mut response = as_response(&parts, body, complete);
    if complete {
        let trailers = stream.trailers().await?.unwrap_or_default();
        for (name, value) in &trailers {
            let value = String::from_utf8_lossy(value.as_bytes());
            response.trailers += &format!("{name}: {value}\r\n");
        }
    }
    Ok(response)
}

/// Sends a body as fast as it is taken.
pub async fn upload(mut stream: h2::SendStream<Bytes>, mut body: Bytes) -> Result<(), h2::Error> {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let Some(capacity) =
            std::future::poll_fn(|context| stream.poll_capacity(context)).await.transpose()?
        else {
            return Ok(());
        };
        stream.send_data(body.split_to(capacity.min(body.len())), false)?;
    }
    stream.send_data(Bytes::new(), true)
}

fn as_response(parts: &http::response::Parts, body: Vec<u8>, complete: bool) -> Response {
    let fields: Vec<(String, String)> = parts
        .headers
        .iter()
        .map(|(name, value)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect();
    let head = Head { first_line: format!("HTTP/2 {}", parts.status.as_str()), fields };
    let (status, trailers) = (parts.status.as_u16(), String::new());
    Response { status, head, body, trailers, complete, interim: Vec::new() }
}

/// The statuses of `GET`s for `path` on one connection, all under way at once; each with its
/// `Authorization`, or none.
pub fn statuses(port: u16, path: &str, authorizations: &[Option<&str>]) -> Vec<u16> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
        let (mut sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        tokio::spawn(async move { drop(connection.await) });
        let mut responses = Vec::new();
        for authorization in authorizations {
            let mut request =
                http::Request::builder().uri(format!("http://127.0.0.1:{port}{path}"));
            if let Some(authorization) = authorization {
                request = request.header("authorization", *authorization);
            }
            sender = sender.ready().await.expect("room for another stream");
            responses.push(
                sender
                    .send_request(request.body(()).expect("a request"), true)
                    .expect("a stream")
                    .0,
            );
        }
        let mut statuses = Vec::new();
        for response in responses {
            statuses.push(
                tokio::time::timeout(PATIENCE, response)
                    .await
                    .expect("a response in time")
                    .expect("a response")
                    .status()
                    .as_u16(),
            );
        }
        statuses
    })
}
